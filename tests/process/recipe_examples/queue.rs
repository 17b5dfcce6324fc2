use quorate::client::recipes::Queue;
use quorate::client::{Client, CreateOptions, Result, block_on};

pub fn put_and_take(client: &Client, other: &Client) -> Result<()> {
    let jobs = Queue::new(client, "/queues/jobs");
    block_on(jobs.put("resize 4711"))?;
    block_on(jobs.put("resize 4712"))?;
    assert_eq!(block_on(Queue::new(other, "/queues/jobs").take())?, "resize 4711");

    // Taken and recorded in one step: whatever happens to this process, neither is without the other.
    let done = CreateOptions::permanent().sequential();
    let job = block_on(jobs.take_with(|txn, job| txn.create("/done-", job.clone(), done)))?;
    assert_eq!(job, "resize 4712");
    Ok(())
}
