use quorate::client::recipes::Setting;
use quorate::client::{Client, Result, block_on};

pub fn follow(client: &Client, operator: &Client) -> Result<()> {
    let mut limit = Setting::new(client, "/settings/limit");
    // At first at once; `None` while it is not set.
    assert!(block_on(limit.next())?.is_none());
    block_on(Setting::new(operator, "/settings/limit").set("20"))?;
    // Then after each change: the newest value, never an older one.
    let (value, revision) = block_on(limit.next())?.expect("it is set");
    println!("from revision {revision} on: {value:?}");
    assert_eq!(&value[..], b"20");
    Ok(())
}
