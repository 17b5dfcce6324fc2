//! The texts that programs and people keep, word by word: what one release wrote, all later ones read, and write the same.

use super::*;

/// A saved session: mark, cell, session, secret, number of the last request, and the XXH3-64 of all that.
const SAVED: &str = "quorate-session-1-00112233445566778899aabbccddeeff0102030405060708\
                     f0e0d0c0b0a0908070605040302010000000000000000011b00a1a82869546e5";

#[test]
fn a_session_that_was_saved_is_read_for_ever() {
    let saved: SavedSession = SAVED.parse().expect("a saved session");
    let (cell, session) = (CellId(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff), SessionId(0x0102_0304_0506_0708));
    assert_eq!((saved.cell(), saved.session()), (cell, session));
    assert_eq!((saved.secret(), saved.requests()), (0xf0e0_d0c0_b0a0_9080_7060_5040_3020_1000, 17));
    assert_eq!(saved.to_text(), SAVED);
}

#[test]
fn a_sequencer_that_was_handed_on_is_read_for_ever() {
    for (text, mode) in
        [("exclusive:57:101:/app/backup", LockMode::Exclusive), ("shared:57:101:/app/backup", LockMode::Shared)]
    {
        let sequencer = Sequencer { path: "/app/backup".to_owned(), instance: 57, mode, generation: 101 };
        assert_eq!(text.parse::<Sequencer>().expect("a sequencer"), sequencer);
        assert_eq!(sequencer.to_string(), text);
    }
}

#[test]
fn a_token_of_a_handle_is_read_for_ever() {
    let modes = [
        (HandleMode::NONE, '0'),
        (HandleMode::READ, '1'),
        (HandleMode::WRITE, '2'),
        (HandleMode::LOCK, '4'),
        (HandleMode::ADMIN, '8'),
        (HandleMode::ALL, 'f'),
    ];
    for (mode, digit) in modes {
        let text = format!("39.102030405060708.65.c.{digit}.00000000c0ffee00:/app/a:b");
        let token = HandleToken {
            path: "/app/a:b".to_owned(),
            instance: 0x39,
            session: SessionId(0x0102_0304_0506_0708),
            opened: 0x65,
            reign: 0xc,
            mode,
            digits: 0xc0ff_ee00,
        };
        assert_eq!(text.parse::<HandleToken>(), Ok(token.clone()));
        assert_eq!(token.to_string(), text);
    }
}
