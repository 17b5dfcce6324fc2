//! From a folder to a replica: what the disk tells is read, judged and applied, before anything is said to anyone.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;

use super::config::Config;
use super::failure::{Code, Failure};
use super::folder::{Folder, HARD_STATE, random_u128, read_hard_state, segment_path, unreadable, zero_file};
use super::images::{self, Loaded};
use super::service::Service;
use crate::journal::hard_state::HardStateFile;
use crate::journal::{self, Finding, Identity, Journal, Known, Recovery, SegmentId, SegmentRead, Settings};
use crate::limits::{CLOCK_ERROR_PPM, LOG_MEMORY_BYTES};
use crate::namespace::Applied;
use crate::paxos::{self, Ballot, Kind, Slot, Value};
use crate::replica::{Bounds, Digests, Recovered, Replica, Storage};
use crate::runtime::background::{Background, is_for_want_of_room};
use crate::runtime::clock;
use crate::runtime::disk::{self, AlignedBuffer};
use crate::time::Duration;

/// A replica ready to run.
pub(super) struct Started {
    pub(super) replica: Replica,
    pub(super) folder: Folder,
    pub(super) identity: Identity,
    pub(super) background: Background,
}

/// Takes the folder, reads the hard state and the journal, applies what is known to be chosen, and makes the end of the
/// journal durable: from then on the replica may speak.
pub(super) fn start(
    config: &Config,
    path: &Path,
    background: Background,
    service: &Service,
    fronts: u8,
) -> Result<Started, Failure> {
    let folder = Folder::take(path)?;
    let mut hard_state = load_hard_state(config, &folder)?;
    let contents = hard_state.contents().clone();
    let identity = contents.identity;
    let mut loaded = images::load(&folder.path, identity.cell, contents.image, random_u128() as u64, service)?;
    let image_upto = loaded.upto();
    let mut segments = Segments::open(&folder, service)?;
    let known = Known {
        identity,
        start: contents.start,
        hard_state: hard_state.durable_sequence(),
        image_upto,
        chosen_upto: contents.chosen_upto,
        image_is_led_to: contents.image.is_some_and(|image| image.slot == image_upto && image.is_led_to),
    };
    let (mut applied, mut digests) = (Applied::default(), Digests::default());
    let recovery = journal::recover(&mut segments, known, &mut |slot, value: Value| {
        service.starting(clock::now(), || format!("replaying the journal: slot {}", slot.0));
        let kind = value.kind();
        if kind == Some(Kind::Commands) {
            loaded.namespace.apply(&value.body(), &mut applied);
            applied.clear();
        }
        digests.applied(slot, kind, || loaded.namespace.digest());
    })
    .map_err(|error| damaged(&folder, &error))?;
    report(&recovery.findings);
    if contents.image.is_some() && recovery.chosen_upto == Slot(0) {
        return Err(images_lost(&folder));
    }
    // A folder that is refused, as a newer program's is, stays as it was found.
    images::remove_unfinished(&folder.path)
        .map_err(|error| Failure::io(Code::DiskFailed, "clear what was left unfinished in", &folder.path, &error))?;
    let Recovery { flush, chosen_upto, accepted, highest_ballot, damaged_upto, .. } = &recovery;
    tracing::info!("the journal holds {} chosen entries, {} open ones", chosen_upto.0, accepted.len());
    let failed = |error: io::Error| Failure::io(Code::DiskFailed, "write the journal in", &folder.path, &error);
    for segment in flush {
        segments.files[segment].0.sync_data().map_err(failed)?;
    }
    let mut state = contents.paxos;
    state.promised = state.promised.max(*highest_ballot);
    let (promised, damaged_upto) = (state.promised, *damaged_upto);
    let Loaded { namespace, kept, unreadable } = loaded;
    let mut journal = Journal::open(identity, Settings { segment_bytes: config.journal.segment.0 }, recovery.tail);
    let paxos = paxos::Recovered {
        hard_state: state,
        chosen_upto: recovery.chosen_upto,
        trimmed_upto: journal.first_before(image_upto).previous(),
        accepted: recovery.accepted.clone(),
        lost: Recovery::tuples(&recovery.lost),
        maybe: Recovery::tuples(&recovery.maybe),
        unknown: recovery.unknown.clone(),
    };
    mark_start(&mut journal, &folder, service).map_err(failed)?;
    settle_hard_state(&mut hard_state, journal.start(), promised, &folder).map_err(failed)?;
    images::remove_others(&folder.path, &[&kept[..], &unreadable].concat()).map_err(failed)?;
    let images = images::with_sizes(&folder.path, &kept);
    let bounds = bounds(config);
    let storage = Storage::new(journal, hard_state, bounds);
    let scrub_period = Some(config.journal.scrub_period.0).filter(|period| *period > Duration::ZERO);
    let recovered = Recovered { paxos, namespace, images, bounds, scrub_period, damaged_upto, digests, storage };
    let replica = Replica::start(clock::now(), paxos_settings(config, identity), recovered, fronts, random_u128());
    Ok(Started { replica, folder, identity, background })
}

fn bounds(config: &Config) -> Bounds {
    let journal = &config.journal;
    Bounds {
        image_after_bytes: journal.image_after.0,
        journal_bytes_max: journal.max.0,
        keep_bytes: journal.keep_for_lagging().0,
    }
}

fn images_lost(folder: &Folder) -> Failure {
    Failure::new(Code::JournalDamaged, format!("no image in {} can be read", folder.path.display()))
        .needed("one of the two newest")
        .why("the log before them was given up, so the state can no longer be made from it")
        .fix("bring back the files image-* of this folder, or bring the replica back with an empty folder: quorate recover")
}

fn load_hard_state(config: &Config, folder: &Folder) -> Result<HardStateFile, Failure> {
    let path = folder.path.join(HARD_STATE);
    let bytes = read_hard_state(&path).map_err(|error| Failure::io(Code::DiskFailed, "read", &path, &error))?;
    let hard_state = HardStateFile::open(config.cell.id, &bytes).map_err(|error| unreadable(&path, &error))?;
    let replica = hard_state.contents().identity.replica;
    if config.replica(replica).is_none() {
        return Err(Failure::new(
            Code::UnknownReplica,
            format!("{} is not in the configuration", folder.path.display()),
        )
        .found(format!("replica {replica}"))
        .fix("add its [[replica]] to the configuration, the same on every replica"));
    }
    if hard_state.damaged_copies() > 0 {
        tracing::warn!(
            "{} of the 4 copies of {} are damaged; they are written again",
            hard_state.damaged_copies(),
            path.display()
        );
    }
    Ok(hard_state)
}

fn paxos_settings(config: &Config, identity: Identity) -> paxos::Settings {
    let section = &config.paxos;
    paxos::Settings {
        me: identity.replica,
        incarnation: identity.incarnation,
        heartbeat: section.heartbeat.0,
        lease: section.lease.0,
        lease_reads: section.lease_reads,
        margin: section.margin.0,
        clock_error_ppm: CLOCK_ERROR_PPM,
        election_min: section.election_min().0,
        election_max: section.election_max().0,
        log_memory_bytes: LOG_MEMORY_BYTES,
        seed: random_u128() as u64,
    }
}

/// Writes the record that begins this start, and with it the cut behind the last record that counts. Nothing else is
/// under way yet, so it is done in place.
fn mark_start(journal: &mut Journal, folder: &Folder, service: &Service) -> io::Result<()> {
    while !journal.started() {
        if let Some(write) = journal.next_write() {
            write_in_place(&segment_path(&folder.path, write.segment), write.offset, &write.pieces)?;
            journal.completed(clock::now(), write.id);
        } else {
            let segment = journal.segment_wanted().expect("a journal that cannot write wants a segment");
            make_segment(&segment_path(&folder.path, segment), journal.segment_bytes(), service)?;
            journal.segment_ready(segment);
        }
    }
    Ok(())
}

/// Makes a segment's file. On a disk without room it waits for room, as a running replica does, and says so.
#[expect(clippy::disallowed_methods, reason = "nothing tells when a disk has room again")]
fn make_segment(path: &Path, bytes: u64, service: &Service) -> io::Result<()> {
    let made = path.with_extension("zeroing");
    let mut is_told = false;
    loop {
        let done = zero_file(&made, bytes).and_then(|()| disk::rename_durably(&made, path));
        match done {
            Err(error) if is_for_want_of_room(&error) => {
                // What came to nothing gives its room back, if it came to a file at all.
                match std::fs::remove_file(&made) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(
                        "no room for {} ({bytes} bytes), and the journal is full: this replica starts once there is; make \
                         room on the file system",
                        path.display()
                    );
                }
                service.starting(clock::now(), || "waiting for room on the disk".to_owned());
                std::thread::sleep(ROOM_LOOKED_FOR_EVERY);
            }
            done => return done,
        }
    }
}

/// Makes all four copies of the hard state equal and durable: what was read may have been in one of them alone, or in the
/// device's cache, and a promise must not rest on that.
fn settle_hard_state(hard_state: &mut HardStateFile, start: u64, promised: Ballot, folder: &Folder) -> io::Result<()> {
    hard_state.save_start(start, promised);
    while let Some(write) = hard_state.next_write() {
        write_in_place(&folder.path.join(HARD_STATE), write.offset, &write.pieces)?;
        hard_state.completed(write.id);
    }
    Ok(())
}

fn write_in_place(path: &Path, offset: u64, pieces: &[Bytes]) -> io::Result<()> {
    let length = pieces.iter().map(Bytes::len).sum();
    let mut buffer = AlignedBuffer::zeroed(length);
    let mut at = 0;
    for piece in pieces {
        buffer[at..at + piece.len()].copy_from_slice(piece);
        at += piece.len();
    }
    let file = File::options().write(true).open(path)?;
    file.write_all_at(&buffer, offset)?;
    file.sync_data()
}

/// The segments' files, opened to be read around the page cache: what is read is what the disk holds.
struct Segments<'a> {
    files: BTreeMap<SegmentId, (File, u64)>,
    service: &'a Service,
}

impl<'a> Segments<'a> {
    fn open(folder: &Folder, service: &'a Service) -> Result<Self, Failure> {
        let mut files = BTreeMap::new();
        for segment in folder.segments()? {
            let file = folder.open_segment(segment)?;
            let bytes = file.metadata().map_err(|e| Failure::io(Code::DiskFailed, "look at", &folder.path, &e))?.len();
            files.insert(segment, (file, bytes));
        }
        Ok(Self { files, service })
    }
}

impl SegmentRead for Segments<'_> {
    fn segments(&self) -> Vec<(SegmentId, u64)> {
        self.files.iter().map(|(segment, (_, bytes))| (*segment, *bytes)).collect()
    }

    fn read(&mut self, segment: SegmentId, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.service.starting(clock::now(), || format!("reading the journal: segment {}", segment.0));
        self.files[&segment].0.read_exact_at(into, offset)
    }
}

fn report(findings: &[Finding]) {
    for finding in findings {
        if finding.is_ordinary() {
            tracing::info!("{finding}");
        } else {
            tracing::warn!("{finding}");
        }
    }
}

fn damaged(folder: &Folder, error: &journal::Error) -> Failure {
    let code = match error {
        journal::Error::Foreign { .. } => Code::OtherCell,
        journal::Error::NewerFormat { .. } => Code::NewerFormat,
        journal::Error::JournalBehind { .. } | journal::Error::HardStateBehind { .. } => Code::Amnesia,
    };
    Failure::new(code, format!("the journal in {} cannot be used: {error}", folder.path.display()))
}

/// A disk without room is asked again so often.
const ROOM_LOOKED_FOR_EVERY: std::time::Duration = std::time::Duration::from_secs(1);
