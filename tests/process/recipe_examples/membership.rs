use quorate::client::recipes::Group;
use quorate::client::{Client, Error, Result, block_on};

pub fn join(client: &Client, other: &Client) -> Result<()> {
    let workers = Group::new(client, "/groups/workers");
    let membership = block_on(workers.join("host-7", "idle"))?;
    // The name is this session's until it leaves or ends: a second of that name is refused, and nobody is made twice.
    let twice = block_on(Group::new(other, "/groups/workers").join("host-7", "idle"));
    assert!(matches!(twice, Err(Error::NodeExists { .. })));
    membership.update("busy").wait()?;
    assert_eq!(&block_on(workers.members())?["host-7"][..], b"busy");
    membership.leave().wait()
}
