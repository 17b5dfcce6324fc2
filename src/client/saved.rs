//! Sessions that outlive a process: saved as a line of text, taken over by the process that comes after.

use std::str::FromStr;

use xxhash_rust::xxh3::xxh3_64;

use super::acquisition;
use super::api::{Client, refused, unfit};
use super::call::Call;
use super::error::{Error, Result};
use super::lock::LockGuard;
use super::machine::{Answered, Saved};
use super::op::Op;
use crate::namespace::command::{Answer, LockPlace, SessionId};
use crate::paxos::ballot::CellId;

/// What another process needs to take a session over. As text it is a secret: who has it has the session.
///
#[doc = concat!("```no_run\n", include_str!("../../tests/process/examples/saved.rs"), "```")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SavedSession(Saved);

impl SavedSession {
    /// The session.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.0.session
    }

    /// The cell that has it.
    #[must_use]
    pub fn cell(&self) -> CellId {
        self.0.cell
    }

    /// The number of the last request made before it was saved. The next call that changes something has the next number
    /// (one that makes parents, or deletes in parts, takes several); reads have none.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.0.requests
    }

    /// One line of text, to be kept where others do not read it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let Saved { cell, session, secret, requests } = self.0;
        let text = format!("{MARK}{:032x}{:016x}{secret:032x}{requests:016x}", cell.0, session.0);
        format!("{text}{:016x}", xxh3_64(text.as_bytes()))
    }

    pub(super) fn secret(&self) -> u128 {
        self.0.secret
    }
}

impl FromStr for SavedSession {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::BadArgument { why: "that is no saved session; give the line as it was saved".to_owned() };
        let text = text.trim();
        let (body, check) = text.split_at_checked(text.len().saturating_sub(16)).ok_or_else(bad)?;
        let digits =
            body.strip_prefix(MARK).filter(|digits| digits.len() == 96 && digits.is_ascii()).ok_or_else(bad)?;
        if format!("{:016x}", xxh3_64(body.as_bytes())) != check {
            return Err(bad());
        }
        let part = |from: usize, upto: usize| u128::from_str_radix(&digits[from..upto], 16).map_err(|_| bad());
        Ok(Self(Saved {
            cell: CellId(part(0, 32)?),
            session: SessionId(part(32, 48)? as u64),
            secret: part(48, 80)?,
            requests: part(80, 96)? as u64,
        }))
    }
}

impl Client {
    /// What another process needs to go on with this session, should this one die; with the number of the last request made
    /// before. It stays good for as long as the session lives, which is its timeout from this process's last sign of life on.
    /// Refused for the session alone: [`Error::SessionExpired`] and [`Error::Closed`] once there is none to be saved.
    pub fn save(&self) -> Op<SavedSession> {
        self.submit(Call::Save, saved)
    }

    /// Leaves the session, and all that lives with it, to another process once all calls made before are answered; later calls
    /// on any clone fail. Guards of locks must be [forgotten](LockGuard::forget) before: dropped, they release them.
    /// [`Error::SessionExpired`] or [`Error::SessionTaken`] if the session is lost before it comes to that.
    pub fn hand_over(self) -> Op<SavedSession> {
        self.observed().close();
        self.submit(Call::HandOver, saved)
    }

    /// The last request that took effect (or was refused) of those that other processes made in this session: none after it ever
    /// will. So if it is past what a saved line [knew of](SavedSession::requests), then of all that any process asked for after
    /// that line was saved the first was done, and of one process what has numbers up to this; otherwise nothing was. 0 if
    /// this client opened the session.
    #[must_use]
    pub fn applied_before(&self) -> u64 {
        self.observed().applied_before()
    }

    /// The lock of a node that this session has from another process: held, or waited for if that one stood in the queue; `None`
    /// if it has neither. The guard is as good as the one before: its [token](LockGuard::token) is the same, and what that one's
    /// sequencer guarded this one's guards. Which locks a process takes is its own to know: a saved session names none.
    ///
    /// A claim has one guard at most: whichever of two is dropped first gives the lock up for both. So it is asked for once, and
    /// not of what this process locked itself. [`Error::LockTwice`] while this client takes the same lock;
    /// [`Error::NotAuthorized`] if the session knows of the node, and has neither the right `read` nor `lock`;
    /// [`Error::TooManyLockWaits`] if this client waits for too many.
    pub fn resume_lock(&self, path: &str) -> Op<Option<LockGuard>> {
        let path = match self.inward(path) {
            Ok(path) => path,
            Err(error) => return Op::ready(Err(error)),
        };
        if self.acquiring().contains(&path) {
            return Op::ready(Err(Error::LockTwice { path: acquisition::shown(self, path) }));
        }
        let (client, root) = (self.clone(), self.root());
        self.submit(Call::AwaitLock(path), move |answered| match answered {
            Answered::Read { answer: Ok(Answer::LockPlace { place: LockPlace::Held { sequencer } }), .. } => {
                Ok(Some(LockGuard::new(client, sequencer)))
            }
            Answered::Read { answer: Ok(Answer::LockPlace { .. }), .. } => Ok(None),
            Answered::Read { answer: Err(refusal), .. } => match refused(refusal, &root) {
                Error::NoNode { .. } => Ok(None),
                error => Err(error),
            },
            Answered::Read { .. } | Answered::Request { .. } | Answered::Saved(_) => Err(unfit("a lock")),
        })
    }
}

fn saved(answered: Answered) -> Result<SavedSession> {
    match answered {
        Answered::Saved(saved) => Ok(SavedSession(saved)),
        Answered::Request { .. } | Answered::Read { .. } => Err(unfit("the saving of a session")),
    }
}

/// What a saved session's line begins with.
const MARK: &str = "quorate-session-1-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written_and_no_other() {
        let saved = SavedSession(Saved { cell: CellId(3 << 100), session: SessionId(77), secret: 9, requests: 12 });
        let text = saved.to_text();
        assert_eq!(format!(" {text}\n").parse::<SavedSession>().expect("it was written so"), saved);
        assert!(!format!("{saved:?}").contains(&format!("{:032x}", 9)), "no secret in diagnostics");
        for at in 0..text.len() {
            let mut broken = text.clone().into_bytes();
            broken[at] = if broken[at] == b'0' { b'1' } else { b'0' };
            let broken = String::from_utf8(broken).expect("digits");
            assert!(broken.parse::<SavedSession>().is_err(), "{broken} was taken");
            assert!(text[..at].parse::<SavedSession>().is_err());
        }
    }
}
