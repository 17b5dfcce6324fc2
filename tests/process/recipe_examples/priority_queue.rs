use quorate::client::recipes::Queue;
use quorate::client::{Client, Result, block_on};

pub fn most_urgent_first(client: &Client) -> Result<()> {
    let jobs = Queue::new(client, "/queues/urgent");
    // The lower the number, the sooner; first come first served among equals.
    block_on(jobs.put_at(7, "sweep"))?;
    block_on(jobs.put_at(1, "repair"))?;
    block_on(jobs.put_at(7, "polish"))?;
    let taken = [block_on(jobs.take())?, block_on(jobs.take())?, block_on(jobs.take())?];
    assert_eq!(taken, ["repair", "sweep", "polish"]);
    Ok(())
}
