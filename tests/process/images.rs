//! Images: the log is given up behind them, and nothing is lost by it.

use std::path::{Path, PathBuf};

use quorate::client::{Client, CreateOptions, Expect};

use super::cell::{Cell, PATIENCE, path, run};
use super::load::Load;

/// The smallest segments there may be, and an image for each.
const SMALL: &str = "segment = \"8MiB\"\nimage_after = \"8MiB\"\nmax = \"256MiB\"\n";

/// What [`SMALL`] may take when every member takes part: the log back to the image before the newest, what is written
/// while an image is, and the spare files.
const BOUND_BYTES: u64 = 16 * SEGMENT_BYTES;

const SEGMENT_BYTES: u64 = 8 << 20;

/// Length of one bulky value.
const BULK_BYTES: usize = 256 << 10;

/// Nodes that bulky values are written to.
const BULK_NODES: u64 = 10;

fn bulk_path(number: u64) -> String {
    format!("/bulk-{}", number % BULK_NODES)
}

fn bulk_value(number: u64) -> Vec<u8> {
    vec![number as u8; BULK_BYTES]
}

/// Writes the bulky values of these numbers.
fn write_bulk(client: &Client, numbers: std::ops::Range<u64>) {
    let ops: Vec<_> = numbers.map(|n| client.set(&bulk_path(n), bulk_value(n), Expect::Any)).collect();
    for op in ops {
        op.wait_timeout(PATIENCE).expect("a bulky value is written");
    }
}

fn create_bulk(client: &Client) {
    for number in 0..BULK_NODES {
        let made = client.create(&bulk_path(number), bulk_value(number), CreateOptions::permanent());
        made.wait_timeout(PATIENCE).expect("a node for bulky values");
    }
}

/// The newest value of each node is that of the last numbers below `upto`.
fn check_bulk(client: &Client, upto: u64) {
    for number in upto - BULK_NODES..upto {
        let (data, _) = client.get(&bulk_path(number)).wait_timeout(PATIENCE).expect("a bulky value is read");
        assert!(data == bulk_value(number), "{} holds what was written last", bulk_path(number));
    }
}

/// Names and sizes of the files of a replica.
fn files(cell: &Cell, index: usize) -> Vec<(PathBuf, u64)> {
    let entries = std::fs::read_dir(cell.folder(index)).expect("the folder is there");
    // A file may be renamed or removed while the folder is listed.
    let file = |path: PathBuf| std::fs::metadata(&path).ok().map(|metadata| (path, metadata.len()));
    entries.filter_map(|entry| file(entry.ok()?.path())).collect()
}

fn folder_bytes(cell: &Cell, index: usize) -> u64 {
    files(cell, index).iter().map(|(_, bytes)| bytes).sum()
}

fn newest_image(cell: &Cell, index: usize) -> PathBuf {
    let images = files(cell, index).into_iter().map(|(path, _)| path);
    let whole = images.filter(|path| path.extension().is_none() && super::cell::path(path).contains("/image-"));
    whole.max().expect("an image was taken")
}

/// Waits until every replica has given up some of its log.
fn wait_until_trimmed(cell: &Cell, beyond: u64) {
    cell.wait("trimmed logs", |cell| {
        (0..3).all(|index| cell.status(index).is_some_and(|s| s.trimmed_upto.0 > beyond)).then_some(())
    });
}

#[test]
fn the_log_stays_bounded_and_all_are_killed_at_any_point_of_it() {
    let mut cell = Cell::start(3, SMALL);
    let load = Load::start(3, &cell.endpoints(), &[cell.endpoints()]);
    create_bulk(&cell.connect());
    let mut written = 0;
    for round in 0..4 {
        let client = cell.connect();
        write_bulk(&client, written..written + 120 + 7 * round);
        written += 120 + 7 * round;
        if round == 0 {
            wait_until_trimmed(&cell, 0);
        }
        cell.kill_all();
        (0..3).for_each(|index| cell.restart(index));
        load.progress(20);
    }
    load.finish(&cell.endpoints());
    check_bulk(&cell.connect(), written);
    cell.wait_until_equal();
    for index in 0..3 {
        let bytes = folder_bytes(&cell, index);
        assert!(bytes < BOUND_BYTES, "replica {} takes {bytes} bytes", index + 1);
    }
    assert!(written * BULK_BYTES as u64 > BOUND_BYTES * 3 / 4, "that was more than a moment's log");
}

#[test]
fn a_member_that_was_away_for_long_finds_the_log_it_needs() {
    let mut cell = Cell::start(3, &format!("{SMALL}keep_for_lagging = \"256MiB\"\n"));
    create_bulk(&cell.connect());
    write_bulk(&cell.connect(), 0..120);
    wait_until_trimmed(&cell, 0);
    let away = (cell.leader() + 1) % 3;
    cell.kill(away);
    write_bulk(&cell.connect(), 120..400);
    cell.restart(away);
    cell.wait_until_equal();
    write_bulk(&cell.connect(), 400..520);
    check_bulk(&cell.connect(), 520);
    cell.wait_until_equal();
    cell.wait("folders that shrank", |cell| (0..3).all(|i| folder_bytes(cell, i) < BOUND_BYTES).then_some(()));
}

/// One loop for all, and a loop for the replica beside two for its clients.
const CORES: [&str; 2] = ["", "[server]\ncores = [0, 1, 0]\n"];

#[test]
fn a_member_that_the_log_does_not_reach_is_sent_an_image_and_killed_in_the_midst_of_it() {
    for cores in CORES {
        let mut cell = Cell::start(3, &format!("{SMALL}keep_for_lagging = \"0B\"\n{cores}"));
        create_bulk(&cell.connect());
        let away = (cell.leader() + 1) % 3;
        let had = cell.status(away).expect("it answers").applied_upto.0;
        cell.kill(away);
        let mut written = 0;
        let trimmed = |cell: &Cell, index| cell.status(index).is_some_and(|status| status.trimmed_upto.0 > had + 10);
        while !(0..3).filter(|index| *index != away).all(|index| trimmed(&cell, index)) {
            assert!(written < 2000, "a member that is away holds the log");
            write_bulk(&cell.connect(), written..written + 40);
            written += 40;
        }
        let load = Load::start(2, &cell.endpoints(), &[cell.endpoints()]);
        for _ in 0..3 {
            cell.restart(away);
            cell.wait("a piece of an image, or all of it", |cell| {
                let partial = |(path, _): &(PathBuf, u64)| path.extension().is_some_and(|e| e == "partial");
                let begun = files(cell, away).iter().any(partial);
                (begun || cell.status(away).is_some_and(|status| status.applied_upto.0 > had + 10)).then_some(())
            });
            cell.kill(away);
        }
        cell.restart(away);
        load.progress(20);
        load.finish(&cell.endpoints());
        cell.wait_until_equal();
        check_bulk(&cell.connect(), written);
        assert!(cell.logs().contains("starting again from it"), "it was sent an image");
        // What it was sent serves a start like any other.
        cell.kill(away);
        write_bulk(&cell.connect(), written..written + 10);
        cell.restart(away);
        cell.wait_until_equal();
        check_bulk(&cell.connect(), written + 10);
    }
}

#[test]
fn a_damaged_image_costs_a_longer_replay_and_nothing_else() {
    let mut cell = Cell::start(3, SMALL);
    create_bulk(&cell.connect());
    write_bulk(&cell.connect(), 0..160);
    wait_until_trimmed(&cell, 0);
    cell.kill_all();
    for index in 0..3 {
        let path = newest_image(&cell, index);
        let mut bytes = std::fs::read(&path).expect("the image is read");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).expect("the image is damaged");
        let shown = run(&["inspect", "image", super::cell::path(&path)]);
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.contains("not usable: the image is damaged at byte"), "{shown}");
        cell.restart(index);
    }
    check_bulk(&cell.connect(), 160);
    write_bulk(&cell.connect(), 160..280);
    check_bulk(&cell.connect(), 280);
    cell.wait_until_equal();
    assert!(cell.logs().contains("the start goes on from what was before it"), "the operator is told");
}

/// The newest image that the hard state of a replica that does not run points to: a start begins there.
fn image_pointed_to(cell: &Cell, index: usize) -> PathBuf {
    let shown = run(&["inspect", "hard-state", "--json", path(cell.folder(index))]);
    let copies = String::from_utf8_lossy(&shown.stdout).into_owned();
    let slots = copies.lines().filter_map(|copy| {
        let copy: serde_json::Value = serde_json::from_str(copy).expect("a line of JSON");
        copy["image"]["slot"].as_u64()
    });
    let slot = slots.max().expect("an image was taken");
    cell.folder(index).join(format!("image-{slot:020}"))
}

/// Where the pieces of an image begin and end (src/replica/image_file.rs).
fn pieces(image: &[u8]) -> Vec<&[u8]> {
    let (mut pieces, mut rest) = (Vec::new(), image);
    while let Some(head) = rest.first_chunk::<12>() {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let (piece, after) = rest.split_at(12 + length);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// The last piece, changed to count one piece less, of so many bytes; its own sum is right.
fn end_without(end: &[u8], bytes: usize) -> Vec<u8> {
    let mut end = end.to_vec();
    let (head, body) = end.split_at_mut(12);
    let (numbers, _) = body.as_chunks_mut::<8>();
    for (number, less) in numbers.iter_mut().zip([1, bytes as u64]) {
        *number = (u64::from_le_bytes(*number) - less).to_le_bytes();
    }
    let sum = crc32fast::hash(&[&head[..8], body].concat());
    head[8..].copy_from_slice(&sum.to_le_bytes());
    end
}

/// What `quorate inspect image` says of an image, as text and as JSON.
fn inspected(image: &Path) -> (String, serde_json::Value) {
    let text = run(&["inspect", "image", path(image)]);
    let object = run(&["inspect", "image", "--json", path(image)]);
    let object = serde_json::from_slice(&object.stdout).expect("one object");
    (String::from_utf8_lossy(&text.stdout).into_owned(), object)
}

#[test]
fn images_of_whole_pieces_that_are_not_all_there_in_order_are_not_started_from() {
    let mut cell = Cell::start(3, SMALL);
    create_bulk(&cell.connect());
    write_bulk(&cell.connect(), 0..160);
    wait_until_trimmed(&cell, 0);
    cell.kill_all();
    let mut said = Vec::new();
    for index in 0..3 {
        let image = image_pointed_to(&cell, index);
        let bytes = std::fs::read(&image).expect("the image is read");
        let (text, object) = inspected(&image);
        let hash = blake3::hash(&bytes).to_hex().to_string();
        assert_eq!(object["state"], "whole", "{object}");
        assert_eq!(object["blake3"], hash, "as b3sum prints it");
        assert_eq!(object["says_its_hash"], true, "{object}");
        assert!(text.contains(&format!("BLAKE3      {hash}\n")), "{text}");
        // The head, rows, and the end. A bulky value fills a piece, so there are some that are nobody's first or last.
        let mut pieces = pieces(&bytes);
        let count = pieces.len();
        assert!(count > 6, "the image has {count} pieces");
        let (damaged, why) = match index {
            0 => {
                pieces.swap(2, 3);
                (pieces.concat(), "the image's pieces have BLAKE3 ")
            }
            1 => {
                let left_out = pieces.remove(2);
                let end = end_without(pieces.pop().expect("it has an end"), left_out.len());
                ([pieces.concat(), end].concat(), "the image's pieces have BLAKE3 ")
            }
            _ => (pieces[..count - 1].concat(), "the image has no end"),
        };
        std::fs::write(&image, damaged).expect("the image is changed");
        let (text, object) = inspected(&image);
        assert!(text.contains(&format!("not usable: {why}")), "{text}");
        assert_eq!(object["state"], "damaged", "{object}");
        assert!(object["error"].as_str().is_some_and(|error| error.contains(why)), "{object}");
        said.push(format!("{}: {why}", path(&image)));
    }
    (0..3).for_each(|index| cell.restart(index));
    check_bulk(&cell.connect(), 160);
    write_bulk(&cell.connect(), 160..280);
    check_bulk(&cell.connect(), 280);
    cell.wait_until_equal();
    let logs = cell.logs();
    said.iter().for_each(|said| assert!(logs.contains(said), "the operator is told: {said}: {logs}"));
}

#[test]
fn a_member_that_is_away_stops_no_writes_however_much_is_kept_for_it() {
    let mut cell =
        Cell::start(3, "segment = \"8MiB\"\nimage_after = \"8MiB\"\nmax = \"48MiB\"\nkeep_for_lagging = \"48MiB\"\n");
    let client = cell.connect();
    create_bulk(&client);
    let away = (cell.leader() + 1) % 3;
    cell.kill(away);
    for number in (BULK_NODES..410).step_by(40) {
        write_bulk(&client, number..number + 40);
        for index in (0..3).filter(|index| *index != away) {
            let segments =
                files(&cell, index).into_iter().filter(|(path, _)| super::cell::path(path).contains("/segment-"));
            let bytes: u64 = segments.map(|(_, bytes)| bytes).sum();
            assert!(bytes <= 48 << 20, "replica {} passed the bound: {bytes}", index + 1);
        }
    }
    cell.restart(away);
    check_bulk(&cell.connect(), 410);
    cell.wait_until_equal();
}
