//! A folder of results: all that was measured, and all that is needed to measure it again.
//!
//! ```text
//! result.json     every point, its repeats and histograms; the command, the host, the configuration
//! points.csv      the figures of every point, one a line; if there are any, the same of locks.csv, watches.csv,
//!                 failovers.csv, dyings.csv
//! NN.hdr          histogram log of the point with that number in points.csv
//! NAME.svg        plots
//! report.html     all of it on one page that needs no other file
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::course::{Measured, Named};
use super::dying::DyingReport;
use super::failover::FailoverReport;
use super::fan_out::FanOutReport;
use super::host::Host;
use super::lock::LockReport;
use super::report::{Point, Report};
use super::session::SessionReport;
use super::tally::Latencies;

/// The layout of result.json: raised when a reader of the old one would misread it.
pub const SCHEMA: u32 = 1;

/// What one command measured, or several of them together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    pub schema: u32,
    /// As typed; of a merged file, all of them.
    pub commands: Vec<String>,
    /// When the first began, in seconds of the epoch.
    pub started: f64,
    pub program: String,
    pub host: Host,
    /// Whether servers and generator share one host: then no figure says what a cell of three hosts can do.
    pub single_host: bool,
    /// The cell's configuration, where it was given.
    pub config: Option<String>,
    /// Those of this command's own cells, by their number of replicas.
    #[serde(default)]
    pub configs: BTreeMap<u8, String>,
    /// Where what was put together was measured differently.
    #[serde(default)]
    pub mixed: Vec<String>,
    pub seed: u64,
    pub points: Vec<Report>,
    pub failovers: Vec<FailoverReport>,
    pub sessions: Vec<SessionReport>,
    #[serde(default)]
    pub dyings: Vec<DyingReport>,
    #[serde(default)]
    pub locks: Vec<LockReport>,
    #[serde(default)]
    pub watches: Vec<FanOutReport>,
}

/// Why results could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultsError {
    #[error("cannot use {path}: {error}")]
    Io { path: String, error: io::Error },
    #[error("{path} holds no results of `quorate bench`: {error}")]
    Unreadable { path: String, error: serde_json::Error },
    #[error("{path} has layout {found}, this program reads {SCHEMA}; use the program that wrote it")]
    Schema { path: String, found: u32 },
}

impl Results {
    /// Reads a folder of results, or its result.json.
    pub fn read(path: &Path) -> Result<Self, ResultsError> {
        let path = if path.is_dir() { path.join("result.json") } else { path.to_path_buf() };
        let name = path.display().to_string();
        let text = fs::read_to_string(&path).map_err(|error| ResultsError::Io { path: name.clone(), error })?;
        let results: Self =
            serde_json::from_str(&text).map_err(|error| ResultsError::Unreadable { path: name.clone(), error })?;
        if results.schema != SCHEMA {
            return Err(ResultsError::Schema { path: name, found: results.schema });
        }
        Ok(results)
    }

    /// Writes the folder. `logs` are histogram logs, one a point, or none.
    pub fn write(&self, folder: &Path, logs: &[String]) -> Result<(), ResultsError> {
        let json = serde_json::to_string(self).expect("results are numbers, texts and lists");
        let mut files = vec![
            ("result.json".to_owned(), json),
            ("points.csv".to_owned(), self.csv()),
            ("report.html".to_owned(), super::page::page(self)),
        ];
        let of_their_own = [
            ("locks.csv", self.lock_lines()),
            ("watches.csv", self.watch_lines()),
            ("failovers.csv", self.failovers.iter().map(FailoverReport::named).collect()),
            ("dyings.csv", self.dying_lines()),
        ];
        for (name, lines) in of_their_own {
            if !lines.is_empty() {
                files.push((name.to_owned(), csv_of(&lines)));
            }
        }
        files.extend(logs.iter().enumerate().map(|(index, log)| (format!("{:02}.hdr", index + 1), log.clone())));
        files.extend(super::plots::plots(self).into_iter().map(|plot| (format!("{}.svg", plot.name), plot.svg)));
        let failed = |path: &Path, error| ResultsError::Io { path: path.display().to_string(), error };
        fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        for (name, text) in files {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|error| failed(&path, error))?;
        }
        Ok(())
    }

    /// Takes what another command measured in: more repeats of points known here, the other points as they are.
    pub fn merge(&mut self, other: Self) {
        if self.commands.is_empty() {
            *self = other;
            return;
        }
        for difference in self.differences(&other).into_iter().chain(other.mixed.clone()) {
            if !self.mixed.contains(&difference) {
                self.mixed.push(difference);
            }
        }
        self.commands.extend(other.commands);
        self.started = self.started.min(other.started);
        // What was measured on one host says nothing of three, in whatever company it is shown.
        self.single_host |= other.single_host;
        self.config = self.config.take().or(other.config);
        for (replicas, config) in other.configs {
            self.configs.entry(replicas).or_insert(config);
        }
        self.host.disk = self.host.disk.take().or(other.host.disk);
        for report in other.points {
            match self.points.iter_mut().find(|mine| mine.point == report.point) {
                Some(mine) => mine.merge(&report),
                None => self.points.push(report),
            }
        }
        self.failovers.extend(other.failovers);
        self.sessions.extend(other.sessions);
        self.dyings.extend(other.dyings);
        self.locks.extend(other.locks);
        self.watches.extend(other.watches);
    }

    /// In what the two were measured differently, so that a difference of their figures may be of that.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut held = |what: &str, mine: String, others: String| {
            if mine != others {
                found.push(format!("{what}: {mine} and {others}"));
            }
        };
        // Some of what is put together does not say where the servers keep their data.
        let disk =
            |results: &Self| results.host.disk.as_ref().map(|disk| (disk.device.clone(), disk.filesystem.clone()));
        if let (Some(mine), Some(others)) = (disk(self), disk(other)) {
            held("different disks", mine.0 + " " + &mine.1, others.0 + " " + &others.1);
        }
        let host = |results: &Self| {
            let Host { kernel, cpu, cores, governor, memory_mib, .. } = &results.host;
            format!("{cpu}, {cores} cores, {memory_mib} MiB, kernel {kernel}, governor {governor}")
        };
        held("different hosts", host(self), host(other));
        held("different programs", self.program.clone(), other.program.clone());
        let place =
            |results: &Self| if results.single_host { "on one host" } else { "on hosts of their own" }.to_owned();
        held("servers in different places", place(self), place(other));
        found
    }

    /// The points with that shape, one a series at most.
    pub fn at<'a>(&'a self, shape: &'a str) -> impl Iterator<Item = &'a Report> {
        self.points.iter().filter(move |report| report.point.shape() == shape)
    }

    /// Values without repetition, in order of appearance.
    pub fn each<T: PartialEq>(&self, of: impl Fn(&Point) -> T) -> Vec<T> {
        let mut values = Vec::new();
        for value in self.points.iter().map(|report| of(&report.point)) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values
    }

    /// What loads that are not of reads and overwrites have in common, by name.
    pub(super) fn of_their_own(&self) -> Vec<(String, &Measured)> {
        let locks = self.locks.iter().map(|locks| (format!("{} clients with locks", locks.clients), &locks.measured));
        let watches = self.watches.iter().map(|of| (format!("{} watchers", of.watchers), &of.measured));
        locks.chain(watches).collect()
    }

    pub(super) fn lock_lines(&self) -> Vec<Vec<Named>> {
        self.locks.iter().map(LockReport::named).collect()
    }

    pub(super) fn dying_lines(&self) -> Vec<Vec<Named>> {
        self.dyings.iter().map(DyingReport::named).collect()
    }

    pub(super) fn watch_lines(&self) -> Vec<Vec<Named>> {
        self.watches.iter().map(FanOutReport::named).collect()
    }

    fn csv(&self) -> String {
        let mut text = String::from(
            "number,workload,system,consistency,replicas,connections,depth,rate,read_pct,value_bytes,keys,seconds,\
             ops_per_s,spread_pct,valid,generator_bound,p50_us,p99_us,reads_per_s,reads_p50_us,reads_p99_us,\
             reads_p999_us,writes_per_s,writes_p50_us,writes_p99_us,writes_p999_us,servers_cpu_s_per_100k,\
             servers_rss_mib,errors,wrong_answers,old_answers,first_error,unverified,invalid\n",
        );
        for (index, report) in self.points.iter().enumerate() {
            let point = &report.point;
            let optional = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.2}"));
            let of = |latencies: &Option<Latencies>| {
                let figures =
                    latencies.as_ref().map(|l| format!("{},{},{},{}", l.per_s, l.p50_us, l.p99_us, l.p999_us));
                figures.unwrap_or_else(|| ",,,".into())
            };
            let replicas = point.replicas.map(f64::from);
            text += &format!(
                "{},{},{},{},{},{},{},{},{},{},{},{},",
                index + 1,
                point.workload,
                point.system,
                point.consistency,
                optional(replicas),
                point.connections,
                point.depth,
                optional(point.rate),
                point.read_pct,
                point.value_bytes,
                point.keys,
                report.seconds,
            );
            text += &format!(
                "{},{},{},{},{:.1},{:.1},{},{},{},{:.0},{},{},{},{},{},{}\n",
                report.ops_per_s,
                report.spread_pct,
                report.invalid.is_none(),
                report.generator_bound,
                report.latency_us(0.5),
                report.latency_us(0.99),
                of(&report.reads),
                of(&report.writes),
                optional(report.cpu_per_100k()),
                report.cost.rss_mib(),
                report.errors,
                report.wrong_answers,
                report.old_answers,
                quoted(report.first_error.as_deref().unwrap_or_default()),
                quoted(report.unverified.as_deref().unwrap_or_default()),
                quoted(report.invalid.as_deref().unwrap_or_default()),
            );
        }
        text
    }
}

/// Text as it may stand between commas.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// A header of the names, and a line for each.
fn csv_of(lines: &[Vec<Named>]) -> String {
    let joined = |of: fn(&Named) -> &String, line: &[Named]| {
        line.iter().map(|named| quoted(of(named))).collect::<Vec<_>>().join(",")
    };
    let mut text = lines.first().map_or(String::new(), |line| joined(|(name, _)| name, line)) + "\n";
    lines.iter().for_each(|line| text += &(joined(|(_, figure)| figure, line) + "\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_differently_is_told_where_it_is_put_together() {
        let of = |cpu: &str, program: &str, single_host| Results {
            commands: vec!["quorate bench".into()],
            host: Host { cpu: cpu.into(), ..Host::default() },
            program: program.into(),
            single_host,
            ..Results::default()
        };
        let mut same = of("a", "1", false);
        same.merge(of("a", "1", false));
        assert!(same.mixed.is_empty() && !same.single_host, "{:?}", same.mixed);
        let mut all = of("a", "1", false);
        all.configs.insert(3, "three".into());
        let mut other = of("b", "2", true);
        other.configs.insert(5, "five".into());
        all.merge(other);
        assert_eq!(all.mixed.len(), 3, "hosts, programs, places: {:?}", all.mixed);
        assert!(all.single_host, "what was measured on one host stays so");
        assert_eq!(all.configs.len(), 2, "each number of replicas has its own");
        let page = super::super::page::page(&all);
        assert!(page.contains("different programs: 1 and 2") && page.contains("five"), "{page}");
    }

    #[test]
    fn what_went_wrong_is_in_the_table_and_on_the_page() {
        let unverified = Some("a key could not be looked at: \"gone\", it says".to_owned());
        let first_error = Some("the disk is full".to_owned());
        let report = Report { errors: 7, unverified, first_error, ..Report::default() };
        let failover = FailoverReport {
            recovered: true,
            kill_to_first_new_ack_ms: 1234.5,
            run: report.clone(),
            ..Default::default()
        };
        let dying = DyingReport { died: 40, last_gone_s: Some(12.25), run: report.clone(), ..DyingReport::default() };
        let results =
            Results { points: vec![report], failovers: vec![failover], dyings: vec![dying], ..Results::default() };
        let folder = tempfile::tempdir().expect("a folder");
        results.write(folder.path(), &[]).expect("it can be written");
        let file = |name: &str| fs::read_to_string(folder.path().join(name)).expect("it was written");
        let (points, page) = (file("points.csv"), file("report.html"));
        assert!(points.ends_with(",7,0,0,the disk is full,\"a key could not be looked at: \"\"gone\"\", it says\",\n"));
        let columns = |line: &str| line.split(',').count();
        assert_eq!(
            columns(points.lines().next().unwrap_or_default()) + 1,
            columns(points.lines().last().unwrap_or_default())
        );
        assert!(page.contains("could not be verified") && page.contains("could not be looked at"), "{page}");
        assert!(page.contains("the disk is full") && page.contains("nothing was done"), "{page}");
        assert!(file("failovers.csv").contains("1234.5") && file("dyings.csv").contains("12.25"));
        assert!(page.contains("1234.5") && page.contains("12.25"), "{page}");
    }
}
