//! Clients and servers of different versions: what each side makes of the other's offer.
//!
//! The frames themselves are held by `tests/golden/wire`: a change that breaks a client of today fails there.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use bytes::BytesMut;
use quorate::client::{self, Client, Error, Outcome};
use quorate::limits::CLIENT_FRAME_BYTES_MAX;
use quorate::wire::client::{ClientMessage, FaultCode, Hello, PROTOCOL_MAX, PROTOCOL_MIN, ServerMessage};
use quorate::wire::frame::{CLIENT_MAGIC, FrameReader};

use super::cell::{Cell, PATIENCE, run};

/// What a server answers to a client that offers these protocols: the one chosen, or the words of the refusal.
fn offered(endpoint: &str, protocol_min: u16, protocol_max: u16) -> Result<u16, (FaultCode, String)> {
    let mut stream = TcpStream::connect(endpoint).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let mut bytes = BytesMut::new();
    let hello = Hello { protocol_min, protocol_max, cell: None, name: "test", seen: 0, resume: None };
    ClientMessage::Hello(hello).encode(&mut bytes);
    stream.write_all(&bytes).expect("sent");
    let (mut reader, mut room, mut answer) = (FrameReader::new(CLIENT_MAGIC), [0; 65_536], None);
    while answer.is_none() {
        let count = stream.read(&mut room).expect("it answers");
        assert!(count > 0, "it says why before it hangs up");
        let fed = reader.feed(&room[..count], CLIENT_FRAME_BYTES_MAX, |frame| {
            answer = match ServerMessage::decode(frame)? {
                ServerMessage::Welcome(welcome) => Some(Ok(welcome.protocol)),
                ServerMessage::Fault { code, text } => Some(Err((code, text.to_owned()))),
                _ => None,
            };
            Ok::<(), quorate::wire::client::MessageError>(())
        });
        fed.expect("sound frames");
    }
    let answer = answer.expect("it came");
    if answer.is_err() {
        // And then it hangs up.
        while !matches!(stream.read(&mut room), Ok(0) | Err(_)) {}
    }
    answer
}

#[test]
fn a_server_chooses_the_newest_protocol_that_both_speak_and_refuses_who_shares_none() {
    let cell = Cell::start(1, "");
    let endpoint = cell.endpoints();
    assert_eq!(offered(&endpoint, PROTOCOL_MIN, PROTOCOL_MAX), Ok(PROTOCOL_MAX));
    assert_eq!(offered(&endpoint, 0, u16::MAX), Ok(PROTOCOL_MAX), "a newer client that still speaks ours");
    for (min, max) in [(PROTOCOL_MAX + 1, PROTOCOL_MAX + 7), (0, PROTOCOL_MIN - 1)] {
        let (code, text) = offered(&endpoint, min, max).expect_err("nothing in common");
        assert_eq!(code, FaultCode::Version);
        assert_eq!(text, format!("this server speaks protocols {PROTOCOL_MIN} to {PROTOCOL_MAX}"));
    }
    cell.connect().get("/").wait_timeout(PATIENCE).expect("nobody else is disturbed");
}

/// A server of times to come, which knows nothing of the protocol of today but how to refuse it.
fn of_times_to_come() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = BytesMut::new();
            let text = "this server speaks protocols 8 to 9";
            ServerMessage::Fault { code: FaultCode::Version, text }.encode(&mut bytes);
            // A client that has heard enough may be gone.
            let _ = stream.read(&mut [0; 4096]).and_then(|_| stream.write_all(&bytes));
        }
    });
    address.to_string()
}

#[test]
fn an_old_client_is_told_so_by_a_new_cell_and_goes_on_where_a_replica_still_speaks_its_language() {
    let (newer, newest) = (of_times_to_come(), of_times_to_come());
    let refused = Client::connect(&format!("{newer},{newest}")).wait_timeout(PATIENCE).expect_err("no common protocol");
    let Error::Version { text, outcome } = &refused else { panic!("{refused}") };
    assert!(text.contains("8 to 9") && text.contains("this client 1 to 1"), "{text}");
    assert_eq!((*outcome, refused.is_terminal(), refused.is_retryable()), (Outcome::NotApplied, true, false));
    assert!(matches!(client::status(&newer, PATIENCE), Err(Error::Version { .. })));
    let done = run(&["get", "--endpoints", &newer, "/"]);
    let words = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(5), "{words}");
    assert!(words.contains("upgrade the older"), "{words}");

    // While a cell is upgraded, one replica after the other.
    let cell = Cell::start(1, "");
    cell.leader();
    let both = Client::connect(&format!("{newer},{}", cell.endpoints())).wait_timeout(PATIENCE).expect("a session");
    both.get("/").wait_timeout(PATIENCE).expect("answered");
}
