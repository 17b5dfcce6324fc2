//! Before and after the load: keys are made, held against what was acknowledged, and taken away.

use super::run::{DRAIN, Run, RunError};
use super::system::{Ask, Lost, Told};
use crate::time::Duration;

/// How many chores are under way at once.
pub const CHORES_UNDER_WAY: usize = 512;

/// Marks the tag of a chore.
const CHORE: u64 = 1 << 63;

impl Run<'_> {
    pub(super) fn make_folders(&mut self) -> Result<(), RunError> {
        for folder in self.workload.folders() {
            let make = |_: &mut Self, _| Ask::Folder { path: folder.clone() };
            self.all_done("making folders", 1, make)?;
        }
        Ok(())
    }

    /// Makes the keys, gives every key a value of this run, and asks for each key's numbers, from which all counting
    /// starts.
    pub(super) fn fill(&mut self) -> Result<(), RunError> {
        let keys = self.plan.point.keys as usize;
        let mut there = Vec::new();
        let mut refused = None;
        let make = |run: &mut Self, key: usize| Ask::Make { path: run.path(key), data: run.workload.value(key as u32) };
        self.chores("filling", keys, make, |_, key, result| match result {
            Ok(Told::There) => there.push(key),
            other => refused = done(other).err().or(refused.take()),
        })?;
        self.prepared(refused)?;
        let write = |run: &mut Self, index: usize| {
            let key = there[index];
            Ask::Write { path: run.path(key), data: run.workload.value(key as u32) }
        };
        self.all_done("filling", there.len(), write)?;
        let mut unknown = None;
        self.chores("looking", keys, Self::look, |run, key, result| match result {
            Ok(Told::Seen(Some(numbers))) => run.workload.begin_at(key as u32, numbers),
            other => unknown = Some(format!("a key that was just made has no numbers: {other:?}")),
        })?;
        self.prepared(unknown)
    }

    /// Holds every key's number of writes against what was acknowledged, then takes the keys away unless they are to be
    /// kept, and ends the sessions.
    pub(super) fn verify(&mut self) -> Result<(), RunError> {
        let keys = self.plan.point.keys as usize;
        let mut unseen = None;
        self.chores("verifying", keys, Self::look, |run, key, result| match result {
            Ok(Told::Seen(Some(numbers))) => run.workload.has_ended_at(key as u32, numbers.writes),
            Ok(Told::Seen(None)) => run.workload.has_vanished(key as u32),
            other => unseen = Some(format!("a key could not be looked at: {other:?}")),
        })?;
        if !self.plan.keep {
            let delete = |run: &mut Self, key: usize| Ask::Delete { path: run.path(key) };
            self.chores("cleaning up", keys, delete, |_, _, _| ())?;
            for folder in self.workload.folders().into_iter().rev() {
                // One at a time, children before parents; what others put there stays, and its folder with it.
                let delete = |_: &mut Self, _| Ask::Delete { path: folder.clone() };
                self.chores("cleaning up", 1, delete, |_, _, _| ())?;
            }
        }
        self.close()?;
        self.prepared(unseen)
    }

    fn path(&self, key: usize) -> String {
        self.workload.path(key as u32).to_owned()
    }

    fn look(run: &mut Self, key: usize) -> Ask {
        Ask::Look { path: run.path(key) }
    }

    fn prepared(&self, refused: Option<String>) -> Result<(), RunError> {
        refused.map_or(Ok(()), |why| Err(RunError::Prepare(why)))
    }

    /// Chores of which none may fail.
    fn all_done(
        &mut self,
        phase: &'static str,
        count: usize,
        chore: impl FnMut(&mut Self, usize) -> Ask,
    ) -> Result<(), RunError> {
        let mut refused = None;
        self.chores(phase, count, chore, |_, _, result| refused = done(result).err().or(refused.take()))?;
        self.prepared(refused)
    }

    /// Does `count` chores, many at once, over all clients that live.
    fn chores(
        &mut self,
        phase: &'static str,
        count: usize,
        mut chore: impl FnMut(&mut Self, usize) -> Ask,
        mut ended: impl FnMut(&mut Self, usize, Result<Told, Lost>),
    ) -> Result<(), RunError> {
        let (mut begun, mut over) = (0, 0);
        let clients = self.system.clients();
        let mut answered_at = self.system.now();
        while over < count {
            // Once something was measured it is told, so that only a second signal ends the rest.
            if matches!(phase, "making folders" | "filling" | "looking") && self.is_stopped() {
                return Err(RunError::Interrupted);
            }
            while begun < count && begun - over < CHORES_UNDER_WAY {
                let living = (0..clients).map(|step| (begun + step) % clients).find(|c| !self.system.is_over(*c));
                let Some(client) = living else { return Err(RunError::AllOver(self.last_words())) };
                let ask = chore(self, begun);
                let asked = self.system.ask(client, begun as u64 | CHORE, ask);
                asked.map_err(|lost| RunError::Prepare(lost.to_string()))?;
                begun += 1;
            }
            self.turn(self.system.now() + DRAIN)?;
            for finished in std::mem::take(&mut self.finished) {
                if finished.tag & CHORE == 0 {
                    // An operation of the load that was given up waiting for.
                    continue;
                }
                over += 1;
                answered_at = self.system.now();
                if let Err(lost) = &finished.result {
                    self.last_error = Some(lost.clone());
                }
                ended(self, (finished.tag & !CHORE) as usize, finished.result);
            }
            if self.system.now() >= answered_at + DRAIN {
                let trouble = self.system.troubles().last.take().unwrap_or_else(|| "none was lost".into());
                return Err(RunError::Prepare(format!("no answer for 30 s; last trouble of a connection: {trouble}")));
            }
            self.tell(phase, over as f64 / count as f64);
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), RunError> {
        let until = self.system.now() + Duration::from_secs(2);
        self.system.close();
        while (0..self.system.clients()).any(|client| !self.system.is_over(client)) && self.system.now() < until {
            self.turn(until)?;
        }
        self.finished.clear();
        Ok(())
    }
}

/// What is there already is as good as made.
fn done(result: Result<Told, Lost>) -> Result<(), String> {
    match result {
        Ok(Told::Refused(why)) => Err(why),
        Ok(Told::Missing) => Err("a key that was just there is missing".into()),
        Ok(_) => Ok(()),
        Err(lost) => Err(lost.to_string()),
    }
}
