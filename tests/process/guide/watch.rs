use quorate::client::{Client, Expect, Result, WatchEvent};

pub fn watch(client: &Client) -> Result<()> {
    // What is there, and everything that happens to it from then on.
    let (node, watch) = client.get_and_watch("/app/config").wait()?;
    println!("it begins with {:?}", node.map(|(data, _)| data));
    client.set("/app/config", "colour=red", Expect::Any).wait()?;

    // A `for` blocks this thread; whoever awaits takes `watch.next().await`.
    for event in watch {
        match event? {
            WatchEvent::Changed { revision, .. } => {
                let (data, _) = client.get("/app/config").wait()?;
                println!("at revision {revision} or later: {data:?}");
                break;
            }
            // Nothing is left out in silence: what cannot be told is a gap, and is read again.
            WatchEvent::Gap { from, to } => println!("something between revisions {from} and {to}"),
            event => println!("{event:?}"),
        }
    }
    Ok(())
}
