//! What sessions cost that do nothing: all opened at once, and then held.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::cost::{Cost, Meter};
use super::course::seconds;
use super::fleet::{Fleet, WAVE};
use super::run::{Progress, RunError, Watch};
use super::system::System;
use super::tally::{Latencies, empty, rounded};
use crate::time::{Duration, Instant};

/// What a storm of sessions came to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SessionReport {
    /// How many were asked for, as fast as they open.
    pub sessions: usize,
    /// So many of them at most are on the way at one time: the others begin when one of these is there.
    #[serde(default)]
    pub wave: usize,
    /// How many came about.
    pub opened: usize,
    /// How many did not, and were told why.
    #[serde(default)]
    pub refused: usize,
    /// What the first of those was told.
    #[serde(default)]
    pub refusal: Option<String>,
    /// From that moment until each was there.
    pub until_open: Option<Latencies>,
    /// Until the last one was.
    pub all_open_s: f64,
    /// Connections made again while they were opened or held.
    pub reconnects: u64,
    /// What the resident memory of each server grew by, for each of them.
    #[serde(default)]
    pub resident_bytes_each: Vec<f64>,
    /// Sessions lost while they were held.
    pub lost: usize,
    /// How long they were held.
    pub idle_s: f64,
    /// CPU seconds of all servers for each second and 10,000 idle sessions.
    pub idle_cpu_s_per_s_10k: f64,
    /// What the storm took.
    pub opening: Cost,
    /// What holding them took.
    pub idle: Cost,
    /// Whether the generator worked or waited for a core nearly all the time while they opened: then the time until they
    /// were open is its own.
    #[serde(default)]
    pub generator_bound: bool,
    /// Whether it was cut short.
    pub interrupted: bool,
    /// The first thing that went wrong.
    pub trouble: Option<String>,
}

/// Opens all sessions of a fleet that has just been made, holds them for `idle`, and ends them.
pub fn storm(
    fleet: &mut Fleet,
    pids: &[u32],
    patience: Duration,
    idle: Duration,
    watch: &mut Watch<'_>,
) -> Result<SessionReport, RunError> {
    let sessions = fleet.clients();
    let began = fleet.now();
    let meter = Meter::start(pids);
    let before = meter.read();
    let is_settled = |fleet: &Fleet, client| fleet.opened(client).is_some() || fleet.is_over(client);
    hold(fleet, "opening", began + patience, watch, |fleet| (0..sessions).all(|client| is_settled(fleet, client)))?;
    let (opening, opening_s) = (meter.read(), seconds(fleet.now().since(began)));
    let mut times: Histogram<u64> = empty();
    let mut last = began;
    for at in (0..sessions).filter_map(|client| fleet.opened(client)) {
        times.saturating_record(at.since(began).as_nanos());
        last = last.max(at);
    }
    let opened = times.len() as usize;
    let mut refusals = (0..sessions).filter(|client| fleet.opened(*client).is_none()).filter_map(|c| fleet.ending(c));
    let refusal = refusals.next().map(|error| error.to_string());
    let refused = usize::from(refusal.is_some()) + refusals.count();
    let idle_from = fleet.now();
    let meter = Meter::start(pids);
    hold(fleet, "idle", idle_from + idle, watch, |_| false)?;
    let idle_s = seconds(fleet.now().since(idle_from));
    let idle_cost = meter.read();
    let lost = (0..sessions).filter(|client| fleet.opened(*client).is_some() && fleet.is_over(*client)).count();
    fleet.close();
    let until = fleet.now() + Duration::from_secs(10);
    hold(fleet, "closing", until, watch, |fleet| (0..sessions).all(|client| fleet.is_over(client)))?;
    let grown = idle_cost.servers_rss_mib.iter().zip(&before.servers_rss_mib);
    let each = grown.map(|(after, before)| rounded((after - before) * f64::from(1 << 20) / opened.max(1) as f64));
    let resident_bytes_each = each.collect();
    let cpu: f64 = idle_cost.servers_cpu_s.iter().sum();
    Ok(SessionReport {
        sessions,
        wave: sessions.min(WAVE),
        opened,
        refused,
        refusal,
        resident_bytes_each,
        until_open: Latencies::of(&times, seconds(last.since(began)).max(1e-9)),
        all_open_s: rounded(seconds(last.since(began))),
        reconnects: fleet.troubles().reconnects,
        lost,
        idle_s: rounded(idle_s),
        idle_cpu_s_per_s_10k: (cpu / idle_s.max(1e-9) / opened.max(1) as f64 * 1e4 * 1e5).round() / 1e5,
        generator_bound: opening.is_the_generators(opening_s),
        opening,
        idle: idle_cost,
        interrupted: watch.stop.load(std::sync::atomic::Ordering::Relaxed),
        trouble: fleet.troubles().last.clone(),
    })
}

/// Turns the fleet until then, until `enough`, or until it is told to stop.
pub(super) fn hold(
    fleet: &mut Fleet,
    phase: &'static str,
    until: Instant,
    watch: &mut Watch<'_>,
    enough: impl Fn(&Fleet) -> bool,
) -> Result<(), RunError> {
    let from = fleet.now();
    let mut look_at = from;
    while fleet.now() < until && !watch.stop.load(std::sync::atomic::Ordering::Relaxed) {
        fleet.listen(until.since(fleet.now()), &mut |_| ())?;
        // Counting thousands of clients every turn would be the load.
        if fleet.now() >= look_at {
            look_at = fleet.now() + Duration::from_millis(20);
            let share = seconds(fleet.now().since(from)) / seconds(until.since(from)).max(1e-9);
            (watch.progress)(&Progress { phase, share, operations: 0 });
            if enough(fleet) {
                break;
            }
        }
    }
    Ok(())
}
