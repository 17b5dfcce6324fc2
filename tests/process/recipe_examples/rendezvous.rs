use quorate::client::recipes::Rendezvous;
use quorate::client::{Client, Result, block_on};

pub fn meet(coordinator: &Client, worker: &Client) -> Result<()> {
    std::thread::scope(|scope| {
        // Each worker, before or after the coordinator has come:
        let place = "/jobs/sort/coordinator";
        let meeting = scope.spawn(move || block_on(Rendezvous::new(worker, place).meet()));
        // The coordinator, once it knows its port. Its word goes with its session.
        block_on(Rendezvous::new(coordinator, place).announce("10.0.0.7:41234"))?;
        assert_eq!(meeting.join().expect("it only waits")?, "10.0.0.7:41234");
        Ok(())
    })
}
