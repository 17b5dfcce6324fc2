//! Answers no correct system gives: how many, and the first of them.

/// How many are kept as text.
const KEPT: usize = 5;

/// What was found wrong.
#[derive(Clone, Default, Debug)]
pub struct Wrong {
    /// How many answers.
    pub count: u64,
    /// The first of them.
    pub first: Vec<String>,
}

impl Wrong {
    /// One more.
    pub fn note(&mut self, how: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < KEPT {
            self.first.push(how());
        }
    }

    /// What another check found.
    pub fn extend(&mut self, other: &Self) {
        self.count += other.count;
        self.first.extend(other.first.iter().take(KEPT.saturating_sub(self.first.len())).cloned());
    }
}
