use quorate::client::{Client, CreateOptions, Error, Expect, Outcome, Result};

pub fn write(client: &Client) -> Result<()> {
    match client.create("/app/config", "colour=blue", CreateOptions::permanent().parents()).wait() {
        Ok(created) => println!("made {} at revision {}", created.path, created.stat.created),
        Err(Error::NodeExists { .. }) => println!("it is there"),
        Err(error) => return Err(error),
    }

    // Queued when they are made, done in this order: two calls, one round trip.
    let (read, beside) = (client.get("/app/config"), client.exists("/app/other"));
    let (data, stat) = read.wait()?;
    println!("{} bytes of version {}, and another: {}", data.len(), stat.version, beside.wait()?.is_some());

    // Only if nobody has changed it since it was read.
    match client.set("/app/config", "colour=green", Expect::Version(stat.version)).wait() {
        Ok(stat) => println!("now version {}", stat.version),
        Err(Error::BadVersion { found, .. }) => println!("somebody was faster: version {found}"),
        // A call that failed says whether it may have had its effect.
        Err(error) if error.outcome() == Outcome::NotApplied => return Err(error),
        Err(error) => println!("perhaps: {error}"),
    }
    Ok(())
}
