use std::time::Duration;

use quorate::client::recipes::Semaphore;
use quorate::client::{Client, Result, block_on, block_on_timeout};

pub fn limit(client: &Client) -> Result<()> {
    let backups = Semaphore::new(client, "/limits/backups", 2);
    let first = block_on(backups.acquire("host-7"))?;
    let second = block_on(backups.acquire("host-8"))?;
    // A third waits; giving up the wait gives up its place.
    assert!(block_on_timeout(backups.acquire("host-9"), Duration::from_millis(20)).is_none());
    first.release().wait()?;
    // Dropped, a permit is given back in the background; and with its session in any case.
    drop(second);
    let third = block_on(backups.acquire("host-9"))?;
    assert!(third.is_held());
    Ok(())
}
