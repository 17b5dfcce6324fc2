use quorate::client::recipes::Barrier;
use quorate::client::{Client, Result, block_on};

pub fn hold_and_let_go(client: &Client, other: &Client) -> Result<()> {
    let maintenance = Barrier::new(client, "/barriers/maintenance");
    block_on(maintenance.raise())?;
    std::thread::scope(|scope| {
        // Whoever comes while it is raised waits.
        let passing = scope.spawn(|| block_on(Barrier::new(other, "/barriers/maintenance").pass()));
        block_on(maintenance.lower())?;
        passing.join().expect("it only waits")
    })?;
    assert!(!block_on(maintenance.is_raised())?);
    Ok(())
}
