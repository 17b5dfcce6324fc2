use quorate::client::{Client, CreateOptions, Expect, HandleEvent, OpenOptions, Result, WatchOptions};

pub fn hold_open(client: &Client, other: &Client) -> Result<()> {
    // Others see the node as long as this process, or one that opened it too, lives.
    let options = OpenOptions::all().create("10.0.0.7:80", CreateOptions::transient().parents());
    let handle = client.open("/services/web/7", options).wait()?;
    handle.set("10.0.0.7:8080", Expect::Any).wait()?;

    // An operator takes the node away.
    other.delete("/services/web/7", Expect::Any).wait()?;

    // From the moment it was opened on; the last event says that the handle is good for nothing more.
    for event in handle.events(WatchOptions::node()).wait()? {
        if let HandleEvent::Invalid(why) = event {
            println!("{} is not ours any more: {why:?}", handle.path());
        }
    }
    handle.close().wait()
}
