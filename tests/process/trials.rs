//! Trials of the disk: a cell under load dies, whole or one of it, something happens to what its disks hold, and it is
//! started again. Every time nothing acknowledged may be gone and nothing wrong may be said; whether the replica came back
//! by itself or needed its operator is counted, and printed as a table.
//!
//! ```text
//! STORAGE_TRIALS=50 cargo test --test process trials:: -- --nocapture --test-threads 1     what scripts/storage-trials runs
//! ```

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use quorate::client::{Client, CreateOptions, Expect};
use quorate::journal::SegmentId;
use quorate::journal::record::{Block, Twin};
use quorate::limits::BLOCK_BYTES;

use super::cell::{Cell, PATIENCE, path};
use super::load::Load;

/// The smallest segments there may be, and an image for each.
const SMALL: &str = "segment = \"8MiB\"\nimage_after = \"8MiB\"\nmax = \"256MiB\"\n";

/// Length of a bulky value, of which a few trials' worth fill a segment.
const BULK_BYTES: usize = 64 << 10;

/// Bulky values written in one trial.
const BULK_WRITES: u64 = 24;

const SECTOR_BYTES: u64 = 512;

/// Repeatable choices.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % bound
    }
}

/// A few of each kind, unless more are asked for.
fn trials() -> u64 {
    let asked = std::env::var("STORAGE_TRIALS").ok().map(|text| text.parse().expect("STORAGE_TRIALS is a number"));
    asked.unwrap_or(3)
}

/// What came of some trials of one kind.
#[derive(Default)]
struct Tally {
    harmed_places: u64,
    by_itself: u64,
    by_operator: Vec<Option<i32>>,
    longest: Duration,
}

impl Tally {
    fn print(&self, what: &str) {
        let count = self.by_itself + self.by_operator.len() as u64;
        println!(
            "{what:<34} {count:>6} trials {:>6} places harmed {:>6} back by itself {:>4} by its operator {:?} {:>6} ms the \
             longest",
            self.harmed_places,
            self.by_itself,
            self.by_operator.len(),
            self.by_operator,
            self.longest.as_millis()
        );
    }
}

/// A node that bulky values are written to, so that there are images.
struct Bulk {
    client: Client,
    written: u64,
}

impl Bulk {
    fn of(cell: &Cell) -> Self {
        let client = cell.connect();
        let made = client.create("/bulk", vec![0; BULK_BYTES], CreateOptions::permanent());
        made.wait_timeout(PATIENCE).expect("a node for bulky values");
        Self { client, written: 0 }
    }

    fn write(&mut self) {
        for _ in 0..BULK_WRITES {
            self.written += 1;
            let set = self.client.set("/bulk", vec![self.written as u8; BULK_BYTES], Expect::Version(self.written - 1));
            set.wait_timeout(PATIENCE).expect("a bulky value is written");
        }
    }

    /// The last one is there, as that replica has it.
    fn check(&self, cell: &Cell, index: usize) {
        let client = Client::connect(&cell.address(index).to_string()).wait_timeout(PATIENCE);
        let client = client.unwrap_or_else(|error| panic!("{error}: {}", cell.logs()));
        let (data, stat) = client.get("/bulk").wait_timeout(PATIENCE).expect("the node is there");
        let is_it = stat.version == self.written && data == vec![self.written as u8; BULK_BYTES];
        assert!(is_it, "replica {} has version {} of {}", index + 1, stat.version, self.written);
    }
}

/// Runs trials: the load goes on, processes die (`all` of them at once, now and then), `harm` is done to the folder of the
/// one victim and says to how many places, everybody is started again. One victim for all of them: what is damaged on one
/// replica's disk is whole on a majority's.
fn run(what: &str, harm: impl Fn(&Path, &mut Dice) -> u64) {
    let mut dice = Dice(what.len() as u64 ^ u64::from(std::process::id()));
    println!("{what}: seed {}", dice.0);
    let mut cell = Cell::start(3, SMALL);
    let victim = dice.below(3) as usize;
    let mut tally = Tally::default();
    let mut bulk = Bulk::of(&cell);
    // So much that everybody has an image.
    (0..8).for_each(|_| bulk.write());
    let load = Load::start(3, &cell.endpoints(), &[cell.endpoints()]);
    for _ in 0..trials() {
        load.progress(30 + dice.below(30));
        bulk.write();
        let all = dice.below(2) == 0;
        if all {
            cell.kill_all()
        } else {
            cell.kill(victim)
        }
        tally.harmed_places += harm(cell.folder(victim), &mut dice);
        let started = Instant::now();
        (0..3).filter(|index| all || *index == victim).for_each(|index| cell.restart(index));
        load.progress(10);
        match comes_back(&mut cell, victim) {
            None => tally.by_itself += 1,
            Some(status) => {
                replace(&mut cell, victim);
                tally.by_operator.push(status);
            }
        }
        tally.longest = tally.longest.max(started.elapsed());
        bulk.check(&cell, victim);
    }
    load.finish(&cell.endpoints());
    cell.wait_until_equal();
    tally.print(what);
    assert!(tally.harmed_places >= trials(), "something happened to its disk every time");
    // Three is few; of many hardly one needs a person.
    let rare = trials() / 100;
    assert!(tally.by_operator.len() as u64 <= rare, "{:?} needed an operator: {}", tally.by_operator, cell.logs());
}

/// Waits until the replica has applied what the others had when it was asked for; the exit status, if it ended instead.
fn comes_back(cell: &mut Cell, victim: usize) -> Option<Option<i32>> {
    let deadline = Instant::now() + PATIENCE;
    let others = (0..3).filter(|index| *index != victim);
    let upto = others.filter_map(|index| cell.status(index)).map(|status| status.applied_upto).max();
    loop {
        if let Some(status) = cell.has_ended(victim) {
            return Some(status);
        }
        let status = cell.status(victim);
        if status.is_some_and(|status| status.votes && status.leader.is_some() && Some(status.applied_upto) >= upto) {
            return None;
        }
        assert!(Instant::now() < deadline, "replica {} does not come back:\n{}", victim + 1, cell.logs());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What an operator does with a replica that does not start.
fn replace(cell: &mut Cell, victim: usize) {
    cell.remove_folder(victim);
    let recovering = cell.recover(victim);
    cell.wait("a new folder", |cell| cell.folder(victim).join("hard-state").exists().then_some(()));
    cell.restart(victim);
    assert!(recovering.wait_with_output().expect("it ends").status.success(), "{}", cell.logs());
}

/// The files of a folder whose names begin so, in their order.
fn files(folder: &Path, beginning: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    let begins = |file: &PathBuf| path(file).rsplit('/').next().is_some_and(|name| name.starts_with(beginning));
    files.retain(|file| begins(file) && file.extension().is_none());
    files.sort();
    files
}

/// Makes a sector something else: a bit is flipped, all of it is gone or noise, or it is what lies elsewhere in the file.
fn spoil(file: &Path, sector: u64, dice: &mut Dice) {
    let open = File::options().read(true).write(true).open(file).expect("the file is there");
    let sectors = open.metadata().expect("it is there").len() / SECTOR_BYTES;
    let mut bytes = [0; SECTOR_BYTES as usize];
    let at = sector * SECTOR_BYTES;
    open.read_exact_at(&mut bytes, at).expect("it is that long");
    match dice.below(4) {
        0 => bytes[dice.below(SECTOR_BYTES) as usize] ^= 1 << dice.below(8),
        1 => bytes.fill(0),
        2 => bytes.iter_mut().for_each(|byte| *byte = dice.below(256) as u8),
        _ => open.read_exact_at(&mut bytes, dice.below(sectors) * SECTOR_BYTES).expect("it is that long"),
    }
    open.write_all_at(&bytes, at).expect("written");
    open.sync_all().expect("flushed");
}

/// Where each record of a journal begins and ends, in sectors of its file.
fn records(folder: &Path) -> Vec<(PathBuf, u64, u64)> {
    let mut found = Vec::new();
    for file in files(folder, "segment-") {
        let bytes = std::fs::read(&file).expect("it can be read");
        let number = path(&file).rsplit('-').next().and_then(|number| number.parse().ok()).expect("it is numbered");
        let mut at = 0;
        while at < bytes.len() {
            at += match Block::decode(&bytes[at..at + BLOCK_BYTES]) {
                Block::Head(Twin::Header, head) if head.segment == SegmentId(number) && head.offset == at as u64 => {
                    let (from, span) = (at as u64, head.span());
                    found.push((file.clone(), from / SECTOR_BYTES, (from + span) / SECTOR_BYTES));
                    span as usize
                }
                Block::Head(..) | Block::Newer(_) | Block::Other => BLOCK_BYTES,
            };
        }
    }
    found
}

/// Spoils a sector or a few, each in a record of these.
fn spoil_records(among: &[(PathBuf, u64, u64)], dice: &mut Dice) -> u64 {
    let places = 1 + dice.below(4);
    for _ in 0..places {
        let (file, from, upto) = &among[dice.below(among.len() as u64) as usize];
        spoil(file, from + dice.below(upto - from), dice);
    }
    places
}

#[test]
fn a_journal_that_rots_anywhere() {
    run("sectors anywhere in the journal", |folder, dice| spoil_records(&records(folder), dice));
}

#[test]
fn a_journal_that_rots_at_its_end() {
    run("sectors of the last records", |folder, dice| {
        let records = records(folder);
        spoil_records(&records[records.len().saturating_sub(6)..], dice)
    });
}

#[test]
fn images_that_rot() {
    run("sectors of the newest image", |folder, dice| {
        let images = files(folder, "image-");
        let newest = images.last().expect("an image was taken");
        let sectors = std::fs::metadata(newest).expect("it is there").len() / SECTOR_BYTES;
        spoil(newest, dice.below(sectors), dice);
        1
    });
}

#[test]
fn copies_of_the_hard_state_that_rot() {
    run("copies of the hard state", |folder, dice| {
        let file = folder.join("hard-state");
        let (copies, sectors_apart) = (1 + dice.below(3), (64 << 10) / SECTOR_BYTES);
        let first = dice.below(4);
        (0..copies).for_each(|copy| spoil(&file, (first + copy) % 4 * sectors_apart + dice.below(2) * 7, dice));
        copies
    });
}

/// The power goes for all three at once, in mid-batch.
#[test]
fn power_cuts() {
    let Some(mut cell) = Cell::start_on_a_disk(3, 1 << 30, SMALL) else { return };
    let mut dice = Dice(u64::from(std::process::id()));
    println!("power cuts: seed {}", dice.0);
    let mut tally = Tally::default();
    let mut bulk = Bulk::of(&cell);
    let load = Load::start(3, &cell.endpoints(), &[cell.endpoints()]);
    for _ in 0..trials() {
        load.progress(20 + dice.below(40));
        bulk.write();
        cell.disk().cut_power();
        let statuses = cell.wait_for_two_ends();
        assert!(statuses.iter().all(|status| *status == Some(40)), "a disk error has its own status: {statuses:?}");
        cell.disk().remount();
        let started = Instant::now();
        (0..3).for_each(|index| cell.restart(index));
        load.progress(10);
        for index in 0..3 {
            let ended = comes_back(&mut cell, index);
            assert_eq!(ended, None, "a power cut needs no operator: {}", cell.logs());
            bulk.check(&cell, index);
        }
        tally.by_itself += 1;
        tally.longest = tally.longest.max(started.elapsed());
    }
    load.finish(&cell.endpoints());
    cell.wait_until_equal();
    tally.print("power cuts of all three");
}
