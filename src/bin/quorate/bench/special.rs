//! Sessions, locks and watches: loads that are not of reads and overwrites, and of Quorate alone.

use std::time::Duration;

use quorate::bench::{self, Course, Dying, Fleet, RunError, Watch, Watched};
use quorate::server::{Code, Failure};

use super::crowd::Processes;
use super::load::{Freshness, Load, Servers, Shape};
use super::{FILES_OF_ITS_OWN, Session, allow_files, files_allowed, run_failed};

impl Session {
    pub fn storm(&mut self, load: &Load, sessions: u32) -> Result<(), Failure> {
        self.each_cell(load, |session, servers| {
            let mut fleet = fleet_of(load, servers, sessions as usize, 1)?;
            let patience = load.target.timeout.max(Duration::from_secs_f64(load.warmup)).into();
            let idle = Duration::from_secs_f64(load.seconds).into();
            let report = session.watched(&format!("{sessions} sessions"), |watch| {
                bench::storm(&mut fleet, &servers.pids, patience, idle, watch)
            });
            session.results.sessions.push(report.map_err(run_failed)?);
            Ok(true)
        })
    }

    /// Sessions of processes that are killed, beside writes.
    pub fn dying(&mut self, load: &Load, sessions: u32) -> Result<(), Failure> {
        self.each_cell(load, |session, servers| {
            let most_each = files_allowed(u64::from(sessions) + FILES_OF_ITS_OWN).saturating_sub(FILES_OF_ITS_OWN);
            let settings = load.settings(servers, 1)?;
            let timeout_s = settings.session_timeout.as_millis() / 1000;
            let patience_s = load.target.timeout.as_secs().max(1);
            let held_s = patience_s + (load.warmup + load.seconds) as u64 + 2 * timeout_s + 60;
            let most_each = u32::try_from(most_each).unwrap_or(u32::MAX);
            let mut crowd = Processes::new(&servers.endpoints, sessions, most_each, (patience_s, held_s));
            let dying = Dying {
                sessions: sessions as usize,
                timeout: settings.session_timeout,
                patience: Duration::from_secs(patience_s).into(),
                endpoint: settings.endpoints[0].clone(),
            };
            let shape = load.one_shape()[0];
            let plan = load.plan(servers, Freshness::Linearizable, &shape, "dying", 0)?;
            let mut system = load.system(servers, Freshness::Linearizable, &shape)?;
            let name = format!("{sessions} sessions die");
            let (bar, stop) = (session.bar.clone(), std::sync::Arc::clone(&session.stop));
            let mut progress = |progress: &bench::Progress| {
                bar.set_position((progress.share * 1000.0) as u64);
                bar.set_message(format!("{name}: {}, {} done", progress.phase, progress.operations));
            };
            let mut watch = Watch { stop: &stop, progress: &mut progress };
            let report = bench::dying(&plan, &dying, &mut crowd, &mut *system, &mut watch);
            session.results.dyings.push(report.map_err(run_failed)?);
            Ok(true)
        })
    }

    pub fn locks(&mut self, load: &Load, contenders: &[u32]) -> Result<(), Failure> {
        self.each_cell(load, |session, servers| {
            for count in contenders {
                let contend = *count > 0;
                let (connections, depth) =
                    if contend { (*count as usize, 1) } else { (load.connections as usize, load.depth as usize) };
                let course = course_of(load, servers, (connections, depth), &format!("locks-{count}"))?;
                let mut fleet = fleet_of(load, servers, connections, depth)?;
                let name = if contend { format!("one lock, {count} contend") } else { "locks of their own".into() };
                match session.watched(&name, |watch| bench::locks(&mut fleet, &course, contend, depth, watch)) {
                    Ok(report) => session.results.locks.push(report),
                    Err(RunError::Interrupted) if !session.results.locks.is_empty() => return Ok(false),
                    Err(error) => return Err(run_failed(error)),
                }
                if session.results.locks.last().is_some_and(|report| report.measured.interrupted) {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    pub fn watches(&mut self, load: &Load, watchers: &[u32], watched: Watched) -> Result<(), Failure> {
        self.each_cell(load, |session, servers| {
            for count in watchers {
                let clients = *count as usize + 1;
                let course = course_of(load, servers, (clients, 1), &format!("watched-by-{count}"))?;
                let mut fleet = fleet_of(load, servers, clients, 1)?;
                let name = format!("{count} watchers");
                match session.watched(&name, |watch| bench::fan_out(&mut fleet, &course, watched, watch)) {
                    Ok(report) => session.results.watches.push(report),
                    Err(RunError::Interrupted) if !session.results.watches.is_empty() => return Ok(false),
                    Err(error) => return Err(run_failed(error)),
                }
                if session.results.watches.last().is_some_and(|report| report.measured.interrupted) {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    /// Measures every cell there is, while there is time for the next.
    fn each_cell(
        &mut self,
        load: &Load,
        mut measure: impl FnMut(&mut Self, &Servers) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        if !load.is_quorate() {
            let what = "only sessions, locks and watches of Quorate are measured";
            return Err(Failure::new(Code::Usage, what).fix("leave --system out"));
        }
        if load.rate.is_some() {
            let what = "sessions, locks and watches are measured in a closed loop";
            return Err(Failure::new(Code::Usage, what).fix("leave --rate out"));
        }
        for count in load.replicas.as_ref().map_or(vec![None], |counts| counts.iter().copied().map(Some).collect()) {
            let servers = self.servers(load, count)?;
            if !measure(self, &servers)? {
                break;
            }
        }
        Ok(())
    }

    /// Runs something that can be stopped, and tells how far it is.
    fn watched<T>(&self, name: &str, run: impl FnOnce(&mut Watch<'_>) -> T) -> T {
        let mut progress = |progress: &bench::Progress| {
            self.bar.set_position((progress.share * 1000.0) as u64);
            self.bar.set_message(format!("{name}: {}, {} done", progress.phase, progress.operations));
        };
        run(&mut Watch { stop: &self.stop, progress: &mut progress })
    }
}

/// Clients of that cell. Each is an open file.
fn fleet_of(load: &Load, servers: &Servers, clients: usize, depth: usize) -> Result<Fleet, Failure> {
    allow_files(clients as u64 + FILES_OF_ITS_OWN)?;

    let settings = load.settings(servers, depth)?;
    Fleet::new(clients, &settings, Freshness::Linearizable.asked()).map_err(|error| run_failed(error.into()))
}

/// What the options mean for such a load, in a folder of its own.
fn course_of(
    load: &Load,
    servers: &Servers,
    (connections, depth): (usize, usize),
    folder: &str,
) -> Result<Course, Failure> {
    let shape = Shape { connections, depth, value_bytes: load.value_bytes, rate: None };
    let plan = load.plan(servers, Freshness::Linearizable, &shape, folder, 0)?;
    Ok(Course {
        prefix: format!("{}/{folder}", plan.prefix),
        opening: load.target.timeout.into(),
        warmup: plan.warmup,
        measure: plan.measure,
        repeats: plan.repeats,
        pids: plan.pids,
        keep: plan.keep,
    })
}
