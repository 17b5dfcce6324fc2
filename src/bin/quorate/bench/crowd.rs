//! Sessions of other processes of this program, which can be killed.

use std::io::{self, Read as _};
use std::process::{Child, Command, Stdio};

use quorate::bench::Crowd;

/// So many processes that each hold a share of the sessions.
pub struct Processes {
    endpoints: String,
    shares: Vec<u32>,
    timeout_s: u64,
    held_s: u64,
    children: Vec<Child>,
}

impl Processes {
    /// For `sessions` in all, no more of them in one process than that may open. They end by themselves after `held_s`.
    pub fn new(endpoints: &str, sessions: u32, most_each: u32, (timeout_s, held_s): (u64, u64)) -> Self {
        let count = sessions.div_ceil(most_each.max(1));
        let shares = (0..count).map(|at| sessions / count + u32::from(at < sessions % count)).collect();
        Self { endpoints: endpoints.to_owned(), shares, timeout_s, held_s, children: Vec::new() }
    }
}

impl Crowd for Processes {
    fn gather(&mut self) -> io::Result<()> {
        let program = std::env::current_exe()?;
        for share in &self.shares {
            let child = Command::new(&program)
                .args(["bench", "session", "--json", "--endpoints", &self.endpoints])
                .args(["--sessions", &share.to_string(), "--seconds", &self.held_s.to_string()])
                .args(["--timeout", &format!("{}s", self.timeout_s)])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()?;
            self.children.push(child);
        }
        Ok(())
    }

    fn last_words(&mut self) -> Option<String> {
        let has_ended = |child: &mut Child| child.try_wait().is_ok_and(|status| status.is_some());
        let ended = self.children.iter_mut().find_map(|child| has_ended(child).then_some(child))?;
        let mut words = String::new();
        if let Some(mut told) = ended.stderr.take() {
            let _cut_short = told.read_to_string(&mut words);
        }
        Some(format!("a process that was to hold sessions ended: {}", words.trim()))
    }

    fn die(&mut self) {
        for child in &mut self.children {
            // One that has ended by itself is as dead.
            let _ended = child.kill();
        }
        for mut child in self.children.drain(..) {
            let _status = child.wait();
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.die();
    }
}
