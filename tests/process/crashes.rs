//! Crashes, pauses and broken connections, under load.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::cell::Cell;
use super::load::Load;
use super::proxy::Proxy;

fn readers(cell: &Cell, count: usize) -> Vec<String> {
    (0..count).map(|index| cell.address(index).to_string()).collect()
}

/// The configurations that everything must hold under: one loop for all, and a loop for the replica beside two for its
/// clients.
pub const CORES: [&str; 2] = ["", "[server]\ncores = [0, 1, 0]\n"];

#[test]
fn the_leader_is_killed_under_load_and_comes_back() {
    for settings in CORES {
        let mut cell = Cell::start(3, settings);
        let load = Load::start(6, &cell.endpoints(), &[cell.endpoints()]);
        load.progress(50);
        for _ in 0..3 {
            cell.outlive_leader(|_| load.progress(50));
        }
        load.finish(&cell.endpoints());
        cell.wait_until_equal();
    }
}

#[test]
fn followers_are_killed_under_load_and_catch_up() {
    for settings in CORES {
        let mut cell = Cell::start(3, settings);
        let load = Load::start(6, &cell.endpoints(), &[cell.endpoints()]);
        load.progress(50);
        for step in 0..3 {
            let leader = cell.leader();
            let follower = (leader + 1 + step % 2) % 3;
            cell.kill(follower);
            load.progress(100);
            cell.restart(follower);
            load.progress(20);
        }
        load.finish(&cell.endpoints());
        cell.wait_until_equal();
    }
}

#[test]
fn all_are_killed_at_once_and_lose_nothing() {
    for settings in CORES {
        let mut cell = Cell::start(3, settings);
        let load = Load::start(6, &cell.endpoints(), &[cell.endpoints()]);
        for _ in 0..3 {
            load.progress(60);
            cell.kill_all();
            (0..3).for_each(|index| cell.restart(index));
        }
        load.progress(60);
        load.finish(&cell.endpoints());
        cell.wait_until_equal();
    }
}

#[test]
fn a_leader_paused_past_its_lease_serves_nothing_stale() {
    for settings in CORES {
        let cell = Cell::start(3, settings);
        // A reader on each replica alone: the one on the paused leader asks it, and only it, as it wakes.
        let load = Load::start(6, &cell.endpoints(), &readers(&cell, 3));
        load.progress(50);
        for _ in 0..3 {
            let leader = cell.leader();
            cell.signal(leader, Signal::STOP);
            // Writes go on elsewhere, so the paused leader's state is old when it wakes.
            load.progress(50);
            cell.signal(leader, Signal::CONT);
            load.progress(50);
        }
        load.finish(&cell.endpoints());
        cell.wait_until_equal();
    }
}

#[test]
fn connections_break_all_the_time_and_each_request_is_applied_once() {
    for settings in CORES {
        let (cell, proxies) = Cell::start_behind_proxies(3, settings);
        let endpoints = proxies.iter().map(|proxy| proxy.address().to_string()).collect::<Vec<_>>().join(",");
        let load = Load::start(6, &endpoints, std::slice::from_ref(&endpoints));
        load.progress(400);
        assert!(proxies.iter().map(Proxy::cuts).sum::<u64>() > 20, "connections did break");
        load.finish(&endpoints);
        cell.wait_until_equal();
    }
}

/// The lease is long, and a follower keeps its promise to a leader that is gone for as long: an election cannot be over
/// sooner, a hand-over is.
#[test]
fn a_stopped_leader_hands_over_and_ends_with_status_0() {
    let lease = Duration::from_secs(2);
    let mut cell = Cell::start(3, "[paxos]\nlease = \"2s\"\n");
    let load = Load::start(4, &cell.endpoints(), &[cell.endpoints()]);
    for _ in 0..3 {
        load.progress(50);
        let leader = cell.leader();
        let ballot = cell.status(leader).expect("the leader answers").ballot;
        let told = Instant::now();
        cell.signal(leader, Signal::TERM);
        assert_eq!(cell.wait_for_end(leader), Some(0), "SIGTERM is a clean end");
        let next = cell.leader();
        assert!(told.elapsed() < lease, "it was handed over, not left to an election: {:?}", told.elapsed());
        assert!(cell.status(next).is_some_and(|status| status.ballot > ballot), "somebody else leads");
        load.progress(50);
        cell.restart(leader);
        // Who has just started promises nothing for a lease: with two such there is nobody to hand over to.
        std::thread::sleep(lease);
    }
    load.finish(&cell.endpoints());
    cell.wait_until_equal();
}

/// The file system that holds all three folders is shut down in mid-batch: nothing that was on its way arrives, every
/// process meets an error and ends, and after the "reboot" the cell goes on by itself.
#[test]
fn the_power_goes_for_all_replicas_in_mid_batch() {
    let Some(mut cell) = Cell::start_on_a_disk(3, 512 << 20, "") else { return };
    let load = Load::start(6, &cell.endpoints(), &[cell.endpoints()]);
    for _ in 0..2 {
        load.progress(60);
        cell.disk().cut_power();
        // Whoever writes meets the error; with two of them gone the third has nothing to write.
        let statuses = cell.wait_for_two_ends();
        assert!(statuses.iter().all(|status| *status == Some(40)), "a disk error has its own status: {statuses:?}");
        cell.disk().remount();
        (0..3).for_each(|index| cell.restart(index));
    }
    load.progress(60);
    load.finish(&cell.endpoints());
    cell.wait_until_equal();
}
