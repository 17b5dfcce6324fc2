use std::time::Duration;

use quorate::client::{Client, Result};

/// `endpoints` are client addresses of the cell, like `10.0.0.1:7400,10.0.0.2:7400`; one that answers is enough.
pub fn connect(endpoints: &str) -> Result<Client> {
    // The session outlives connections and leaders; it ends 10 s after this process was last heard of.
    let target = format!("quorate://{endpoints}?session=10s");
    Client::connect(&target).wait_timeout(Duration::from_secs(30))
}
