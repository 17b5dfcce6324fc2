//! Files that a newer program wrote: a start refuses each kind of them, says what to do, and leaves them as they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use quorate::client::{CreateOptions, Expect};

use super::cell::{Cell, PATIENCE, path};

/// The smallest segments there may be, and an image for each.
const SMALL: &str = "segment = \"8MiB\"\nimage_after = \"8MiB\"\nmax = \"256MiB\"\n";

const NEWER: [u8; 2] = [9, 0];

const BLOCK_BYTES: usize = 4096;

/// A stopped cell of one replica with something in its log.
fn stopped() -> Cell {
    let mut cell = Cell::start(1, "segment = \"8MiB\"\n");
    let client = cell.connect();
    client.create("/a", "0", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    cell.kill(0);
    cell
}

/// The files of a replica's folder, in order, without the lock.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = entries.filter(|file| file.file_name().is_some_and(|name| name != "lock")).collect();
    files.sort();
    files
}

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files(folder).into_iter().map(|file| (file.clone(), std::fs::read(&file).expect("it can be read"))).collect()
}

/// Writes another format's number behind the eight letters at `at`, and the checksum of `summed` bytes behind those.
fn make_newer(bytes: &mut [u8], (at, letters): (usize, &[u8; 8]), summed: usize) {
    assert_eq!(&bytes[at..at + 8], letters, "what stands there is known");
    bytes[at + 8..at + 10].copy_from_slice(&NEWER);
    let sum = crc32fast::hash(&bytes[at..at + summed]).to_le_bytes();
    bytes[at + summed..at + summed + 4].copy_from_slice(&sum);
}

/// Changes that file, and sees the start refuse it and touch nothing.
fn is_refused(cell: &mut Cell, file: &Path, change: impl FnOnce(&mut [u8])) {
    let mut bytes = std::fs::read(file).expect("the file is there");
    let before = bytes.clone();
    change(&mut bytes);
    assert!(bytes != before, "{} was changed", path(file));
    std::fs::write(file, bytes).expect("written");
    // As a crash leaves it, and a start that goes on clears it.
    let unfinished = cell.folder(0).join("segment-00000099.zeroing");
    std::fs::write(&unfinished, "0").expect("written");
    let found = contents(cell.folder(0));
    cell.restart(0);
    assert_eq!(cell.wait_for_end(0), Some(35), "{}", cell.logs());
    let logs = cell.logs();
    for said in ["E035", "in format 9", "start the newer program"] {
        assert!(logs.contains(said), "{said}: {logs}");
    }
    let left = contents(cell.folder(0));
    assert!(left.keys().eq(found.keys()), "{:?}", left.keys());
    let changed: Vec<_> = left.iter().filter(|(name, bytes)| found[*name] != **bytes).map(|(name, _)| name).collect();
    assert!(changed.is_empty(), "{changed:?}");
    // As it was it is good.
    std::fs::write(file, before).expect("written");
    cell.restart(0);
    cell.leader();
    assert!(!unfinished.exists(), "what nobody needs is cleared then");
}

#[test]
fn a_hard_state_of_a_newer_format_is_refused_and_left_alone() {
    let mut cell = stopped();
    let file = cell.folder(0).join("hard-state");
    is_refused(&mut cell, &file, |bytes| {
        (0..4).for_each(|copy| make_newer(bytes, (copy * (64 << 10), b"QuorHard"), BLOCK_BYTES - 4));
    });
}

#[test]
fn a_segment_of_a_newer_format_is_refused_and_left_alone() {
    let mut cell = stopped();
    let file = cell.folder(0).join("segment-00000001");
    is_refused(&mut cell, &file, |bytes| make_newer(bytes, (0, b"QuorSeg1"), 60));
}

#[test]
fn a_record_of_a_newer_format_is_refused_and_left_alone() {
    let mut cell = stopped();
    let file = cell.folder(0).join("segment-00000001");
    // The first record follows the segment's head.
    is_refused(&mut cell, &file, |bytes| make_newer(bytes, (BLOCK_BYTES, b"QuorRec{"), 252));
}

#[test]
fn an_image_of_a_newer_format_is_refused_and_left_alone() {
    let mut cell = Cell::start(1, SMALL);
    let client = cell.connect();
    client.create("/bulk", "", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    // Of two images the older one is surely pointed to.
    let images = cell.wait("two images", |cell| {
        client.set("/bulk", vec![7; 256 << 10], Expect::Any).wait_timeout(PATIENCE).expect("written");
        let is_image = |file: &PathBuf| path(file).contains("/image-") && file.extension().is_none();
        let images: Vec<PathBuf> = files(cell.folder(0)).into_iter().filter(is_image).collect();
        (images.len() == 2).then_some(images)
    });
    cell.kill(0);
    // The newest that the hard state knows of is the one that counts: without the other there is one.
    let [older, newer] = &images[..] else { panic!("{images:?}") };
    std::fs::remove_file(newer).expect("removed");
    is_refused(&mut cell, older, |bytes| {
        // The piece's head, with its checksum last; then the image's own, with the format behind eight letters.
        let length = u32::from_le_bytes(bytes[4..8].try_into().expect("4 bytes")) as usize;
        let (head, body) = bytes.split_at_mut(12);
        assert_eq!(&body[..8], b"QuorImag");
        body[8..10].copy_from_slice(&NEWER);
        let mut sum = crc32fast::Hasher::new();
        sum.update(&head[..8]);
        sum.update(&body[..length]);
        head[8..].copy_from_slice(&sum.finalize().to_le_bytes());
    });
}
