//! The driver's own side, without its thread.

use std::net::TcpListener;

use super::*;
use crate::client::machine::Prefer;
use crate::time::Duration;

const NAME: &str = "localhost:1";

fn settings() -> Settings {
    let some_time = Duration::from_secs(60);
    Settings {
        endpoints: vec![NAME.to_owned()],
        cell: None,
        name: "test".to_owned(),
        prefer: Prefer::Any,
        session_timeout: some_time,
        grace: some_time,
        open_timeout: some_time,
        connect_timeout: some_time,
        patience: some_time,
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(1),
        calls_max: 1,
        resume: None,
        token: 1,
        secret: 1,
        seed: 1,
    }
}

#[test]
fn a_name_whose_first_address_is_dead_leads_to_the_next_one_the_next_time() {
    let listeners = [(); 2].map(|()| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        listener.set_nonblocking(true).expect("it can be");
        listener
    });
    let addresses = || listeners.iter().map(|listener| listener.local_addr().expect("it is bound")).collect();
    let mut thread = Thread::new().expect("a process has room for two descriptors");
    let client = ClientId(1);
    let member = Member::new(Machine::new(clock::now(), settings()), Arc::new(Observed::new(None)), Box::new(|_| ()));
    thread.members.insert(client, member);
    let mut reached = Vec::new();
    for _ in 0..3 {
        thread.member(client, |member| member.machine.tick(clock::now() + Duration::from_secs(1)));
        thread.settle(client);
        let resolved = Command::Resolved { name: NAME.to_owned(), addresses: Ok(addresses()) };
        assert!(thread.command(resolved).is_none());
        reached.push(listeners.iter().position(|listener| listener.accept().is_ok()).expect("it is there at once"));
        // As when nothing comes back from there.
        thread.lost(client, &io::Error::from(io::ErrorKind::TimedOut));
        thread.settle(client);
    }
    assert_eq!(reached, [0, 1, 0]);
}
