//! Host names being looked up. That may take longer than a client waits for a connection, and then go on; so whoever asks for
//! the same name meanwhile joins in, and an answer that comes too late for all is there for the next who asks: a slow look-up
//! delays a connection, and never prevents one. Nothing is remembered beyond that: a name may lead elsewhere tomorrow.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use crate::time::{Duration, Instant};

/// What a name leads to.
pub(super) type Addresses = io::Result<Vec<SocketAddr>>;

/// The names that are asked for, or were answered to nobody.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, Name>);

#[derive(Debug)]
enum Name {
    /// It is being looked up for these.
    Asked { tokens: Vec<u64> },
    /// Nobody waited for it any more.
    Answered { at: Instant, addresses: Addresses },
}

/// What becomes of a question.
#[derive(Debug)]
pub(super) enum Asked {
    /// It is answered.
    Known(Addresses),
    /// It will be.
    Coming,
    /// It will be, if the asker has it looked up.
    LookUp,
}

impl Names {
    /// Asks for a name on behalf of `token`.
    pub(super) fn ask(&mut self, now: Instant, token: u64, name: &str) -> Asked {
        match self.0.get_mut(name) {
            Some(Name::Asked { tokens }) => {
                tokens.push(token);
                return Asked::Coming;
            }
            Some(Name::Answered { .. }) | None => {}
        }
        match self.0.remove(name) {
            Some(Name::Answered { at, addresses }) if now.since(at) < LATE_MAX => Asked::Known(addresses),
            Some(_) | None => {
                self.0.insert(name.to_owned(), Name::Asked { tokens: vec![token] });
                Asked::LookUp
            }
        }
    }

    /// A name was looked up. Whoever of those that asked still waits, as `waits` has it, is to be told.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        name: String,
        addresses: Addresses,
        waits: impl Fn(u64) -> bool,
    ) -> Vec<(u64, Addresses)> {
        let Some(Name::Asked { mut tokens }) = self.0.remove(&name) else {
            unreachable!("only what was asked for is looked up")
        };
        tokens.retain(|token| waits(*token));
        if tokens.is_empty() {
            self.0.insert(name, Name::Answered { at: now, addresses });
            return Vec::new();
        }
        tokens.into_iter().map(|token| (token, copy(&addresses))).collect()
    }
}

fn copy(addresses: &Addresses) -> Addresses {
    match addresses {
        Ok(addresses) => Ok(addresses.clone()),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}

/// An answer older than this is of yesterday.
const LATE_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    fn leads(port: u16) -> Addresses {
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    }

    #[test]
    fn a_look_up_serves_all_who_asked_and_still_wait() {
        let mut names = Names::default();
        assert!(matches!(names.ask(at(0), 1, "host:1"), Asked::LookUp));
        assert!(matches!(names.ask(at(0), 2, "other:1"), Asked::LookUp), "each name by itself");
        assert!(matches!(names.ask(at(5), 3, "host:1"), Asked::Coming));
        assert!(matches!(names.ask(at(6), 4, "host:1"), Asked::Coming));
        let told = names.answered(at(7), "host:1".to_owned(), leads(1), |token| token != 3);
        let tokens: Vec<u64> = told.iter().map(|(token, _)| *token).collect();
        assert_eq!(tokens, [1, 4]);
        assert!(told.into_iter().all(|(_, addresses)| addresses.is_ok_and(|one| one[0].port() == 1)));
        assert!(matches!(names.ask(at(8), 5, "host:1"), Asked::LookUp), "a new attempt looks it up anew");
    }

    #[test]
    fn an_answer_too_late_for_all_is_the_next_one_s_and_then_forgotten() {
        let mut names = Names::default();
        assert!(matches!(names.ask(at(0), 1, "host:1"), Asked::LookUp));
        assert!(names.answered(at(3000), "host:1".to_owned(), leads(1), |_| false).is_empty());
        assert!(matches!(names.ask(at(3500), 2, "host:1"), Asked::Known(Ok(_))));
        assert!(matches!(names.ask(at(3501), 3, "host:1"), Asked::LookUp));
        let failed = Err(io::Error::other("no such host"));
        assert!(names.answered(at(4000), "host:1".to_owned(), failed, |_| false).is_empty());
        assert!(matches!(names.ask(at(14_000), 4, "host:1"), Asked::LookUp), "too old");
    }
}
