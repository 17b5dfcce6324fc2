//! Calls without an answer, in the order they were made: what was sent, what is to be sent, what is to be sent again.
//!
//! Requests and reads are numbered apart but keep one order: a read remembers the request made before it, and is sent
//! after that one. Sending anew, whatever the cause, is setting a cursor back.
//!
//! A read's number on the wire carries, in its top bits, how often cursors were set back; the answer to an earlier asking
//! of the same read is known by it and dropped.

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::client::credentials::Credentials;
use crate::namespace::command::{Operation, Read};
use crate::wire::cache::encode_cached_read;
use crate::wire::client::{Consistency, encode_authenticate, encode_read, encode_request};

/// The calls of one session.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Requests without an answer; the first has number `acked_upto + 1`.
    requests: VecDeque<Request>,
    /// Answers up to here are here.
    acked_upto: u64,
    /// The next request to send on this connection.
    next_request: u64,
    /// The server drops all else until `next_request` has come: reads made before it wait for it too.
    request_first: bool,
    /// The last request ever sent on any connection.
    sent_upto: u64,
    /// Reads from number `first_read` on; `None` once answered.
    reads: VecDeque<Option<Question>>,
    first_read: u64,
    next_read: u64,
    unanswered_reads: usize,
    /// Times a cursor was set back.
    turn: u16,
}

#[derive(Debug)]
struct Request {
    tag: u64,
    wish: Wish,
}

/// What a request asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Wish {
    /// A mutation.
    Operation(Operation),
    /// To stand for a user.
    Stand(Credentials),
}

#[derive(Debug)]
struct Question {
    tag: u64,
    read: Read,
    consistency: Consistency,
    /// The last request made before it.
    behind: u64,
    /// The turn in which it was last asked.
    turn: u16,
    /// The last request sent on the connection before it was last asked.
    asked_behind: u64,
    /// Its answer is to be kept.
    kept: bool,
    /// It was asked, and its answer must not be kept any more.
    tainted: bool,
}

/// A read that was answered.
#[derive(Debug)]
pub(super) struct AnsweredRead {
    pub(super) tag: u64,
    pub(super) read: Read,
    /// The answer must not be kept.
    pub(super) tainted: bool,
}

/// A call that will not be answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    pub(super) tag: u64,
    /// A request that was sent: it may have had its effect.
    pub(super) sent: bool,
    /// The request that ends the session.
    pub(super) closes: bool,
}

/// How an answer to a request fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fit {
    /// It is the one waited for.
    Next,
    /// It came before.
    Again,
    /// An earlier connection's sending of it was applied just now, while a request before it, applied already, is being
    /// sent again for its answer. This one's answer will come again too.
    Early,
    /// It was never sent.
    Unasked,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { next_request: 1, ..Self::default() }
    }

    pub(super) fn push_request(&mut self, tag: u64, wish: Wish) {
        self.requests.push_back(Request { tag, wish });
    }

    pub(super) fn push_read(&mut self, tag: u64, read: Read, consistency: Consistency) {
        self.push_question(tag, read, consistency, false);
    }

    /// A linearizable read whose answer is to be kept.
    pub(super) fn push_kept_read(&mut self, tag: u64, read: Read) {
        self.push_question(tag, read, Consistency::Linearizable, true);
    }

    fn push_question(&mut self, tag: u64, read: Read, consistency: Consistency, kept: bool) {
        let behind = self.acked_upto + self.requests.len() as u64;
        let question = Question { tag, read, consistency, behind, turn: 0, asked_behind: 0, kept, tainted: false };
        self.reads.push_back(Some(question));
        self.unanswered_reads += 1;
    }

    /// Answers to those that are under way must not be kept.
    pub(super) fn taint(&mut self, which: impl Fn(&Read) -> bool) {
        let sent = (self.next_read - self.first_read) as usize;
        for question in self.reads.iter_mut().take(sent).flatten() {
            question.tainted |= which(&question.read);
        }
    }

    /// Appends what may be sent now, in order, leaving at most `in_flight_max` of each sort unanswered.
    pub(super) fn send(&mut self, in_flight_max: u64, out: &mut BytesMut) {
        loop {
            let behind = match self.reads.get((self.next_read - self.first_read) as usize) {
                Some(None) => {
                    self.next_read += 1;
                    continue;
                }
                Some(Some(question)) => Some(question.behind),
                None => None,
            };
            let sent = match behind {
                Some(behind) if behind < self.next_request && !self.request_first => self.send_read(in_flight_max, out),
                Some(_) | None => self.send_request(in_flight_max, out),
            };
            if !sent {
                return;
            }
        }
    }

    /// The session has been another's, whose requests have the numbers up to `number`. None was sent so far.
    pub(super) fn begin_after(&mut self, number: u64) {
        assert_eq!(self.acked_upto, 0, "a session is taken over before anything is asked");
        (self.acked_upto, self.next_request, self.sent_upto) = (number, number + 1, number);
        self.reads.iter_mut().flatten().for_each(|question| question.behind += number);
    }

    /// All that is unanswered is to be sent again: the connection is a new one.
    pub(super) fn rewind(&mut self) {
        self.next_request = self.acked_upto + 1;
        self.request_first = false;
        self.next_read = self.first_read;
        self.turn = self.turn.wrapping_add(1);
    }

    /// Request `number` was turned away: it, all behind it and the reads asked after it are to be sent again. False if it is
    /// not under way.
    ///
    /// It may have been answered nevertheless, if an earlier sending of it was applied; the server waits for it all the
    /// same.
    ///
    /// The server drops what came after the request, and answers the reads that came before it. What counts is when a read
    /// was asked, not when it was made: one that was turned away itself and asked again may have come after. Askings are
    /// in the reads' own order, so those to be repeated are the last ones.
    pub(super) fn refused(&mut self, number: u64) -> bool {
        if number == 0 || number >= self.next_request {
            return false;
        }
        self.next_request = number;
        self.request_first = true;
        let sent = (self.next_read - self.first_read) as usize;
        let asked_after = |question: &Option<Question>| question.as_ref().is_some_and(|q| q.asked_behind >= number);
        if let Some(at) = self.reads.iter().take(sent).position(asked_after) {
            self.next_read = self.first_read + at as u64;
        }
        self.turn = self.turn.wrapping_add(1);
        true
    }

    /// A read was turned away: it and all reads behind it are to be asked again. False if it is not under way.
    pub(super) fn read_refused(&mut self, number: u64) -> bool {
        let Some(at) = self.asked(number) else { return false };
        self.next_read = self.first_read + at as u64;
        self.turn = self.turn.wrapping_add(1);
        true
    }

    /// How an answer to request `number` fits.
    pub(super) fn fit(&self, number: u64) -> Fit {
        match number {
            _ if number > self.sent_upto => Fit::Unasked,
            _ if number <= self.acked_upto => Fit::Again,
            _ if number == self.acked_upto + 1 => Fit::Next,
            _ => Fit::Early,
        }
    }

    /// Takes out the first request: it was answered, perhaps by an earlier sending of it.
    pub(super) fn answered(&mut self) -> (u64, Wish) {
        let Request { tag, wish } = self.requests.pop_front().expect("only what is queued is answered");
        self.acked_upto += 1;
        (tag, wish)
    }

    /// Takes out the read with this number on the wire; `None` if no such asking waits for an answer.
    pub(super) fn read_answered(&mut self, number: u64) -> Option<AnsweredRead> {
        let at = self.asked(number)?;
        let Question { tag, read, tainted, .. } = self.reads[at].take().expect("an asked read is there");
        self.unanswered_reads -= 1;
        while let Some(None) = self.reads.front() {
            self.reads.pop_front();
            self.first_read += 1;
        }
        self.next_read = self.next_read.max(self.first_read);
        Some(AnsweredRead { tag, read, tainted })
    }

    /// The last request made.
    pub(super) fn made_upto(&self) -> u64 {
        self.acked_upto + self.requests.len() as u64
    }

    /// The last request made, if it has no answer; otherwise 0.
    pub(super) fn unanswered_upto(&self) -> u64 {
        if self.requests.is_empty() { 0 } else { self.made_upto() }
    }

    /// Every call without an answer, in the order they were made.
    pub(super) fn into_calls(self) -> Vec<Left> {
        let mut calls = Vec::with_capacity(self.len());
        let mut reads = self.reads.into_iter().flatten().peekable();
        for (number, request) in (self.acked_upto + 1..).zip(self.requests) {
            while let Some(question) = reads.next_if(|question| question.behind < number) {
                calls.push(Left { tag: question.tag, sent: false, closes: false });
            }
            let closes = request.wish == Wish::Operation(Operation::CloseSession);
            calls.push(Left { tag: request.tag, sent: number <= self.sent_upto, closes });
        }
        calls.extend(reads.map(|question| Left { tag: question.tag, sent: false, closes: false }));
        calls
    }

    /// Calls without an answer.
    pub(super) fn len(&self) -> usize {
        self.requests.len() + self.unanswered_reads
    }

    /// Whether something sent on this connection waits for an answer.
    pub(super) fn is_waiting(&self) -> bool {
        self.next_request > self.acked_upto + 1 || self.next_read > self.first_read
    }

    /// The last request whose answer, and every earlier one's, is here.
    pub(super) fn acked_upto(&self) -> u64 {
        self.acked_upto
    }

    /// The last request ever sent.
    pub(super) fn sent_upto(&self) -> u64 {
        self.sent_upto
    }

    fn send_request(&mut self, in_flight_max: u64, out: &mut BytesMut) -> bool {
        let number = self.next_request;
        if number <= self.acked_upto {
            // Refused here and applied from elsewhere: its place has to be filled. The log knows the number, and does not
            // look at what is asked.
            encode_request(out, number, number - 1, |out| Operation::Sync.encode(out));
        } else {
            let at = number - self.acked_upto - 1;
            let Some(request) = self.requests.get(at as usize).filter(|_| at < in_flight_max) else { return false };
            match &request.wish {
                Wish::Operation(operation) => {
                    encode_request(out, number, self.acked_upto, |out| operation.encode(out));
                }
                Wish::Stand(credentials) => encode_authenticate(out, number, self.acked_upto, credentials.parts()),
            }
            self.sent_upto = self.sent_upto.max(number);
        }
        self.next_request += 1;
        self.request_first = false;
        true
    }

    fn send_read(&mut self, in_flight_max: u64, out: &mut BytesMut) -> bool {
        let at = self.next_read - self.first_read;
        let Some(question) = self.reads[at as usize].as_mut().filter(|_| at < in_flight_max) else { return false };
        (question.turn, question.asked_behind) = (self.turn, self.next_request - 1);
        let number = (u64::from(self.turn) << TURN_SHIFT) | (self.next_read & READ_MASK);
        // Asked anew: the answer is of after whatever was recalled.
        question.tainted = false;
        if question.kept {
            encode_cached_read(out, number, |out| question.read.encode(out));
        } else {
            encode_read(out, number, question.consistency, |out| question.read.encode(out));
        }
        self.next_read += 1;
        true
    }

    /// Where the read with this number on the wire stands, if that asking of it waits for an answer.
    fn asked(&self, number: u64) -> Option<usize> {
        let distance = (number & READ_MASK).wrapping_sub(self.first_read & READ_MASK) & READ_MASK;
        let sent = self.next_read - self.first_read;
        let question = self.reads.get(usize::try_from(distance).ok()?)?.as_ref()?;
        (distance < sent && question.turn == (number >> TURN_SHIFT) as u16).then_some(distance as usize)
    }
}

const TURN_SHIFT: u32 = 48;
const READ_MASK: u64 = (1 << TURN_SHIFT) - 1;
