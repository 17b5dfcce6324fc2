use quorate::client::recipes::ReadWriteLock;
use quorate::client::{Client, Expect, Result, block_on};

pub fn write_and_read(client: &Client, other: &Client) -> Result<()> {
    let schema = ReadWriteLock::new(client, "/locks/schema");
    let writing = block_on(schema.write())?;
    // Refused by the cell, should the lock have been lost.
    writing.guarded().set("/locks/schema", "v2", Expect::Any).wait()?;
    writing.release().wait()?;

    // Readers share it: another session's is let in beside this one.
    let reading = block_on(schema.read())?;
    let also = block_on(ReadWriteLock::new(other, "/locks/schema").read())?;
    assert!(reading.is_held() && also.is_held());
    Ok(())
}
