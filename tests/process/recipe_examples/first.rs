use quorate::client::recipes::Election;
use quorate::client::{Client, Result, block_on};

pub fn lead(client: &Client) -> Result<()> {
    let leadership = block_on(Election::new(client, "/services/api").campaign("host-7"))?;
    println!("leading since revision {}", leadership.term());
    block_on(leadership.resign())
}
