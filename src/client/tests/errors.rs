//! What each error says of the call, of the same call made again, and of the client.

use super::*;
use crate::client::Outcome as Known;

/// Neither is it of use to try again, nor is the client at its end.
const PLAIN: (bool, bool) = (false, false);
const RETRYABLE: (bool, bool) = (true, false);
const TERMINAL: (bool, bool) = (false, true);

/// A row for each error: one such error, what is known of its call, and what it is. `told` is what those say that are made with
/// an outcome.
macro_rules! rows {
    ($told:ident; $($variant:ident $fields:tt => $outcome:expr, $is:expr;)+) => {
        fn rows($told: Known) -> Vec<(Error, Known, (bool, bool))> {
            vec![$((Error::$variant $fields, $outcome, $is)),+]
        }

        /// An error that has no row does not compile here.
        fn name(error: &Error) -> &'static str {
            match error {
                $(Error::$variant { .. } => stringify!($variant),)+
            }
        }
    };
}

rows! { told;
    NoNode { path: text() } => Known::NotApplied, PLAIN;
    NoParent { path: text() } => Known::NotApplied, PLAIN;
    NodeExists { path: text() } => Known::NotApplied, PLAIN;
    NotEmpty { path: text() } => Known::NotApplied, PLAIN;
    BadVersion { path: text(), expected: 1, found: 2 } => Known::NotApplied, PLAIN;
    EphemeralParent { path: text() } => Known::NotApplied, PLAIN;
    Fenced { path: text(), presented: 1, current: 2 } => Known::NotApplied, PLAIN;
    LockBusy { path: text() } => Known::NotApplied, PLAIN;
    LockTwice { path: text() } => Known::NotApplied, PLAIN;
    LockNotHeld { path: text() } => Known::NotApplied, PLAIN;
    HandleGone { path: text() } => Known::NotApplied, PLAIN;
    HandleClosed { path: text() } => Known::NotApplied, PLAIN;
    HandleForged { path: text() } => Known::NotApplied, PLAIN;
    HandleLacks { path: text(), lacks: HandleMode::READ } => Known::NotApplied, PLAIN;
    HandleForeign { path: text(), session: SessionId(1) } => Known::NotApplied, PLAIN;
    HandlePoisoned { path: text(), outcome: told } => told, PLAIN;
    BadArgument { why: text() } => Known::NotApplied, PLAIN;
    NodesOverQuota { path: text(), needed: 2, limit: 1 } => Known::NotApplied, PLAIN;
    BytesOverQuota { path: text(), needed: 2, limit: 1 } => Known::NotApplied, PLAIN;
    NotAuthorized { path: text(), needed: Rights::READ } => Known::NotApplied, PLAIN;
    NotSuper {} => Known::NotApplied, PLAIN;
    IsLog { path: text() } => Known::NotApplied, PLAIN;
    NotLog { path: text() } => Known::NotApplied, PLAIN;
    LogSealed { path: text(), end: 1 } => Known::NotApplied, PLAIN;
    LogEnd { path: text(), expected: 1, found: 2 } => Known::NotApplied, PLAIN;
    LogTrimmed { path: text(), from: 1, first: 2 } => Known::NotApplied, PLAIN;
    TooLarge { what: text(), size: 2, limit: 1 } => Known::NotApplied, PLAIN;
    NotNow { why: text() } => Known::NotApplied, RETRYABLE;
    Aborted { index: 0, cause: Box::new(Error::NoNode { path: text() }) } => Known::NotApplied, PLAIN;
    TooManyCalls { limit: 1 } => Known::NotApplied, RETRYABLE;
    TooManyLockWaits { limit: 1 } => Known::NotApplied, RETRYABLE;
    Deadline { after: PATIENCE } => Known::Unknown, RETRYABLE;
    SessionExpired { session: SessionId(1), outcome: told } => told, TERMINAL;
    SessionTaken { session: SessionId(1), outcome: told } => told, TERMINAL;
    Forked { outcome: told } => told, TERMINAL;
    Closed { outcome: told } => told, TERMINAL;
    Unreachable { after: PATIENCE, why: text() } => Known::NotApplied, TERMINAL;
    WrongCell { text: text(), outcome: told } => told, TERMINAL;
    Partly { done: 1, cause: Box::new(Error::NoNode { path: text() }) } => Known::Unknown, PLAIN;
    Silent { endpoint: text(), why: text() } => Known::NotApplied, RETRYABLE;
    Version { text: text(), outcome: told } => told, TERMINAL;
    Protocol { text: text(), outcome: told } => told, TERMINAL;
    BadTarget { why: text() } => Known::NotApplied, PLAIN;
    Io(Arc::new(std::io::Error::other("refused"))) => Known::NotApplied, TERMINAL;
}

fn text() -> String {
    "/a".to_owned()
}

#[test]
fn each_error_tells_what_came_of_the_call_and_whether_it_may_be_made_again() {
    for told in [Known::NotApplied, Known::Unknown] {
        for (error, outcome, is) in rows(told) {
            let said = (error.outcome(), (error.is_retryable(), error.is_terminal()));
            assert_eq!(said, (outcome, is), "{}: {error}", name(&error));
        }
    }
}

/// A step that had no time, or the rest of a call that was done in part, has it a little later; one that was refused has not.
#[test]
fn what_failed_for_another_error_may_be_made_again_if_that_may() {
    for (cause, _, (retryable, _)) in rows(Known::Unknown) {
        let what = name(&cause);
        let aborted = Error::Aborted { index: 0, cause: Box::new(cause.clone()) };
        let partly = Error::Partly { done: 1, cause: Box::new(cause) };
        assert_eq!((aborted.is_retryable(), partly.is_retryable()), (retryable, retryable), "{what}");
        assert_eq!((aborted.outcome(), partly.outcome()), (Known::NotApplied, Known::Unknown), "{what}");
    }
}

#[test]
fn whose_lock_nobody_took_since_is_not_told_that_somebody_did() {
    let told = |current| Error::Fenced { path: "/l".into(), presented: 2779, current }.to_string();
    assert!(told(2779).contains("(nobody has held it since)"), "{}", told(2779));
    assert!(told(2801).contains("(it is at 2801)"), "{}", told(2801));
}
