//! A slot that none of those who are there can decide: the cell waits, and says for whom.

use std::path::Path;

use quorate::client::{CreateOptions, Expect};
use serde_json::Value;

use super::cell::{Cell, PATIENCE, run};

/// A value of some blocks, each of which is known by sight.
const VALUE: [u8; 3 * BLOCK_BYTES] = [0xa7; 3 * BLOCK_BYTES];

const BLOCK_BYTES: usize = 4096;

/// Spoils that value in every record of a stopped replica. What names it stays.
fn spoil(folder: &Path) {
    let mut spoiled = 0;
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let file = entry.expect("an entry").path();
        if !file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("segment-")) {
            continue;
        }
        let mut bytes = std::fs::read(&file).expect("it can be read");
        let before = spoiled;
        for block in bytes.chunks_exact_mut(BLOCK_BYTES).filter(|block| **block == VALUE[..BLOCK_BYTES]) {
            block[100] ^= 1;
            spoiled += 1;
        }
        if spoiled > before {
            std::fs::write(&file, bytes).expect("written");
        }
    }
    assert!(spoiled > 0, "the value is in its log");
}

/// What `quorate status` says, and its exit status.
fn status(cell: &Cell) -> (Value, Option<i32>) {
    let done = run(&["status", "--json", "--timeout", "4s", "--endpoints", &cell.endpoints()]);
    (serde_json::from_slice(&done.stdout).unwrap_or_default(), done.status.code())
}

/// One replica has an acknowledged write whole and is away, another one has lost it, the third one never had it.
#[test]
fn who_cannot_decide_a_slot_says_who_is_missing_and_goes_on_when_that_one_is_back() {
    let mut cell = Cell::start(3, "");
    let client = cell.connect();
    client.create("/a", "0", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    let missing = cell.leader();
    let (damaged, late) = ((missing + 1) % 3, (missing + 2) % 3);
    cell.kill(late);
    client.set("/a", VALUE.to_vec(), Expect::Any).wait_timeout(PATIENCE).expect("two of three have it");
    cell.kill(missing);
    cell.kill(damaged);
    drop(client);
    spoil(cell.folder(damaged));
    cell.restart(damaged);
    cell.restart(late);

    let name = format!("replica {}", missing + 1);
    let told = |cell: &Cell, words: &str| cell.logs().lines().any(|line| line.contains(words) && line.contains("WARN"));
    cell.wait("a warning", |cell| told(cell, &format!("{name} has not answered")).then_some(()));
    assert!(told(&cell, &format!("start {name} with its folder as it is")), "it says what would help: {}", cell.logs());
    assert!(told(&cell, &format!("replica {} accepted nothing there", late + 1)), "and who was heard: {}", cell.logs());
    let (said, _) = cell.wait("a status that does not call it healthy", |cell| {
        let (said, code) = status(cell);
        let candidate = |row: &Value| row["role"] == "candidate";
        let waits = said["replicas"].as_array().is_some_and(|rows| rows.iter().any(candidate));
        (waits && code == Some(3)).then_some((said, code))
    });
    assert_eq!((&said["healthy"], &said["leader"]), (&false.into(), &Value::Null), "{said}");

    cell.restart(missing);
    let reader = cell.connect();
    let (held, _) = reader.get("/a").wait_timeout(PATIENCE).unwrap_or_else(|error| panic!("{error}: {}", cell.logs()));
    assert!(held == VALUE[..], "what was acknowledged is there");
    cell.wait("a word that it is over", |cell| cell.logs().contains("is decided: the log goes on").then_some(()));
    cell.wait_until_equal();
}
