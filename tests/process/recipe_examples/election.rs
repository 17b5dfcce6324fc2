use quorate::client::recipes::Election;
use quorate::client::{Client, CreateOptions, Expect, Result, block_on};

pub fn lead(client: &Client) -> Result<()> {
    let election = Election::new(client, "/services/db");
    // Waits for its turn; what it campaigns with is what everybody else sees of the leader.
    let leadership = block_on(election.campaign("10.0.0.7:5432"))?;
    println!("leads since revision {}", leadership.term());
    // From here on `is_held` is false before anybody else can lead; and a leader that did not look is refused by the cell.
    if leadership.is_held() {
        leadership.guard().guarded().create("/services/db/state", "...", CreateOptions::permanent()).wait()?;
        leadership.guard().guarded().set("/services/db/state", "!", Expect::Any).wait()?;
    }
    let leader = block_on(election.leader())?.expect("somebody leads");
    assert_eq!((&leader.value[..], leader.term), (&b"10.0.0.7:5432"[..], leadership.term()));
    block_on(leadership.resign())
}
