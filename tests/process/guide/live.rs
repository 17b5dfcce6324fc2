use quorate::client::recipes::Group;
use quorate::client::{Client, Result, SessionEvent, block_on};

pub fn live(client: &Client) -> Result<()> {
    let mut events = client.session_events();

    // A node that goes with this session: others see that this process lives.
    let group = Group::new(client, "/app/workers");
    let membership = block_on(group.join("host-7", "10.0.0.7:9000"))?;
    println!("here are {:?}", block_on(group.members())?.keys());

    // By this host's own, careful clock: while it is safe, the session has not ended for anybody.
    if !client.is_safe() {
        println!("in jeopardy: the cell was not reached in time");
    }
    match events.next_timeout(std::time::Duration::ZERO) {
        Some(SessionEvent::Expired) => println!("over: connect anew, and join again"),
        Some(event) => println!("{event:?}"),
        None => println!("nothing happened"),
    }
    membership.leave().wait()
}
