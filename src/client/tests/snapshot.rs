//! A replica that lends images, and answers what nobody asked.

use super::*;
use crate::client::{Error, Slot, SnapshotPiece, SnapshotSource};
use crate::wire::snapshots::SnapshotAnswer;

/// Whoever connects is welcomed, and each question answered by what `answer` makes of its number.
fn lender(answer: fn(u64) -> (u64, SnapshotAnswer)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        let (mut reader, mut room) = (FrameReader::new(CLIENT_MAGIC), [0; 4096]);
        while let Ok(count @ 1..) = stream.read(&mut room) {
            let mut out = BytesMut::new();
            let fed = reader.feed::<crate::wire::frame::FrameError>(&room[..count], 1 << 20, |frame| {
                match ClientMessage::decode(frame).expect("the client speaks the protocol") {
                    ClientMessage::Snapshot { number, .. } => {
                        let (number, answer) = answer(number);
                        ServerMessage::Snapshot { number, answer }.encode(&mut out);
                    }
                    hello => super::answer(&mut Held::default(), hello, &mut out),
                }
                Ok(())
            });
            fed.expect("whole frames");
            if stream.write_all(&out).is_err() {
                return;
            }
        }
    });
    address
}

fn source(answer: fn(u64) -> (u64, SnapshotAnswer)) -> SnapshotSource {
    SnapshotSource::open(&lender(answer).to_string(), PATIENCE).expect("it answers")
}

fn piece(image: u64, offset: u64) -> SnapshotAnswer {
    SnapshotAnswer::Piece { image: Slot(image), offset, bytes: Bytes::from_static(b"rows") }
}

#[test]
fn an_answer_is_taken_for_the_question_it_answers_and_no_other() {
    let mut right = source(|number| (number, piece(7, 4)));
    for _ in 0..3 {
        assert_eq!(
            right.piece(Slot(7), 4).expect("as it should be"),
            SnapshotPiece::Bytes(Bytes::from_static(b"rows"))
        );
    }
    let is_refused = |mut source: SnapshotSource| matches!(source.piece(Slot(7), 4), Err(Error::Protocol { .. }));
    assert!(is_refused(source(|number| (number + 1, piece(7, 4)))), "another question's");
    assert!(is_refused(source(|number| (number, piece(8, 4)))), "another image's");
    assert!(is_refused(source(|number| (number, piece(7, 0)))), "another place's");
    assert!(is_refused(source(|number| (number, SnapshotAnswer::Image { image: Slot(7) }))), "no piece");
    let mut constant = source(|_| (1, piece(7, 4)));
    constant.piece(Slot(7), 4).expect("the first question has this number");
    assert!(is_refused(constant), "the second has another");
    let shut = source(|number| (number, SnapshotAnswer::NotAuthorized)).image(0);
    assert!(matches!(shut, Err(Error::NotSuper)), "{shut:?}");
}
