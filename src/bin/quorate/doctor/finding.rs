//! One condition that was looked at.

/// What a condition means for a replica here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    Ok,
    /// It works, slower or with less room than it could.
    Warn,
    /// It does not work, or what was acknowledged could be lost.
    Fatal,
}

/// What was looked at, and what was there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    pub condition: String,
    pub required: String,
    pub found: String,
    pub severity: Severity,
    pub why: String,
    /// What mends it, as a command or an edit; empty where nothing is wrong.
    pub fix: String,
}

impl Severity {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fatal => "fatal",
        }
    }

    /// The exit status of an examination whose worst this is.
    pub const fn exit_status(self) -> u8 {
        self as u8
    }

    /// This, where a condition is not met.
    pub const fn unless(self, met: bool) -> Self {
        if met { Self::Ok } else { self }
    }
}

impl Finding {
    pub fn new(condition: &str, required: impl Into<String>, found: impl Into<String>, severity: Severity) -> Self {
        Self {
            condition: condition.into(),
            required: required.into(),
            found: found.into(),
            severity,
            why: String::new(),
            fix: String::new(),
        }
    }

    pub fn why(mut self, why: &str) -> Self {
        self.why = why.into();
        self
    }

    /// Kept only where there is something to mend.
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        if self.severity != Severity::Ok {
            self.fix = fix.into();
        }
        self
    }
}
