use quorate::client::recipes::Fence;
use quorate::client::{Client, Error, Expect, LockOptions, Result};

pub fn lock(client: &Client, other: &Client) -> Result<()> {
    let printer = Fence::new("/app/printer"); // kept by the service that the lock is about

    let guard = client.lock("/app/printer", LockOptions::exclusive()).wait()?;
    // Writes to the cell under the lock are refused once it is lost.
    guard.guarded().set("/app/config", "printing=1", Expect::Any).wait()?;
    // Other services are shown the sequencer.
    let shown = guard.sequencer();
    printer.admit(&shown)?;

    // As when this process sleeps through the end of its lease: somebody else has the lock by now.
    guard.release().wait()?;
    let next = other.lock("/app/printer", LockOptions::exclusive()).wait()?;
    printer.admit(&next.sequencer())?;

    // It wakes up, and goes on as if nothing had happened.
    assert!(matches!(printer.admit(&shown), Err(Error::Fenced { .. })));
    let late = client.txn().check_lock(&shown).set("/app/config", "printing=2", Expect::Any).commit().wait()?.applied();
    assert!(matches!(late, Err(Error::Aborted { index: 0, .. })), "nothing is printed twice");
    next.release().wait()
}
