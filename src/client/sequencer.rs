//! Sequencers as text: what a program is handed in its environment, and gives back on a command line.

use std::fmt;
use std::str::FromStr;

use super::error::Error;
use crate::namespace::command::{LockMode, Sequencer};

/// `exclusive:INSTANCE:GENERATION:PATH`, or `shared:...`, both numbers decimal; [`Sequencer::from_str`] reads it.
impl fmt::Display for Sequencer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, instance, mode, generation } = self;
        let mode = match mode {
            LockMode::Exclusive => EXCLUSIVE,
            LockMode::Shared => SHARED,
        };
        write!(f, "{mode}:{instance}:{generation}:{path}")
    }
}

/// Reads what is displayed; [`Error::BadArgument`] otherwise.
impl FromStr for Sequencer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = || {
            let mut parts = text.splitn(4, ':');
            let mode = match parts.next()? {
                EXCLUSIVE => LockMode::Exclusive,
                SHARED => LockMode::Shared,
                _ => return None,
            };
            let (instance, generation) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            let path = parts.next().filter(|path| path.starts_with('/'))?.to_owned();
            Some(Self { path, instance, mode, generation })
        };
        read().ok_or_else(|| Error::BadArgument {
            why: format!("{text:?} is no sequencer, which looks like exclusive:57:101:/app/backup"),
        })
    }
}

const EXCLUSIVE: &str = "exclusive";
const SHARED: &str = "shared";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequencer_is_read_as_it_was_written() {
        for mode in [LockMode::Exclusive, LockMode::Shared] {
            let sequencer = Sequencer { path: "/a:b/ü c".to_owned(), instance: 7, mode, generation: u64::MAX };
            assert_eq!(sequencer.to_string().parse::<Sequencer>().expect("it was written so"), sequencer);
        }
        assert!("exclusive:7:8:/a".parse::<Sequencer>().is_ok());
        for text in
            ["", "exclusive", "exclusive:7:8", "exclusive:7:8:", "exclusive:7:8:a", "both:7:8:/a", "shared:-7:8:/a"]
        {
            let error = text.parse::<Sequencer>().expect_err(text);
            assert!(matches!(error, Error::BadArgument { .. }), "{text}: {error}");
        }
    }
}
