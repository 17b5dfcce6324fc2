use quorate::client::recipes::DoubleBarrier;
use quorate::client::{Client, Result, block_on};

pub fn step(client: &Client, other: &Client) -> Result<()> {
    let take_part = |client: &Client| -> Result<()> {
        let step = DoubleBarrier::new(client, "/jobs/sort/step-1", 2);
        // None begins before both have come ...
        let inside = block_on(step.enter())?;
        println!("at work");
        // ... and none goes on before both have ended, be it by their sessions' end.
        block_on(inside.leave())
    };
    std::thread::scope(|scope| {
        let second = scope.spawn(|| take_part(other));
        take_part(client)?;
        second.join().expect("it only takes part")
    })
}
