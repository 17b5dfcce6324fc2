//! Making a failing run smaller: kinds of faults left out, fewer calls and clients, until nothing more can go.
//!
//! A cut changes a plan after it was drawn, so that what is left of it stays as the seed made it. The run itself is
//! another one then, and need not fail any more; what still fails is kept.

use super::plan::{CLOCK_ERROR_PPM, Plan, Weights};

/// What is left out of a seed's plan.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Cuts {
    /// Ten times as many calls, and ten times as long a storm.
    pub long: bool,
    pub without: Vec<String>,
    pub calls: Option<u64>,
    pub clients: Option<usize>,
}

/// A kind of fault, and how a plan goes without it.
type Fault = (&'static str, fn(&mut Plan));

/// Every kind of fault; one that chance brings is in the table ([`super::coverage::CHANCES`]) under its name in the singular.
pub const FAULTS: [Fault; 49] = [
    ("crash", |plan| plan.weights.crash = 0),
    ("crash-all", |plan| plan.weights.crash_all = 0),
    ("crash-within", |plan| plan.weights.crash_within = 0),
    ("pause", |plan| plan.weights.pause = 0),
    ("isolate", |plan| plan.weights.isolate = 0),
    ("one-way", |plan| plan.weights.one_way = 0),
    ("cut-pair", |plan| plan.weights.cut_pair = 0),
    ("cut-client", |plan| plan.weights.cut_client = 0),
    ("client-dies", |plan| plan.weights.client_dies = 0),
    ("break-link", |plan| plan.weights.break_link = 0),
    ("stall-disk", |plan| plan.weights.stall_disk = 0),
    ("fill-disk", |plan| plan.weights.fill_disk = 0),
    ("hand-over", |plan| plan.weights.hand_over = 0),
    ("hunt", |plan| plan.weights.hunt = 0),
    ("lose-disk", |plan| plan.weights.lose_disk = 0),
    ("remove", |plan| plan.weights.remove = 0),
    ("remove-two", |plan| plan.weights.remove_two = 0),
    ("write-error", |plan| plan.weights.write_error = 0),
    ("away", |plan| plan.weights.away = 0),
    ("loss", |plan| plan.network.loss = 0),
    ("dropped-frames", |plan| plan.network.dropped = 0),
    ("doubled-frames", |plan| plan.network.doubled = 0),
    ("reordered-frames", |plan| plan.network.reordered = 0),
    ("replayed-frames", |plan| plan.network.replayed = 0),
    ("flipped-bits", |plan| plan.network.flipped = 0),
    ("late-pieces", |plan| plan.network.held = 0),
    ("cut-streams", |plan| plan.network.cut = false),
    ("slow-writes", |plan| plan.disk.slow = 0),
    ("torn-starts", |plan| plan.torn_starts = 0),
    ("damaged-images", |plan| plan.damaged_images = 0),
    ("hiccups", |plan| plan.hiccups = 0),
    ("slow-rings", |plan| plan.slow_rings = 0),
    ("damage", |plan| (plan.weights.damage, plan.victim) = (0, None)),
    ("stray-writes", |plan| plan.astray = 0),
    ("misreads", |plan| plan.misreads = 0),
    ("ambush", |plan| plan.ambush = None),
    ("clogs", |plan| plan.clogs = 0),
    ("torn-writes", |plan| (plan.tears, plan.may_tear) = (false, false)),
    ("crowded-links", |plan| plan.crowded = 0),
    ("beyond-repair", |plan| plan.beyond_repair = false),
    ("put-back", |plan| plan.weights.put_back = 0),
    ("jump-wall", |plan| plan.weights.jump_wall = 0),
    ("absent", |plan| plan.absent = 0),
    ("cramped", |plan| plan.cramped = false),
    ("enquirer", |plan| plan.enquire_every = None),
    ("stranger", |plan| plan.stranger_every = None),
    ("succession", |plan| plan.succession = false),
    ("wild-clocks", |plan| (plan.clock_error_ppm, plan.told_error_ppm) = (CLOCK_ERROR_PPM, CLOCK_ERROR_PPM)),
    ("misfortunes", |plan| plan.weights = Weights::default()),
];

impl Cuts {
    /// As the environment asks for.
    pub fn from_environment() -> Self {
        let text = |name: &str| std::env::var(name).ok();
        let without = text("QUORATE_SIM_WITHOUT").unwrap_or_default();
        let without: Vec<String> = without.split(',').filter(|kind| !kind.is_empty()).map(str::to_owned).collect();
        for kind in &without {
            assert!(FAULTS.iter().any(|(name, _)| name == kind), "there is no fault `{kind}`, but {:?}", names());
        }
        let number = |name: &str| text(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")));
        let clients = number("QUORATE_SIM_CLIENTS").map(|clients| clients as usize);
        let long = match text("QUORATE_SIM_SUITE").as_deref() {
            None | Some("short") => false,
            Some("long") => true,
            Some(other) => panic!("the suites are `short` and `long`, not `{other}`"),
        };
        Self { long, without, calls: number("QUORATE_SIM_CALLS"), clients }
    }

    /// Takes from `plan` what is left out.
    pub fn apply(&self, plan: &mut Plan) {
        if self.long {
            (plan.calls, plan.storm) = (plan.calls * 10, plan.storm * 10);
        }
        for (_, remove) in FAULTS.iter().filter(|(name, _)| self.without.iter().any(|kind| kind == name)) {
            remove(plan);
        }
        plan.calls = self.calls.map_or(plan.calls, |calls| calls.min(plan.calls));
        plan.clients = self.clients.map_or(plan.clients, |clients| clients.clamp(1, plan.clients));
    }

    /// What a person types before the test's command.
    pub fn command(&self, seed: u64) -> String {
        let mut words = vec![format!("QUORATE_SIM_SEED={seed}")];
        if self.long {
            words.push("QUORATE_SIM_SUITE=long".to_owned());
        }
        if !self.without.is_empty() {
            words.push(format!("QUORATE_SIM_WITHOUT={}", self.without.join(",")));
        }
        words.extend(self.calls.map(|calls| format!("QUORATE_SIM_CALLS={calls}")));
        words.extend(self.clients.map(|clients| format!("QUORATE_SIM_CLIENTS={clients}")));
        format!("{} cargo test --test sim one_seed -- --nocapture", words.join(" "))
    }

    /// Cuts as much more as can go while `fails` still holds, starting from a plan of `plan`'s sizes.
    pub fn shrink(self, plan: &Plan, mut fails: impl FnMut(&Self) -> bool) -> Self {
        let mut kept = self;
        let mut goes_without = |kept: &mut Self, cut: &dyn Fn(&mut Self)| {
            let mut smaller = kept.clone();
            cut(&mut smaller);
            let better = smaller != *kept && fails(&smaller);
            if better {
                *kept = smaller;
            }
            better
        };
        loop {
            let before = kept.clone();
            for name in names() {
                if !kept.without.iter().any(|kind| kind == name) {
                    goes_without(&mut kept, &|cuts| cuts.without.push(name.to_owned()));
                }
            }
            for part in [2, 4, 8, 16] {
                let fewer = |cuts: &mut Self| {
                    let calls = cuts.calls.unwrap_or(plan.calls);
                    cuts.calls = Some(calls - calls / part);
                };
                while goes_without(&mut kept, &fewer) {}
            }
            for clients in (1..kept.clients.unwrap_or(plan.clients)).rev() {
                goes_without(&mut kept, &|cuts| cuts.clients = Some(clients));
            }
            if kept == before {
                return kept;
            }
        }
    }
}

fn names() -> Vec<&'static str> {
    FAULTS.iter().map(|(name, _)| *name).collect()
}

#[test]
fn shrinking_leaves_what_it_takes_to_fail() {
    let plan = Plan { calls: 300, clients: 5, ..Plan::draw(&mut super::world::Random::new(1)) };
    let needed = |cuts: &Cuts| {
        let mut plan = plan.clone();
        plan.weights.pause = 3;
        cuts.apply(&mut plan);
        plan.weights.pause > 0 && plan.calls >= 20 && plan.clients >= 2
    };
    let cuts = Cuts::default().shrink(&plan, needed);
    assert!(needed(&cuts), "{cuts:?} still fails");
    let left: Vec<&str> = names().into_iter().filter(|name| !cuts.without.iter().any(|kind| kind == name)).collect();
    assert_eq!(left, ["pause", "misfortunes"]);
    assert!(cuts.calls.is_some_and(|calls| calls < 40) && cuts.clients == Some(2), "{cuts:?}");
}
