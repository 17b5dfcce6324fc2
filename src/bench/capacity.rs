//! What a cell of three hosts may be expected to do with many cores: formulas, their parameters, and what they come to.
//!
//! Nobody here has measured 16 or 64 cores. What two cores measured is put into formulas, what they do not tell is
//! assumed and called so, and `quorate bench capacity` computes the table anew from the parameters of another host.
//!
//! # What it comes to
//!
//! Three hosts of their own, all clients at the leader, 1 KiB values, 1,024 outstanding; thousands a second, to two digits:
//!
//! ```text
//! cores | writes:   fronts  replica    round   device  network  at most | reads:   fronts  network  at most
//!     2 |              510      480      490     2500     1300      480 |             590     2800      590
//!    16 |             2800      470      480     2500     1300      470 |            8800     2800     2800
//!    64 |             3600      430      460     2500     1300      430 |           37000     2800     2800
//! ```
//!
//! So more cores make reads faster, until the network is full; writes are one core's work, the leader's replica core, and
//! more fronts take a little from it. Whoever needs more writes than that needs a second cell.
//!
//! # The formulas
//!
//! With `n` outstanding, an entry carries `b = n / 2` writes (two are in flight), at least one and at most
//! [`BATCH_BYTES_TARGET`]. A write takes `s` bytes on disk and wire: its value and 100. `f` cores of `f + 1` are fronts.
//!
//! ```text
//! CPU of a write, all servers    write + entry / b
//! at the leader's replica core   core = share * (write - front) + (share * entry + f * notice) / b
//! at a follower                  follower = (1 - share) / 2 * (write - front + entry / b)
//! one durable write              flush + b * s / disk
//!
//! writes/s   fronts         1 / (front / f + mirror)            each change goes into every front's copy of the tree
//!            replica        1 / core
//!            round          min(n, 2 b) / (2 round trips + 2 hops + durable write + b * (core + follower))
//!            device         the lesser of 2 b / durable write and disk / s
//!            network        network / (2 s + 100)               the leader sends each write to two others
//! reads/s    fronts         f / front
//!            network        network / s
//! ```
//!
//! A host of one core has no hops, copies and notices; its core does `front + core` a write. The least is what is
//! expected. Each limit counts as if nothing else took time, so that what is measured lies below.
//!
//! # The parameters
//!
//! | parameter | value | |
//! |---|---|---|
//! | write, entry | 5.2 us, 295 us | measured: fitted to the CPU of README's first table, below (`scripts/compare-peers`) |
//! | front | 1.7 us | measured, in part: a read took 2 cores / 609,493 a second = 3.3 us there, the generator's work included; the servers' was half of it when README's second table was taken, 0.32 s of CPU for 100,000 reads at 318,742 a second (`CPU s/100k` of `scripts/compare-peers`). Answers of 1 KiB, 16 in a connection's turn |
//! | share | 0.5 | assumed of the whole, measured of the bare pipeline: its followers together take as much CPU as its leader (`cargo bench --bench bare_pipeline`) |
//! | flush, disk | 110 us, 2.86 GB/s | measured on README's disk: durable writes of 64 KiB, 256 KiB and 1 MiB at 0.5, 1.4 and 2.2 GB/s, one at a time (`quorate iotest` measures such, up to 256 KiB) |
//! | hop | 30 us | measured: 20 to 40 us to wake a loop that sleeps (`tuning/README.md`); `[server] spin` takes most of it away |
//! | mirror | 0.25 us | assumed: as one update of a hash map of a million keys |
//! | notice | 2 us | assumed: one item into a front's ring, and the front, asleep, woken |
//! | round trip | 50 us | assumed: one switch |
//! | network | 25 Gbit/s | assumed |
//!
//! CPU of a write, in microseconds of all three servers, when it was fitted:
//!
//! ```text
//! outstanding      1     16     64    256   1024
//! measured       300     45     14    7.5    5.8
//! model        300.2   42.1   14.4    7.5    5.8
//! ```
//!
//! # How far it is off where it can be held against a measurement
//!
//! On README's host three servers and the generator share two cores, so that at 1,024 outstanding at most `2 / (5.8 + 1.6)`,
//! 270,000 writes a second, are possible: 202,624 were measured. At 64 outstanding it is 71,796 of 125,000: loops wait for
//! the disk and for each other, which the formula of the round has, and for a core, which no formula here has.
//!
//! # Where it breaks
//!
//! 1. *Requests one at a time.* `front` is of connections that ask for 16 things a turn. One request a turn costs a system
//!    call, a wake-up and a packet of its own, several times as much.
//! 2. *Interrupts.* On loopback the network's work is in the CPU of whoever sends. A card's interrupts take cores which
//!    are not the replica's only if the host is set up so (`quorate tune`).
//! 3. *Memory.* 64 cores are two sockets or more: a front far from the replica's memory reads slower, and so many copies
//!    of the index leave less cache for each. Nothing of that is in `front` and `mirror`.
//! 4. *Wake-ups of fronts.* Each entry wakes every front, also those whose clients asked for nothing; what that costs the
//!    front is not counted, only what it costs the replica.
//! 5. *Followers.* Reads of clients at followers come on top; they need a read point of the leader, one question a turn. Writes
//!    forwarded by followers pass the network once more.
//! 6. *Another disk, other sizes.* `flush` and `disk` are the first to measure anew. Values far from 1 KiB change `write`
//!    and `front`, which hold the copying and the checksums of 1 KiB.

use crate::limits::BATCH_BYTES_TARGET;

/// Bytes that a write or an answer has beside the value: path, heads, frame.
const OVERHEAD_BYTES: f64 = 100.0;

/// The parameters; times in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Operations outstanding, of all clients.
    pub outstanding: f64,
    /// Bytes of a value.
    pub value_bytes: f64,
    /// CPU that each write takes of the three servers.
    pub write_us: f64,
    /// CPU that each entry takes of them, however many writes it carries.
    pub entry_us: f64,
    /// The leader's part in both, the fronts' work aside.
    pub leader_share: f64,
    /// CPU of a front for one request and its answer.
    pub front_us: f64,
    /// CPU of each front for a change that any client made.
    pub mirror_us: f64,
    /// CPU of the replica's core to tell one front of an entry.
    pub notice_us: f64,
    /// From one core to another that sleeps.
    pub hop_us: f64,
    /// A durable write of hardly any bytes.
    pub flush_us: f64,
    /// What larger ones get through, in 10^9 bytes a second.
    pub disk_gb_per_s: f64,
    /// Between two hosts, there and back.
    pub round_trip_us: f64,
    /// Of the leader's network, each way, in 10^9 bits a second.
    pub network_gbit_per_s: f64,
}

/// What a part of the cell allows: its name, operations a second.
pub type Limit = (&'static str, f64);

impl Capacity {
    /// The host of README's figures where they tell, and what is assumed.
    pub const ASSUMED: Self = Self {
        outstanding: 1024.0,
        value_bytes: 1024.0,
        write_us: 5.2,
        entry_us: 295.0,
        leader_share: 0.5,
        front_us: 1.7,
        mirror_us: 0.25,
        notice_us: 2.0,
        hop_us: 30.0,
        flush_us: 110.0,
        disk_gb_per_s: 2.86,
        round_trip_us: 50.0,
        network_gbit_per_s: 25.0,
    };

    /// Writes of one entry.
    #[must_use]
    pub fn batch(&self) -> f64 {
        let largest = (BATCH_BYTES_TARGET as f64 / self.bytes()).max(1.0);
        (self.outstanding / 2.0).clamp(1.0, largest)
    }

    /// CPU of one write, of all three servers.
    #[must_use]
    pub fn servers_us(&self) -> f64 {
        self.write_us + self.entry_us / self.batch()
    }

    /// What each part allows of writes, a second, with so many cores a host.
    #[must_use]
    pub fn writes(&self, cores: u32) -> [Limit; 5] {
        let (batch, fronts) = (self.batch(), fronts(cores));
        let core_us = self.leader_us() + fronts * self.notice_us / batch;
        let (front_us, loop_us, hops_us) = if fronts > 0.0 {
            (self.front_us / fronts + self.mirror_us, core_us, 2.0 * self.hop_us)
        } else {
            (self.front_us + core_us, self.front_us + core_us, 0.0)
        };
        let durable_us = self.flush_us + batch * self.bytes() / self.disk();
        let cpu_us = batch * (loop_us + self.follower_us());
        let round_us = 2.0 * self.round_trip_us + hops_us + durable_us + cpu_us;
        [
            ("fronts", 1e6 / front_us),
            ("replica", 1e6 / loop_us),
            ("round", 1e6 * self.outstanding.min(2.0 * batch) / round_us),
            ("device", 1e6 * (2.0 * batch / durable_us).min(self.disk() / self.bytes())),
            ("network", 1e6 * self.network() / (2.0 * self.bytes() + OVERHEAD_BYTES)),
        ]
    }

    /// What each part allows of linearizable reads at the leader, a second, with so many cores a host.
    #[must_use]
    pub fn reads(&self, cores: u32) -> [Limit; 2] {
        [("fronts", 1e6 * fronts(cores).max(1.0) / self.front_us), ("network", 1e6 * self.network() / self.bytes())]
    }

    /// The limits of hosts of so many cores as a table, in thousands a second.
    #[must_use]
    pub fn table(&self, cores: &[u32]) -> String {
        let names = |limits: &[Limit]| limits.iter().map(|(name, _)| format!(" {name:>8}")).collect::<String>();
        let values = |limits: &[Limit]| {
            let value = |(_, per_s): &Limit| format!(" {:>8}", two_digits(per_s / 1e3));
            limits.iter().copied().chain([bound_by(limits)]).map(|limit| value(&limit)).collect::<String>()
        };
        let mut text = format!("cores | writes:{}  at most", names(&self.writes(1)));
        text += &format!(" | reads:{}  at most", names(&self.reads(1)));
        for cores in cores {
            let (writes, reads) = (self.writes(*cores), self.reads(*cores));
            text += &format!("\n{cores:>5} |        {} |       {}", values(&writes), values(&reads));
        }
        text
    }

    /// CPU of the leader's replica core for one write.
    fn leader_us(&self) -> f64 {
        self.leader_share * self.replicas_us()
    }

    /// CPU of each of the two followers for one write.
    fn follower_us(&self) -> f64 {
        (1.0 - self.leader_share) / 2.0 * self.replicas_us()
    }

    /// CPU of all three replicas for one write: what is not its front's.
    fn replicas_us(&self) -> f64 {
        (self.servers_us() - self.front_us).max(0.0)
    }

    fn bytes(&self) -> f64 {
        self.value_bytes + OVERHEAD_BYTES
    }

    /// Bytes a microsecond.
    fn disk(&self) -> f64 {
        self.disk_gb_per_s * 1e3
    }

    /// Bytes a microsecond.
    fn network(&self) -> f64 {
        self.network_gbit_per_s * 125.0
    }
}

/// The limit that is reached first.
#[must_use]
pub fn bound_by(limits: &[Limit]) -> Limit {
    limits.iter().copied().fold(("nothing", f64::INFINITY), |bound, of| if of.1 < bound.1 { of } else { bound })
}

/// The first core is the replica's; a lone one does everything.
fn fronts(cores: u32) -> f64 {
    f64::from(cores.saturating_sub(1))
}

/// More digits would claim a precision that nothing here has.
fn two_digits(value: f64) -> String {
    let unit = 10_f64.powf(value.abs().log10().floor() - 1.0);
    if unit >= 1.0 { format!("{:.0}", (value / unit).round() * unit) } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This file: what its first page says.
    const PAGE: &str = include_str!("capacity.rs");

    /// The CPU of README's first table when the model was fitted to it: outstanding, microseconds a write.
    const MEASURED: [(f64, f64); 5] = [(1.0, 300.0), (16.0, 45.0), (64.0, 14.0), (256.0, 7.5), (1024.0, 5.8)];

    fn said(line: &str) -> bool {
        PAGE.lines().filter_map(|of| of.strip_prefix("//! ")).any(|of| of == line)
    }

    #[test]
    fn the_page_shows_what_the_formulas_give() {
        let table = Capacity::ASSUMED.table(&[2, 16, 64]);
        assert!(table.lines().all(said), "the page has to say\n{table}");
    }

    #[test]
    fn the_page_shows_how_well_the_model_fits() {
        let modelled = |outstanding| Capacity { outstanding, ..Capacity::ASSUMED }.servers_us();
        let row = |name: &str, of: &dyn Fn((f64, f64)) -> f64| {
            let cells: String = MEASURED.iter().map(|at| format!(" {:>6}", of(*at))).collect();
            format!("{name:<11}{cells}")
        };
        let rounded = |value: f64| (value * 10.0).round() / 10.0;
        let rows =
            [row("outstanding", &|at| at.0), row("measured", &|at| at.1), row("model", &|at| rounded(modelled(at.0)))];
        assert!(rows.iter().all(|row| said(row)), "the page has to say\n{}", rows.join("\n"));
        for (outstanding, measured) in MEASURED {
            let ratio = modelled(outstanding) / measured;
            assert!((0.9..1.1).contains(&ratio), "{ratio:.2} times what {outstanding} outstanding took");
        }
    }

    #[test]
    fn each_limit_moves_with_what_it_is_made_of() {
        let assumed = Capacity::ASSUMED;
        let of = |model: Capacity, cores, name| {
            let limits = model.writes(cores);
            limits.iter().find(|limit| limit.0 == name).expect("there is such a limit").1
        };
        assert!(of(assumed, 64, "fronts") > of(assumed, 16, "fronts"));
        assert!(of(assumed, 64, "replica") < of(assumed, 16, "replica"), "each front has to be told");
        let slow_disk = Capacity { flush_us: 10_000.0, ..assumed };
        assert!(of(slow_disk, 16, "round") < of(assumed, 16, "round") / 4.0);
        assert_eq!(bound_by(&slow_disk.writes(16)).0, "round");
        let thin = Capacity { network_gbit_per_s: 1.0, ..assumed };
        assert_eq!((bound_by(&thin.writes(16)).0, bound_by(&thin.reads(2)).0), ("network", "network"));
        let alone = Capacity { outstanding: 1.0, ..assumed };
        assert!((alone.batch() - 1.0).abs() < 1e-9 && bound_by(&alone.writes(2)).0 == "round");
        let large = Capacity { value_bytes: 1e6, ..assumed };
        assert!((large.batch() - 1.0).abs() < 1e-9, "a value larger than a batch is one");
        assert!(of(assumed, 1, "replica") < of(assumed, 2, "replica"), "a lone core serves clients too");
    }
}
