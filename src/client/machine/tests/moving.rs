//! Where a client goes that would rather not be with the leader.

use super::*;

#[test]
fn a_client_that_prefers_followers_leaves_the_leader_while_there_is_another() {
    let members = [(1, "a:1"), (2, "b:1")];
    let mut test = Test::new(&["a:1", "b:1"], Prefer::Follower);
    let (here, there) = if test.dialled[0] == "a:1" { (1, 2) } else { (2, 1) };
    let address = |replica: u8| if replica == 1 { "a:1" } else { "b:1" };
    test.machine.connected(test.now);
    test.said();
    test.say(&welcome(here, Some(here), &members));
    assert_eq!(test.said(), [], "no session is opened with the leader");
    assert_eq!(test.dialled, [address(here), address(there)]);
    test.machine.connected(test.now);
    test.said();
    test.say(&welcome(there, Some(here), &members));
    test.say(&ServerMessage::SessionOpened { session: SESSION, timeout_ms: 12_000 });
    test.set(1);
    test.said();
    // It leads from now on: the request under way goes on elsewhere.
    test.say(&ServerMessage::Leader { leader: Some(ReplicaId(there)) });
    assert_eq!(test.dialled.last().map(String::as_str), Some(address(here)));
    test.machine.connected(test.now);
    test.said();
    test.say(&welcome(here, Some(there), &members));
    test.say(&resumed(0));
    assert_eq!(test.said(), [request(1, 0)]);
}

#[test]
fn a_cell_of_one_serves_whoever_prefers_followers() {
    let mut test = Test::new(&["a:1"], Prefer::Follower);
    test.machine.connected(test.now);
    test.said();
    test.say(&welcome(1, Some(1), &[(1, "a:1")]));
    assert_eq!(test.said(), [Said::Open]);
}
