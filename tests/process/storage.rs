//! Disks that are full: nobody ends, reads go on, and writes go on by themselves once there is room again. Disks that rot, and
//! one that answers no more.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate::client::{Client, CreateOptions, Expect, Role};

use super::cell::{Cell, PATIENCE, path, run};
use super::load::Load;

/// The smallest segments there may be, and an image for each.
const SMALL: &str = "segment = \"8MiB\"\nimage_after = \"8MiB\"\nmax = \"256MiB\"\n";

const BULK_BYTES: usize = 256 << 10;

fn write(client: &Client, number: u64, patience: Duration) -> Result<(), String> {
    let set = client.set("/bulk", vec![number as u8; BULK_BYTES], Expect::Any);
    set.wait_timeout(patience).map(drop).map_err(|error| error.to_string())
}

/// The images in a replica's folder, the newest last.
fn images(cell: &Cell, index: usize) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(cell.folder(index)).expect("the folder is there");
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|file| path(file).contains("/image-") && file.extension().is_none());
    paths.sort();
    paths
}

/// Writes until every replica has two images, and none is on its way: a second may not be due yet, and an old one goes a
/// moment after a new one came.
fn wait_for_two_images(cell: &Cell, writer: &Client) {
    cell.wait("two images of each", |cell| {
        let counts: Vec<usize> = (0..3).map(|index| images(cell, index).len()).collect();
        if counts.iter().any(|count| *count < 2) {
            write(writer, 9, PATIENCE).expect("there is room");
        }
        (counts == [2, 2, 2]).then_some(())
    });
}

/// Every record, image and copy of the hard state is whole.
fn inspect(cell: &Cell) {
    for index in 0..3 {
        let shown = run(&["inspect", "journal", "--json", path(cell.folder(index))]);
        let (lines, complaints) = (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
        // A file that is used again ends with what is left of its former records.
        let sound = complaints.lines().all(|complaint| complaint.contains("are no records"));
        assert!(shown.status.success() && sound, "replica {}: {complaints}", index + 1);
        let damaged = lines.lines().find(|line| !line.contains("\"state\":\"whole\""));
        assert!(damaged.is_none() && lines.lines().count() > 10, "replica {}: {damaged:?}", index + 1);
        // One that is killed as a new image came may have the oldest still.
        for (what, counts) in [("image", 2..=3), ("hard-state", 4..=4)] {
            let shown = run(&["inspect", what, "--json", path(cell.folder(index))]);
            let lines = String::from_utf8_lossy(&shown.stdout).into_owned();
            let whole = lines.lines().filter(|line| line.contains("\"state\":\"whole\"")).count();
            let all = lines.lines().count();
            assert!(whole == all && counts.contains(&all), "replica {}: {whole} of {all} whole: {lines}", index + 1);
        }
    }
}

#[test]
fn on_a_full_disk_reads_go_on_and_writes_do_once_there_is_room() {
    let Some(mut cell) = Cell::start_on_a_disk(3, 512 << 20, SMALL) else { return };
    let (writer, reader) = (cell.connect(), cell.connect());
    let made = writer.create("/bulk", vec![0; BULK_BYTES], CreateOptions::permanent());
    made.wait_timeout(PATIENCE).expect("a node for bulky values");
    for round in 0..2 {
        cell.disk().fill();
        let refused = (1..400).find_map(|number| write(&writer, number, Duration::from_secs(3)).err());
        let refused = refused.unwrap_or_else(|| panic!("the disk is never full:\n{}", cell.logs()));
        let (data, _) = reader.get("/bulk").wait_timeout(PATIENCE).unwrap_or_else(|e| panic!("{e} after {refused}"));
        assert_eq!(data.len(), BULK_BYTES, "reads go on");
        if round == 0 {
            cell.wait("an image without room", |cell| cell.logs().contains("for the image up to slot").then_some(()));
        }
        assert!(cell.logs().contains("of journal: writes are refused"), "the operator is told: {refused}");
        (0..3).for_each(|index| assert!(cell.status(index).is_some(), "replica {} goes on: {refused}", index + 1));
        cell.disk().empty();
        write(&writer, 77, PATIENCE).unwrap_or_else(|error| panic!("there is room again: {error}"));
    }
    let load = Load::start(2, &cell.endpoints(), &[cell.endpoints()]);
    let was = cell.status(0).expect("it answers").applied_upto;
    let trimmed = |index| cell.status(index).is_some_and(|status| status.trimmed_upto >= was);
    let rounds = (0..40).take_while(|_| {
        (0..20).for_each(|number| write(&writer, number, PATIENCE).expect("there is room"));
        !(0..3).all(trimmed)
    });
    assert!(rounds.count() < 40, "images are taken again, and the log is trimmed behind them:\n{}", cell.logs());
    load.finish(&cell.endpoints());
    wait_for_two_images(&cell, &writer);
    cell.wait_until_equal();
    cell.kill_all();
    inspect(&cell);
}

/// One replica alone has a full disk: it takes what the leader sends until its last segment is full. Started again there,
/// it has not even room to say that it starts.
#[test]
fn a_replica_whose_journal_is_full_on_a_full_disk_starts_once_there_is_room() {
    let Some(mut cell) = Cell::start_with_one_on_a_disk(96 << 20, SMALL) else { return };
    let writer = cell.connect();
    writer.create("/a", "0", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("a node to write to");
    cell.disk().fill();
    // Records of two blocks and of three: what is left of the last segment is less than either takes.
    let mut upto = None;
    for number in 0.. {
        let set = writer.set("/a", vec![number as u8; 3000 + number % 2 * 2000], Expect::Any);
        set.wait_timeout(PATIENCE).expect("the others have room");
        if number % 500 == 499 {
            let was = upto.replace(cell.status(2).expect("it answers").applied_upto);
            if was == upto {
                break;
            }
            assert!(number < 20_000, "its disk is full, and so is its journal in the end:\n{}", cell.logs());
        }
    }
    // Every start takes a record, as long as there is room for one.
    for _ in 0..3 {
        cell.kill(2);
        cell.restart(2);
        cell.wait("a start", |cell| {
            let waits = cell.logs().contains("this replica starts once there is");
            (waits || cell.status(2).is_some()).then_some(())
        });
        assert_eq!(cell.has_ended(2), None, "it waits for room:\n{}", cell.logs());
    }
    assert!(cell.logs().contains("this replica starts once there is"), "it says what it waits for:\n{}", cell.logs());
    set_once(&writer);
    cell.disk().empty();
    cell.wait_until_equal();
}

/// The leader alone has a full disk: it hands over, writes go on, and the reign does not come back to it.
#[test]
fn a_leader_whose_disk_is_full_hands_over_to_one_that_has_room() {
    let Some(mut cell) = Cell::start_with_one_on_a_disk(96 << 20, SMALL) else { return };
    while cell.leader() != 2 {
        let leader = cell.kill_leader();
        cell.wait("another leader", |cell| (0..3).any(|index| index != leader && leads(cell, index)).then_some(()));
        cell.restart(leader);
        cell.wait_until_equal();
    }
    let writer = cell.connect();
    let made = writer.create("/bulk", vec![0; BULK_BYTES], CreateOptions::permanent());
    made.wait_timeout(PATIENCE).expect("a node for bulky values");
    cell.disk().fill();
    let bulk = |number| write(&writer, number, PATIENCE).unwrap_or_else(|e| panic!("{number}: {e}\n{}", cell.logs()));
    // It may lose its reign to a busy host before its journal is full.
    let handed_over = |cell: &Cell| {
        cell.logs().contains("or a replica that has room leads") && (0..2).any(|index| leads(cell, index))
    };
    let went_on = (0..400).find(|number| {
        bulk(*number);
        number % 10 == 9 && handed_over(&cell)
    });
    assert!(went_on.is_some(), "two others have room:\n{}", cell.logs());
    let led = (0..60).filter(|number| {
        bulk(*number);
        leads(&cell, 2)
    });
    let led = led.count();
    assert!(led < 6, "whose disk is full led at {led} of 60 writes:\n{}", cell.logs());
    cell.disk().empty();
    cell.wait_until_equal();
}

/// The disk of one replica answers no more. It waits for ten seconds, says so, and ends, though only once the kernel lets go
/// of the write; the others go on without it.
#[test]
fn a_write_that_does_not_come_back_for_ten_seconds_is_a_failed_disk() {
    let Some(mut cell) = Cell::start_with_one_on_a_disk(96 << 20, SMALL) else { return };
    let writer = cell.connect();
    writer.create("/a", "0", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("a node to write to");
    cell.wait_until_equal();
    let frozen = cell.disk().freeze();
    set_once(&writer);
    cell.wait("a word of the write that hangs, and of what to do", |cell| {
        let said = ["a write that did not come back within 10 s", "check the disk (dmesg)"];
        said.iter().all(|said| cell.logs().contains(said)).then_some(())
    });
    drop(frozen);
    assert_eq!(cell.wait_for_end(2), Some(40), "as for any disk that failed:\n{}", cell.logs());
    set_once(&writer);
    cell.restart(2);
    cell.wait_until_equal();
}

fn leads(cell: &Cell, index: usize) -> bool {
    cell.status(index).is_some_and(|status| status.role == Role::Leader)
}

fn set_once(writer: &Client) {
    writer.set("/a", "again", Expect::Any).wait_timeout(PATIENCE).expect("two of three go on");
}

/// Nobody writes: what rots is replaced all the same, on followers too, and so is a copy of the hard state.
#[test]
fn what_rots_in_an_idle_cell_is_replaced() {
    let mut cell = Cell::start(3, &format!("{SMALL}scrub_period = \"1s\"\n"));
    let writer = cell.connect();
    let made = writer.create("/bulk", vec![0; BULK_BYTES], CreateOptions::permanent());
    made.wait_timeout(PATIENCE).expect("a node for bulky values");
    (0..90).for_each(|number| write(&writer, number, PATIENCE).expect("written"));
    wait_for_two_images(&cell, &writer);
    let leader = cell.leader();
    for index in [(leader + 1) % 3, leader] {
        let rotten = images(&cell, index).pop().expect("an image was taken");
        damage(&rotten, 500);
        cell.wait("an image that is replaced", |cell| (!images(cell, index).contains(&rotten)).then_some(()));
        let hard_state = cell.folder(index).join("hard-state");
        damage(&hard_state, 2 * STRIDE_BYTES + 100);
        cell.wait("a copy that is written again", |_| (whole_copies(&hard_state) == 4).then_some(()));
    }
    // A disk that loses most of what it was told to keep is not relied on any more.
    let index = (leader + 1) % 3;
    (0..3).for_each(|copy| damage(&cell.folder(index).join("hard-state"), copy * STRIDE_BYTES + 100));
    assert_eq!(cell.wait_for_end(index), Some(52), "{}", cell.logs());
    write(&writer, 1, PATIENCE).expect("the others go on");
}

const STRIDE_BYTES: u64 = 64 << 10;

fn whole_copies(hard_state: &Path) -> usize {
    let shown = run(&["inspect", "hard-state", "--json", path(hard_state.parent().expect("it is in a folder"))]);
    String::from_utf8_lossy(&shown.stdout).lines().filter(|line| line.contains("\"state\":\"whole\"")).count()
}

/// Changes a byte of a file beneath a running replica, on the disk itself.
fn damage(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).expect("the file is there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("it is long enough");
    file.write_all_at(&[byte[0] ^ 1], at).expect("written");
    file.sync_all().expect("flushed");
}

#[test]
fn what_rots_beneath_a_running_replica_is_found_and_replaced() {
    let mut cell = Cell::start(3, &format!("{SMALL}scrub_period = \"2s\"\n"));
    let writer = cell.connect();
    let made = writer.create("/bulk", vec![0; BULK_BYTES], CreateOptions::permanent());
    made.wait_timeout(PATIENCE).expect("a node for bulky values");
    (0..120).for_each(|number| write(&writer, number, PATIENCE).expect("written"));
    let leader = cell.leader();
    for index in [leader, (leader + 1) % 3] {
        let rotten = images(&cell, index).pop().expect("an image was taken");
        damage(&rotten, 500);
        cell.wait("damage that is found", |cell| {
            let said = format!("{} is damaged at byte", path(&rotten));
            cell.logs().contains(&said).then_some(())
        });
        // Each write brings an image, until the rotten one is one of the two no more.
        cell.wait("an image that is replaced", |cell| {
            write(&writer, 7, PATIENCE).expect("writes go on");
            (!images(cell, index).contains(&rotten)).then_some(())
        });
    }
    wait_for_two_images(&cell, &writer);
    cell.wait_until_equal();
    cell.kill_all();
    inspect(&cell);
}
