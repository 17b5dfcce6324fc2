//! Golden conversations of the core: each file under `tests/golden/paxos` is a script, `---`, and what the replicas said.
//! `QUORATE_REWRITE_GOLDEN=1` rewrites the transcripts; a missing or differing one fails.

use std::path::{Path, PathBuf};

use super::cell::{Cell, put, word};
use quorate::paxos::{MemberChange, ReplicaId, Slot};
use quorate::time::Duration;

#[test]
fn the_replicas_say_what_the_golden_files_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/paxos");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder of the golden files")
        .map(|entry| entry.expect("a folder's entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    assert!(files.len() >= 20, "the stories are there: found {}", files.len());
    let rewrite = std::env::var_os("QUORATE_REWRITE_GOLDEN").is_some();
    let mut differing = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a golden file");
        let (script, expected) = text.split_once("---\n").unwrap_or((&text, ""));
        let transcript = perform(script);
        let first = expected.lines().zip(transcript.lines()).position(|(a, b)| a != b);
        if rewrite {
            std::fs::write(&file, format!("{script}---\n{transcript}")).expect("a golden file is written");
        } else if transcript != expected {
            let line = first.unwrap_or_else(|| expected.lines().count().min(transcript.lines().count()));
            let now = transcript.lines().nth(line).unwrap_or("(nothing)");
            differing.push(format!("{}: line {} of the transcript is now: {now}", file.display(), line + 1));
        }
    }
    assert!(differing.is_empty(), "{}\nQUORATE_REWRITE_GOLDEN=1 rewrites them", differing.join("\n"));
}

fn perform(script: &str) -> String {
    let mut cell = None;
    for line in script.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words[0] == "cell" {
            cell =
                Some(Cell::new(words[1].parse().expect("a number of replicas"), 7, words.get(2) != Some(&"no-lease")));
            continue;
        }
        let cell = cell.as_mut().expect("a script begins with its cell");
        cell.say(format!("> {line}"));
        command(cell, &words);
    }
    cell.expect("a script has a cell").transcript.join("\n") + "\n"
}

fn command(cell: &mut Cell, words: &[&str]) {
    let number = |i: usize| words[i].parse::<u64>().unwrap_or_else(|_| panic!("{words:?}: word {i} is a number"));
    let node = |i: usize| ReplicaId(number(i) as u8);
    let value = |i: usize| put(words[i]);
    if disk_or_members(cell, words) {
        return;
    }
    match words[0] {
        "elect" => {
            cell.now += Duration::from_millis(400);
            cell.campaign(node(1));
            cell.settle();
        }
        "campaign" => cell.campaign(node(1)),
        "propose" => {
            let slot =
                cell.with(node(1), |paxos, now, out| paxos.can_propose().then(|| paxos.propose(now, value(2), out)));
            if slot.flatten().is_none() {
                cell.say(format!("n{} may not propose", node(1)));
            }
        }
        "write" => {
            command(cell, &["propose", words[1], words[2]]);
            cell.settle();
        }
        "settle" => cell.settle(),
        "deliver" => {
            let (from, to) = (node(1), node(2));
            let (now, later): (Vec<_>, Vec<_>) = cell.network.drain(..).partition(|f| (f.from, f.to) == (from, to));
            cell.network = later.into();
            now.into_iter().for_each(|frame| cell.deliver(frame));
        }
        "lose" => cell.network.retain(|frame| (frame.from, frame.to) != (node(1), node(2))),
        "again" => {
            let frame = cell.delivered[&(node(1), node(2))].clone();
            cell.deliver(frame);
        }
        "keep" => cell.kept = Some(cell.delivered[&(node(1), node(2))].clone()),
        "replay" => {
            let frame = cell.kept.clone().expect("a frame was kept");
            cell.deliver(frame);
        }
        "flush" => {
            cell.flush(node(1));
        }
        "cut" => cell.cut.push((node(1), node(2))),
        "isolate" => {
            let others: Vec<ReplicaId> = cell.nodes.iter().map(|n| n.id).filter(|id| *id != node(1)).collect();
            cell.cut.extend(others.iter().flat_map(|id| [(node(1), *id), (*id, node(1))]));
        }
        "heal" => cell.cut.clear(),
        "tick" => cell.run(Duration::from_millis(number(1))),
        "wait" => cell.now += Duration::from_millis(number(1)),
        "read" => {
            cell.with(node(1), |paxos, now, out| paxos.read_point(now, number(2), out));
        }
        "hand-over" => {
            let target = words.get(2).map(|_| node(2));
            cell.with(node(1), |paxos, now, out| paxos.hand_over(now, target, out));
        }
        "peer-down" => {
            cell.with(node(1), |paxos, now, out| paxos.peer_down(now, node(2), out));
        }
        "peer-up" => {
            let incarnation = cell.node(node(2)).incarnation;
            cell.with(node(1), |paxos, now, out| paxos.peer_up(now, node(2), incarnation, out));
        }
        "quiet" => cell.quiet = true,
        "loud" => (cell.quiet, cell.brief) = (false, false),
        "brief" => (cell.quiet, cell.brief) = (false, true),
        "heartbeats" => cell.show_heartbeats = true,
        "show" => show(cell, node(1)),
        other => panic!("no such command: {other}"),
    }
}

/// Whether the command was one about a node's life, its disk, or the members.
fn disk_or_members(cell: &mut Cell, words: &[&str]) -> bool {
    let number = |i: usize| words[i].parse::<u64>().unwrap_or_else(|_| panic!("{words:?}: word {i} is a number"));
    let node = |i: usize| ReplicaId(number(i) as u8);
    match words[0] {
        "hold-disk" => cell.node(node(1)).disk.held = true,
        "cramped" => _ = cell.with(node(1), |paxos, now, _| paxos.set_cramped(now, true)),
        "roomy" => _ = cell.with(node(1), |paxos, now, _| paxos.set_cramped(now, false)),
        "copy" => {
            let node = cell.node(node(1));
            node.copy = Some(node.disk.clone());
        }
        "put-back" => {
            let node = cell.node(node(1));
            node.disk = node.copy.take().expect("a copy was taken");
        }
        "remembers" => remembers(cell, node(1), node(2)),
        "free-disk" => cell.node(node(1)).disk.held = false,
        "trim" => {
            let upto = Slot(number(2));
            cell.with(node(1), |paxos, _, _| {
                paxos.set_image_upto(upto);
                paxos.trimmed(upto);
            });
        }
        "damage" => cell.node(node(1)).disk.unknown.push((Slot(number(2)), Slot(number(3)))),
        "crash" => cell.crash(node(1)),
        "restart" => cell.restart(node(1)),
        "wipe" => cell.wipe(node(1)),
        "join" => cell.format_to_join(node(1)),
        "newcomer" => _ = cell.newcomer(),
        "change" => change(cell, node(1), words[2], node(3)),
        "members" => members(cell, node(1)),
        _ => return false,
    }
    true
}

/// Asks a node for a change of members; who comes is the node of that number with the disk it has now.
fn change(cell: &mut Cell, asked: ReplicaId, what: &str, replica: ReplicaId) {
    let incarnation = cell.node(replica).incarnation;
    let change = match what {
        "add" => MemberChange::Add { replica, incarnation, addresses: None },
        "replace" => MemberChange::Replace { replica, incarnation, addresses: None },
        "remove" => MemberChange::Remove { replica },
        other => panic!("no such change: {other}"),
    };
    match cell.with(asked, |paxos, now, out| paxos.change_members(now, &change, out)).expect("the asked node runs") {
        Ok(slot) => cell.say(format!("n{asked} changes the members in {slot}")),
        Err(refusal) => cell.say(format!("n{asked} refuses: {refusal}")),
    }
}

/// What one knows that another's disk acknowledged, and whether that disk holds it.
fn remembers(cell: &mut Cell, who: ReplicaId, whom: ReplicaId) {
    let word = cell.node(who).paxos.as_ref().and_then(|paxos| paxos.acknowledged_by(whom));
    let Some(word) = word else { return cell.say(format!("n{who} remembers nothing of n{whom}")) };
    let stands = cell.node(whom).paxos.as_ref().map(|paxos| paxos.stands_by(&word));
    let stands = match stands {
        Some(true) => "stands by it",
        Some(false) => "does not hold it",
        None => "is down",
    };
    cell.say(format!("n{who} remembers {} at {} of n{whom}, which {stands}", word.upto, word.ballot));
}

fn members(cell: &mut Cell, id: ReplicaId) {
    let line = cell.node(id).paxos.as_ref().map(|paxos| {
        let status = paxos.status();
        let vote = if status.votes { "votes" } else { "has no vote" };
        format!("n{id} {vote} in {}, knows of {}", status.chosen_upto.next(), word(&paxos.config().to_value(Slot(0))))
    });
    cell.say(line.unwrap_or_else(|| format!("n{id} is down")));
}

fn show(cell: &mut Cell, id: ReplicaId) {
    let now = cell.now;
    let Some(paxos) = &cell.node(id).paxos else {
        cell.say(format!("n{id} is down"));
        return;
    };
    let status = paxos.status();
    let lease = match paxos.lease().until.since(now).as_millis() {
        0 => "no lease".to_string(),
        left => format!("lease {left} ms"),
    };
    let waiting: Vec<String> = status.waiting.iter().map(Slot::to_string).collect();
    let image = status.needs_image_upto.map_or(String::new(), |upto| format!(", needs an image up to {upto}"));
    let waiting = if waiting.is_empty() { String::new() } else { format!(", waits for {}", waiting.join(" ")) };
    let line = format!(
        "n{id} {:?} promised={} chosen={}, {lease}{waiting}{image}",
        status.role, status.promised, status.chosen_upto
    );
    cell.say(line);
}
