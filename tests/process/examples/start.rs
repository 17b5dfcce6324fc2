use quorate::client::{Client, CreateOptions, Error, Expect, Result};

/// `target` is like `quorate://10.0.0.1,10.0.0.2,10.0.0.3/apps/db?session=10s`: hosts, a root for all paths, and settings.
pub fn start(target: &str) -> Result<()> {
    let client = Client::connect(target).wait()?;
    match client.create("/config", "v1", CreateOptions::permanent().parents()).wait() {
        Ok(_) | Err(Error::NodeExists { .. }) => {} // an earlier run may have left it: it is permanent
        Err(error) => return Err(error),
    }
    let (_, before) = client.get("/config").wait()?;

    // Calls are queued when they are made: these two are under way at once, and take effect in this order.
    let write = client.set("/config", "v2", Expect::Version(before.version));
    let read = client.get("/config");
    write.wait()?;
    let (data, stat) = read.wait()?;
    assert_eq!((&data[..], stat.version), (&b"v2"[..], before.version + 1));

    // All or nothing; without `applied` a step that failed is an answer, and no error.
    let (revision, _replies) = client
        .txn()
        .check("/config", Expect::Version(stat.version))
        .create("/leader", "host-7", CreateOptions::ephemeral())
        .commit()
        .wait()?
        .applied()?;
    println!("both were done at revision {revision}");
    client.close().wait()
}
