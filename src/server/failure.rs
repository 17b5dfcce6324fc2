//! What ends a process or a command, said so that a person can mend it.
//!
//! A failure tells five things: what failed and where, what was found against what is needed, why that matters, how to
//! mend it, and its code. The code's number is also the exit status, so that a script can tell failures apart without
//! reading them.

use std::io;
use std::path::Path;

mod code;

pub use code::Code;

/// Why a process ends, or a command did not do what it was asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    code: Code,
    what: Box<str>,
    found: Option<Box<str>>,
    needed: Option<Box<str>>,
    why: Option<Box<str>>,
    fix: Option<Box<str>>,
    /// What only programs are told, each under its name.
    facts: Vec<(&'static str, Box<str>)>,
}

impl Failure {
    /// A failure of that kind; `what` says what failed and where, as a sentence without a final stop.
    #[must_use]
    pub fn new(code: Code, what: impl Into<String>) -> Self {
        Self { code, what: what.into().into(), found: None, needed: None, why: None, fix: None, facts: Vec::new() }
    }

    /// An operation on a file that the system refused. Full disks and missing permissions get their own fix.
    #[must_use]
    pub fn io(code: Code, action: &str, path: &Path, error: &io::Error) -> Self {
        let code = if error.kind() == io::ErrorKind::StorageFull { Code::DiskFull } else { code };
        let failure = Self::new(code, format!("cannot {action} {}", path.display())).found(error.to_string());
        match error.kind() {
            io::ErrorKind::StorageFull => failure.fix("free some space there, or name a folder on another disk"),
            io::ErrorKind::PermissionDenied => {
                failure.fix("run it as the user that owns the folder, or change the folder's owner")
            }
            io::ErrorKind::NotFound => failure.fix("check the path"),
            _ => failure,
        }
    }

    /// What is there.
    #[must_use]
    pub fn found(mut self, found: impl Into<String>) -> Self {
        self.found = Some(found.into().into());
        self
    }

    /// What there should be.
    #[must_use]
    pub fn needed(mut self, needed: impl Into<String>) -> Self {
        self.needed = Some(needed.into().into());
        self
    }

    /// Why it matters, in one clause.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into().into());
        self
    }

    /// What mends it, as a command or an edit.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into().into());
        self
    }

    /// Something that a program may decide by, and that the words say in their way.
    #[must_use]
    pub fn fact(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.facts.push((name, value.into().into()));
        self
    }

    /// What only programs are told, each under its name.
    pub fn facts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.facts.iter().map(|(name, value)| (*name, &**value))
    }

    /// Its kind.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The status a process that ends by it exits with.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        self.code.number()
    }

    /// What there is to say, by its label; nothing for what is not known.
    #[must_use]
    pub fn parts(&self) -> [(&'static str, Option<&str>); 5] {
        let Self { what, found, needed, why, fix, .. } = self;
        let rest = [("found", found), ("needed", needed), ("why", why), ("fix", fix)];
        let [found, needed, why, fix] = rest.map(|(label, part)| (label, part.as_deref()));
        [("what", Some(what)), found, needed, why, fix]
    }

    /// The whole text for a person: a headline and one indented line for each thing that is known.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = format!("error[{}]: {}", self.code, self.what);
        match (&self.found, &self.needed) {
            (Some(found), Some(needed)) if found.len() + needed.len() < 90 => {
                text += &format!("\n  found: {found}    needed: {needed}");
            }
            (found, needed) => {
                push_line(&mut text, "found", found.as_deref());
                push_line(&mut text, "needed", needed.as_deref());
            }
        }
        push_line(&mut text, "why", self.why.as_deref());
        push_line(&mut text, "fix", self.fix.as_deref());
        text
    }
}

fn push_line(text: &mut String, label: &str, line: Option<&str>) {
    if let Some(line) = line {
        let label = format!("{label}:");
        let margin = format!("\n{:10}", "");
        *text += &format!("\n  {label:<8}{}", line.trim_end().replace('\n', &margin));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_is_known_and_nothing_else() {
        let bare = Failure::new(Code::ListenFailed, "cannot listen on 127.0.0.1:7400");
        assert_eq!(bare.report(), "error[E041]: cannot listen on 127.0.0.1:7400");
        let full = Failure::new(Code::LockedMemory, "too little locked memory")
            .found("8 MiB")
            .needed("32 MiB")
            .why("registered buffers are pinned")
            .fix("ulimit -l 32768\nor LimitMEMLOCK=infinity");
        assert_eq!(
            full.report(),
            "error[E012]: too little locked memory\n  found: 8 MiB    needed: 32 MiB\n  \
             why:    registered buffers are pinned\n  fix:    ulimit -l 32768\n          or LimitMEMLOCK=infinity"
        );
        assert_eq!(full.exit_status(), 12);
    }
}
