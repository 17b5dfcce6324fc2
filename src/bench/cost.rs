//! What processes cost: CPU seconds, resident memory and bytes written, from `/proc`.

use std::fs;

use serde::{Deserialize, Serialize};

use super::tally::rounded;

/// Clock ticks a second in `/proc`: the kernel's USER_HZ, 100 on every architecture Quorate runs on.
const TICKS_A_SECOND: f64 = 100.0;

/// Watches processes from [`Meter::start`] to [`Meter::read`].
pub struct Meter {
    pids: Vec<u32>,
    start: Vec<Usage>,
    client_start: f64,
    waited_start: f64,
    machine_start: Machine,
}

/// What they cost in between. Machine busy less servers and client is what the kernel and other programs took: a run
/// with much of that is suspect, and so is one on a virtual machine of which much was stolen.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Cost {
    /// CPU seconds of each process named.
    pub servers_cpu_s: Vec<f64>,
    /// Resident memory of each at the end.
    pub servers_rss_mib: Vec<f64>,
    /// What each wrote to disk.
    pub servers_written_mib: Vec<f64>,
    /// CPU seconds of the load generator.
    pub client_cpu_s: f64,
    /// How long it could have run and waited for a core: on a host it shares with the servers.
    pub client_waited_s: f64,
    /// CPU seconds of everything on the machine.
    pub machine_busy_s: f64,
    /// What was left.
    pub machine_idle_s: f64,
    /// What others on the hardware under a virtual machine took of it.
    #[serde(default)]
    pub machine_stolen_s: f64,
}

/// A generator busy for more than this share of the time measures itself.
const BUSY_SHARE: f64 = 0.9;

/// CPU seconds of the whole machine.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
struct Machine {
    busy_s: f64,
    idle_s: f64,
    stolen_s: f64,
}

#[derive(Clone, Copy, Default)]
struct Usage {
    cpu_s: f64,
    rss_mib: f64,
    written_mib: f64,
}

impl Meter {
    /// Begins to watch; a process that does not exist costs nothing.
    #[must_use]
    pub fn start(pids: &[u32]) -> Self {
        let start = pids.iter().map(|pid| usage(*pid)).collect();
        let (client_start, waited_start) = (own_cpu_s(), own_waiting_s());
        Self { pids: pids.to_vec(), start, client_start, waited_start, machine_start: Machine::of(&stat()) }
    }

    /// The cost so far.
    #[must_use]
    pub fn read(&self) -> Cost {
        let now: Vec<Usage> = self.pids.iter().map(|pid| usage(*pid)).collect();
        let since_start = |of: fn(&Usage) -> f64| {
            now.iter().zip(&self.start).map(|(now, start)| rounded((of(now) - of(start)).max(0.0))).collect::<Vec<_>>()
        };
        let (then, machine) = (&self.machine_start, Machine::of(&stat()));
        Cost {
            servers_cpu_s: since_start(|usage| usage.cpu_s),
            servers_rss_mib: now.iter().map(|usage| rounded(usage.rss_mib)).collect(),
            servers_written_mib: since_start(|usage| usage.written_mib),
            client_cpu_s: rounded(own_cpu_s() - self.client_start),
            client_waited_s: rounded(own_waiting_s() - self.waited_start),
            machine_busy_s: rounded(machine.busy_s - then.busy_s),
            machine_idle_s: rounded(machine.idle_s - then.idle_s),
            machine_stolen_s: rounded(machine.stolen_s - then.stolen_s),
        }
    }
}

impl Cost {
    /// Resident memory of all servers; zero where they are not known.
    #[must_use]
    pub fn rss_mib(&self) -> f64 {
        self.servers_rss_mib.iter().fold(0.0, |sum, rss| sum + rss)
    }

    /// Whether the generator worked, or waited for a core to work on, nearly all of that time: then what was measured is
    /// the generator. What it asks late for want of a core the servers cannot answer.
    #[must_use]
    pub fn is_the_generators(&self, wall_s: f64) -> bool {
        self.client_cpu_s + self.client_waited_s > BUSY_SHARE * wall_s
    }

    /// Another window of the same servers: costs add up, memory is the latest.
    pub fn add(&mut self, other: &Self) {
        for (mine, other) in [
            (&mut self.servers_cpu_s, &other.servers_cpu_s),
            (&mut self.servers_written_mib, &other.servers_written_mib),
        ] {
            mine.resize(mine.len().max(other.len()), 0.0);
            mine.iter_mut().zip(other).for_each(|(mine, other)| *mine = rounded(*mine + other));
        }
        self.servers_rss_mib.clone_from(&other.servers_rss_mib);
        self.client_cpu_s = rounded(self.client_cpu_s + other.client_cpu_s);
        self.client_waited_s = rounded(self.client_waited_s + other.client_waited_s);
        self.machine_busy_s = rounded(self.machine_busy_s + other.machine_busy_s);
        self.machine_idle_s = rounded(self.machine_idle_s + other.machine_idle_s);
        self.machine_stolen_s = rounded(self.machine_stolen_s + other.machine_stolen_s);
    }
}

fn own_cpu_s() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Time this thread was ready and had no core. Needs the kernel's scheduling statistics; without them it is zero.
fn own_waiting_s() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    number(text.split_whitespace().nth(1)) / 1e9
}

fn usage(pid: u32) -> Usage {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    // The name may hold spaces: count from its closing parenthesis.
    let stat = read("stat");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| number(fields.get(index).copied());
    Usage {
        cpu_s: (ticks(11) + ticks(12)) / TICKS_A_SECOND,
        rss_mib: labelled(&read("status"), "VmRSS:") / 1024.0,
        written_mib: labelled(&read("io"), "write_bytes:") / f64::from(1 << 20),
    }
}

fn stat() -> String {
    fs::read_to_string("/proc/stat").unwrap_or_default()
}

impl Machine {
    /// The first line of `/proc/stat`: user, nice, system, idle, waiting for a disk, interrupts of both kinds, stolen.
    fn of(stat: &str) -> Self {
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<f64> = line.split_whitespace().skip(1).map(|field| number(Some(field))).collect();
        let seconds =
            |indices: &[usize]| indices.iter().filter_map(|index| ticks.get(*index)).sum::<f64>() / TICKS_A_SECOND;
        Self { busy_s: seconds(&[0, 1, 2, 5, 6]), idle_s: seconds(&[3, 4]), stolen_s: seconds(&[7]) }
    }
}

fn labelled(text: &str, label: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    number(line.and_then(|line| line.split_whitespace().next()))
}

fn number(text: Option<&str>) -> f64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_size_and_costs_what_it_burns() {
        let meter = Meter::start(&[std::process::id()]);
        let mut burnt = 0_u64;
        while own_cpu_s() - meter.client_start < 0.05 {
            burnt = std::hint::black_box(burnt.wrapping_add(1));
        }
        let cost = meter.read();
        assert!(cost.client_cpu_s >= 0.05 && cost.servers_rss_mib[0] > 1.0, "{cost:?}");
        assert!(cost.servers_cpu_s[0] >= 0.03, "two clocks tell the same: {cost:?}");
    }
    #[test]
    fn a_generator_that_waits_for_a_core_is_as_busy_as_one_that_works() {
        let of = |client_cpu_s, client_waited_s| Cost { client_cpu_s, client_waited_s, ..Cost::default() };
        assert!(!of(6.0, 1.0).is_the_generators(10.0));
        assert!(of(9.5, 0.0).is_the_generators(10.0) && of(6.0, 3.5).is_the_generators(10.0));
    }

    #[test]
    fn what_a_machine_is_robbed_of_is_neither_busy_nor_idle() {
        let machine = Machine::of("cpu  100 20 300 4000 500 6 70 800 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n");
        assert_eq!(machine, Machine { busy_s: 4.96, idle_s: 45.0, stolen_s: 8.0 });
    }
}
