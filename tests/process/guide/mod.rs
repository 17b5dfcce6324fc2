//! The guide of `quorate::client::guide`, performed: its examples are these files, and here they are run, in order, on a
//! cell whose leader is killed between them.

mod connect;
mod live;
mod lock;
mod watch;
mod write;

use super::cell::Cell;

#[test]
fn the_guide_is_performed() {
    let mut cell = Cell::start(3, "");
    let client = connect::connect(&cell.endpoints()).expect("a session");
    let other = connect::connect(&cell.endpoints()).expect("a session");
    for step in 2..=5 {
        let done = match step {
            2 => write::write(&client),
            3 => watch::watch(&client),
            4 => live::live(&client),
            _ => lock::lock(&client, &other),
        };
        done.unwrap_or_else(|error| panic!("step {step}: {error}"));
        let leader = cell.kill_leader();
        cell.restart(leader);
    }
    let (data, stat) = client.get("/app/config").wait().expect("a node");
    assert_eq!((&data[..], stat.version), (&b"printing=1"[..], 3), "each write was made once, and the late one never");
    client.close().wait().expect("closed");
}
