//! What a write costs the device beneath: counted by the kernel, on a file system of the test's own.

use std::path::Path;
use std::process::Command;

use quorate::client::{Client, CreateOptions, Expect};

use super::cell::{Cell, PATIENCE, path};

/// The smallest segments there may be, and an image for each.
const SMALL: &str = "segment = \"8MiB\"\nimage_after = \"8MiB\"\nmax = \"256MiB\"\n";

/// Writes of one client, each of which waits for the one before: a batch each.
const WRITES: u64 = 400;

/// What one record takes of a small value: a block with the value, and one that says so again.
const RECORD_BYTES: u64 = 8192;

fn set(client: &Client, path: &str, data: Vec<u8>) {
    client.set(path, data, Expect::Any).wait_timeout(PATIENCE).expect("written");
}

#[test]
fn a_batch_is_one_write_and_one_flush_and_nothing_of_the_file_system() {
    let Some(cell) = Cell::start_on_a_disk(1, 256 << 20, "segment = \"32MiB\"\n") else { return };
    let client = cell.connect();
    client.create("/a", "0", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("a node to write to");
    let status = |cell: &Cell| cell.status(0).expect("it answers");
    let (before, was) = (cell.disk().counts(), status(&cell));
    (0..WRITES).for_each(|number| set(&client, "/a", vec![number as u8; 100]));
    let (after, is) = (cell.disk().counts(), status(&cell));
    let batches = is.applied_upto.0 - was.applied_upto.0;
    let bytes = is.journal_bytes - was.journal_bytes;
    let (writes, flushes) = (after.writes - before.writes, after.flushes - before.flushes);
    let written = after.bytes - before.bytes;
    let commits = after.commits - before.commits;
    eprintln!(
        "{batches} batches: {bytes} bytes of journal; the device: {writes} writes, {flushes} flushes, {written} bytes; the \
         file system: {commits} commits"
    );
    assert!(batches >= WRITES, "one client has one write under way");
    // After a write that nothing follows for a while the disk is told that it is durable: a record too.
    let records = bytes / RECORD_BYTES;
    assert!((batches..=2 * batches + 2).contains(&records), "{bytes} bytes are the batches', and seals");
    // The file system notes the time of the last write every few seconds, whoever writes.
    let slack = 16 * (commits + 1);
    assert!(commits * 20 <= batches, "no batch waits for the file system's own journal: {commits} commits");
    assert!(writes >= batches && writes <= records + slack, "one write each: {writes} of {records}");
    assert!(flushes >= batches && flushes <= records + slack, "one flush each: {flushes} of {records}");
    assert!(
        written >= batches * RECORD_BYTES && written <= bytes + RECORD_BYTES + 4096 * slack,
        "{written} of {bytes}"
    );
}

/// Extents of a file that are reserved and not written: the first write to one changes the file system's own tables.
fn unwritten_extents(file: &Path) -> usize {
    let shown = Command::new("filefrag").args(["-v", path(file)]).output().expect("filefrag runs");
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    let lines = String::from_utf8_lossy(&shown.stdout).into_owned();
    let extents: Vec<&str> = lines.lines().filter(|line| line.contains("..")).collect();
    assert!(!extents.is_empty(), "a file that is there in full has extents: {lines}");
    extents.iter().filter(|line| line.contains("unwritten")).count()
}

#[test]
fn every_segment_is_there_in_full_and_written_once_before_it_is_used() {
    let Some(mut cell) = Cell::start_on_a_disk(1, 512 << 20, SMALL) else { return };
    let client = cell.connect();
    client.create("/bulk", "0", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("a node for bulky values");
    // Far enough that segments were made while it ran, and given up, and used again.
    (0..240).for_each(|number| set(&client, "/bulk", vec![number as u8; 256 << 10]));
    cell.kill_all();
    let mut segments = 0;
    for entry in std::fs::read_dir(cell.folder(0)).expect("the folder is there") {
        let file = entry.expect("it can be listed").path();
        let name = path(&file).rsplit('/').next().unwrap_or_default().to_owned();
        if name.starts_with("segment-") && file.extension().is_none() {
            let bytes = std::fs::metadata(&file).expect("it is there").len();
            assert_eq!((bytes, unwritten_extents(&file)), (8 << 20, 0), "{name}");
            segments += 1;
        }
    }
    assert!(segments >= 3, "segments were made while it ran: {segments}");
}
