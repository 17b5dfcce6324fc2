use quorate::client::recipes::Group;
use quorate::client::{Client, Result, block_on};

pub fn find(instance: &Client, client: &Client) -> Result<()> {
    // An instance of the service registers where it is found. It is gone from the list when its session is.
    let registered = block_on(Group::new(instance, "/services/web").join("host-7", "10.0.0.7:80"))?;

    // A client of the service follows the list: first all that are there, then all that are there after each change.
    let mut instances = Group::new(client, "/services/web").watch();
    let now = block_on(instances.next())?;
    assert_eq!(&now["host-7"][..], b"10.0.0.7:80");
    registered.leave().wait()?;
    assert!(block_on(instances.next())?.is_empty());
    Ok(())
}
