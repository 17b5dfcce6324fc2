use quorate::client::recipes::Counter;
use quorate::client::{Client, Result, block_on};

pub fn count(client: &Client, other: &Client) -> Result<()> {
    let orders = Counter::new(client, "/counters/orders");
    // Nobody else gets this number.
    let number = block_on(orders.add(1))?;
    assert_eq!(block_on(Counter::new(other, "/counters/orders").add(2))?, number + 2);
    assert_eq!(block_on(orders.get())?, number + 2);
    Ok(())
}
