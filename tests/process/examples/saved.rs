use std::error::Error;
use std::path::Path;

use quorate::client::{Client, Expect, SavedSession};

/// One process: it writes down under which session it acts, and acts. (It dies with its client; one that is dropped would close
/// the session.)
pub fn begin(target: &str, file: &Path) -> Result<Client, Box<dyn Error>> {
    let client = Client::connect(target).wait()?;
    let saved = client.save().wait()?;
    std::fs::write(file, saved.to_text())?;
    client.set("/balance", "90", Expect::Any).wait()?;
    Ok(client)
}

/// The next one, should it have died anywhere in between: it knows whether that was done, and its locks are still its own.
pub fn go_on(target: &str, file: &Path) -> Result<Client, Box<dyn Error>> {
    let saved: SavedSession = std::fs::read_to_string(file)?.parse()?;
    let client = Client::builder(target)?.resume(saved).connect().wait()?;
    if client.applied_before() <= saved.requests() {
        client.set("/balance", "90", Expect::Any).wait()?;
    }
    Ok(client)
}
