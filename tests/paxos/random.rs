//! Many seeded runs of the core on a network that loses, doubles and reorders and disks that lose what was not flushed.
//! Safety is watched at every step, from durable votes alone; then the cell is healed and must make progress.

use super::cell::{Cell, put};
use quorate::paxos::{ReplicaId, Slot};
use quorate::time::Duration;

const SEEDS: u64 = 400;
const STEPS: u64 = 15_000;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// How hostile one run is.
struct Weather {
    loss_percent: u64,
    double_percent: u64,
    crash_permille: u64,
    cut_permille: u64,
    held_permille: u64,
}

#[test]
fn no_schedule_makes_two_values_of_one_slot_and_a_healed_cell_goes_on() {
    let seeds = match std::env::var("QUORATE_SEED") {
        Ok(seed) => seed.parse::<u64>().map(|seed| seed..seed + 1).expect("QUORATE_SEED is a number"),
        Err(_) => 1..1 + SEEDS,
    };
    let mut chosen = 0;
    for seed in seeds {
        let run = std::panic::catch_unwind(|| run(seed));
        match run {
            Ok(count) => chosen += count,
            Err(panic) => {
                eprintln!("QUORATE_SEED={seed} repeats this run");
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert!(chosen > 0, "the hostile phase chose something");
}

#[test]
fn a_seed_run_twice_tells_the_same_story() {
    let story = |_| {
        let mut cell = Cell::new(3, 5, true);
        let mut random = Random(5);
        let weather =
            Weather { loss_percent: 5, double_percent: 5, crash_permille: 3, cut_permille: 3, held_permille: 3 };
        let mut reads = Vec::new();
        (0..600).for_each(|step| hostile_step(&mut cell, &mut random, &weather, step, &mut reads));
        cell.transcript
    };
    assert_eq!(story(1), story(2));
}

fn run(seed: u64) -> u64 {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let replicas = [1, 3, 3, 3, 5][random.below(5) as usize];
    let mut cell = Cell::new(replicas, seed, random.below(4) > 0);
    cell.quiet = std::env::var_os("QUORATE_SEED").is_none();
    let weather = Weather {
        loss_percent: [0, 2, 20][random.below(3) as usize],
        double_percent: [0, 5, 20][random.below(3) as usize],
        crash_permille: [0, 2, 8][random.below(3) as usize],
        cut_permille: [0, 2, 8][random.below(3) as usize],
        held_permille: [0, 2, 8][random.below(3) as usize],
    };
    let mut reads = Vec::new();
    for step in 0..STEPS {
        hostile_step(&mut cell, &mut random, &weather, step, &mut reads);
        no_stale_lease(&cell);
        if std::env::var_os("QUORATE_TRACE").is_some() {
            cell.transcript.drain(..).for_each(|line| eprintln!("{line}"));
        }
    }
    let chosen = cell.oracle.chosen.len() as u64;
    heal(&mut cell);
    chosen
}

fn hostile_step(cell: &mut Cell, random: &mut Random, weather: &Weather, step: u64, reads: &mut Vec<(u64, Slot)>) {
    let count = cell.nodes.len() as u64;
    let id = ReplicaId(1 + random.below(count) as u8);
    let other = ReplicaId(1 + random.below(count) as u8);
    match random.below(100) {
        0..45 => deliver_one(cell, random, weather),
        45..60 => flush_some(cell, random, id),
        60..75 => pass_time(cell, random),
        75..88 => {
            let value = put(&format!("{step}"));
            cell.with(id, |paxos, now, out| paxos.can_propose().then(|| paxos.propose(now, value, out)));
        }
        88..92 => {
            let floor = cell.nodes.iter().map(|n| n.applied.len() as u64).max().unwrap_or(0);
            reads.push((step, Slot(floor)));
            cell.with(id, |paxos, now, out| paxos.read_point(now, step, out));
        }
        92 if id != other => {
            let incarnation = cell.node(other).incarnation;
            if random.below(2) == 0 {
                cell.with(id, |paxos, now, out| paxos.peer_up(now, other, incarnation, out));
            } else {
                cell.with(id, |paxos, now, out| paxos.peer_down(now, other, out));
            }
        }
        93 if random.below(10) == 0 => {
            cell.with(id, |paxos, now, out| paxos.hand_over(now, None, out));
        }
        _ => misfortune(cell, random, weather, id, other),
    }
    no_stale_read(cell, reads);
}

fn misfortune(cell: &mut Cell, random: &mut Random, weather: &Weather, id: ReplicaId, other: ReplicaId) {
    // Called for about one step in twenty.
    if cell.node(id).paxos.is_none() {
        if random.below(4) == 0 {
            cell.restart(id);
        }
    } else if random.below(1000) < 20 * weather.crash_permille {
        cell.crash(id);
        if random.below(3) == 0 {
            cell.restart(id);
        }
    }
    if id != other && random.below(1000) < 20 * weather.cut_permille {
        if random.below(3) == 0 { cell.cut.clear() } else { cell.cut.push((id, other)) }
    }
    if random.below(1000) < 20 * weather.held_permille {
        let held = random.below(3) == 0;
        cell.node(id).disk.held = held;
    }
}

fn deliver_one(cell: &mut Cell, random: &mut Random, weather: &Weather) {
    let burst = 1 + random.below(4);
    for _ in 0..burst {
        if cell.network.is_empty() {
            return;
        }
        // Mostly in order, sometimes from anywhere.
        let reach = if random.below(4) == 0 { cell.network.len() as u64 } else { 1 };
        let index = random.below(reach) as usize;
        let Some(frame) = cell.network.remove(index) else { return };
        if random.below(100) < weather.loss_percent {
            continue;
        }
        if random.below(100) < weather.double_percent {
            cell.network.push_back(frame.clone());
        }
        cell.deliver(frame);
    }
    while cell.network.len() > 400 {
        cell.network.pop_front();
    }
}

fn flush_some(cell: &mut Cell, random: &mut Random, id: ReplicaId) {
    if !cell.node(id).disk.held {
        let records = random.below(5) as usize;
        cell.flush_some(id, random.below(2) == 0, records);
    }
}

fn pass_time(cell: &mut Cell, random: &mut Random) {
    let span = match random.below(20) {
        0 => random.below(400_000),
        1..5 => random.below(40_000),
        _ => random.below(3_000),
    };
    cell.now += Duration::from_micros(span);
    let ids: Vec<ReplicaId> = cell.nodes.iter().map(|n| n.id).collect();
    for id in ids {
        let now = cell.now;
        let due = cell.node(id).paxos.as_ref().is_some_and(|paxos| paxos.next_deadline() <= now);
        if due && random.below(4) > 0 {
            cell.with(id, |paxos, now, out| paxos.tick(now, out));
        }
    }
}

/// A read point answered covers everything that anybody had applied when it was asked for.
fn no_stale_read(cell: &mut Cell, reads: &[(u64, Slot)]) {
    for node in &mut cell.nodes {
        for (ticket, upto) in node.reads.drain(..) {
            let floor = reads.iter().find(|(t, _)| *t == ticket).expect("only asked read points are answered").1;
            assert!(upto.is_none_or(|upto| upto >= floor), "n{}: read {ticket} at {upto:?}, below {floor:?}", node.id);
        }
    }
}

/// Whoever holds a lease has applied everything that anybody has.
fn no_stale_lease(cell: &Cell) {
    let most = cell.nodes.iter().map(|n| n.applied.len()).max().unwrap_or(0);
    for node in &cell.nodes {
        let leased = node.paxos.as_ref().is_some_and(|paxos| paxos.lease().until > cell.now);
        assert!(
            !leased || node.applied.len() == most,
            "n{} reads under its lease at {}, of {most}",
            node.id,
            node.applied.len()
        );
    }
}

fn heal(cell: &mut Cell) {
    cell.cut.clear();
    let ids: Vec<ReplicaId> = cell.nodes.iter().map(|n| n.id).collect();
    for id in &ids {
        cell.node(*id).disk.held = false;
        if cell.node(*id).paxos.is_none() {
            cell.restart(*id);
        }
    }
    for from in &ids {
        for to in ids.iter().filter(|to| *to != from) {
            let incarnation = cell.node(*to).incarnation;
            cell.with(*from, |paxos, now, out| paxos.peer_up(now, *to, incarnation, out));
        }
    }
    cell.run(Duration::from_secs(4));
    if std::env::var_os("QUORATE_TRACE").is_some() {
        cell.transcript.drain(..).for_each(|line| eprintln!("{line}"));
    }
    let leader = ids.iter().copied().find(|id| cell.nodes[usize::from(id.0) - 1].paxos.as_ref().unwrap().is_leading());
    let leader = leader.expect("a healed cell has a leader");
    let ballot = cell.node(leader).paxos.as_ref().unwrap().ballot();
    let slot = cell
        .with(leader, |paxos, now, out| paxos.can_propose().then(|| paxos.propose(now, put("healed"), out)))
        .flatten()
        .expect("a healed cell's leader proposes");
    cell.run(Duration::from_secs(1));
    for id in ids {
        let node = &cell.nodes[usize::from(id.0) - 1];
        assert!(node.applied.len() as u64 >= slot.0, "n{id} has applied {} of {slot}", node.applied.len());
        assert_eq!(node.applied[slot.0 as usize - 1], put("healed"), "n{id} applied what was written after healing");
        assert_eq!(node.paxos.as_ref().unwrap().ballot(), ballot, "nobody disturbs a healed cell's leader");
    }
}
