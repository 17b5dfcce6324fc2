//! A snapshot: an image in a file outside its cell, with a manifest, and a new cell made from it.
//!
//! ```text
//! the image, byte for byte as a replica's file has it (replica/image_file.rs)
//! "QuorSnap" | format u16 | cell u128 | slot u64 | revision u64 | image bytes u64 | BLAKE3 of the image, 32 bytes
//!            | CRC-32 of the manifest before it u32                                   (86 bytes, little-endian)
//! ```
//!
//! The hash is that of the whole image, as `b3sum` prints it and `quorate inspect image` shows it. The image's end says that
//! of the pieces before it; whoever reads an image comes to both in one go.
//!
//! The manifest comes last, so that a file is written in one pass; a file that was not finished has none. It is written
//! under another name, flushed and renamed, so that a file under its own name is whole. Whoever writes it holds its lock
//! until then: two that save to one name would write into each other's file.
//!
//! **Restoring** makes the folders of every replica of a *new* cell, all at once, with disks that know each other: its
//! first list of members names them, as if slot 1 had been chosen with it, and an image up to that slot holds the state. So
//! a folder that is restored a second time is another disk, and has no vote in the cell that the first one founded. The
//! sessions of the old cell have ended in it, and with them their ephemeral nodes, their locks and their places in queues:
//! their clients' secrets are worth nothing there. Everything else is as it was, revisions and versions included.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::BufMut;

use super::config::Config;
use super::failure::{Code, Failure};
use super::folder;
use crate::journal::Identity;
use crate::namespace::codec::batch_header;
use crate::namespace::command::{Command, Revision};
use crate::namespace::{Applied, Namespace};
use crate::paxos::{self, CellId, Configs, Incarnation, ReplicaId, Slot};
use crate::replica::exchange::Submission;
use crate::replica::{ImageCheck, ImageFileError, ImageHead, ImageReader};
use crate::runtime::disk;

/// What a snapshot says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// The cell it was taken in.
    pub cell: CellId,
    /// Everything up to there is in it.
    pub slot: Slot,
    /// The namespace's revision there.
    pub revision: Revision,
    /// Bytes of the image.
    pub image_bytes: u64,
    /// BLAKE3 of the image, as whoever reads it to its end knows it.
    pub hash: blake3::Hash,
}

/// What a whole snapshot holds.
#[derive(Debug)]
pub struct Verified {
    /// What it says of itself; all of it is true.
    pub manifest: Manifest,
    /// The replica that took the image, and its members then.
    pub head: ImageHead,
    /// The state.
    pub namespace: Namespace,
}

/// Writes a snapshot as the pieces of its image come.
#[derive(Debug)]
pub struct SnapshotWriter {
    path: PathBuf,
    partial: PathBuf,
    file: File,
    check: ImageCheck,
    bytes: u64,
}

impl SnapshotWriter {
    /// Begins the file that is to be `path`.
    ///
    /// # Errors
    ///
    /// When there is such a file, somebody else is writing it, or none can be made.
    pub fn begin(path: &Path) -> Result<Self, Failure> {
        if path.exists() {
            return Err(Failure::new(Code::FolderNotEmpty, format!("{} is there already", path.display()))
                .why("a snapshot is never written over")
                .fix("name another file, or remove it"));
        }
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = alone(&partial)?;
        Ok(Self { path: path.to_owned(), partial, file, check: ImageCheck::default(), bytes: 0 })
    }

    /// How much of the image is written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether all of the image is.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.check.is_whole()
    }

    /// Appends the image's next bytes.
    ///
    /// # Errors
    ///
    /// When they are none of an image, or the disk refuses.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.check.add(bytes).map_err(|error| {
            let code = if error.is_newer() { Code::NewerFormat } else { Code::JournalDamaged };
            Failure::new(code, format!("what the replica sends is no image: {error}"))
                .fix("fetch it from another replica")
        })?;
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|e| Failure::io(Code::DiskFailed, "write", &self.partial, &e))
    }

    /// Begins anew: the image is not there any more.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn restart(&mut self) -> Result<(), Failure> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(|e| Failure::io(Code::DiskFailed, "empty", &self.partial, &e))?;
        (self.check, self.bytes) = (ImageCheck::default(), 0);
        Ok(())
    }

    /// Adds the manifest, makes the file durable, and gives it its name.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    ///
    /// # Panics
    ///
    /// If the image is not whole.
    pub fn finish(self) -> Result<Manifest, Failure> {
        let Self { path, partial, mut file, check, bytes } = self;
        let hash = check.hash().expect("only a whole image is finished");
        let ImageHead { identity, slot, revision, .. } = check.into_head().expect("it is whole");
        let manifest = Manifest { cell: identity.cell, slot, revision, image_bytes: bytes, hash };
        let written = file.write_all(&manifest.encode()).and_then(|()| file.sync_all());
        written.map_err(|e| Failure::io(Code::DiskFailed, "write", &partial, &e))?;
        disk::rename_durably(&partial, &path).map_err(|e| Failure::io(Code::DiskFailed, "rename to", &path, &e))?;
        Ok(manifest)
    }

    /// Leaves nothing behind.
    pub fn discard(self) {
        // What cannot be removed is a partial file under a name that says so.
        let _ = std::fs::remove_file(&self.partial);
    }
}

/// The empty file of that name, which nobody else writes while it is open.
fn alone(partial: &Path) -> Result<File, Failure> {
    let failed = |e: io::Error| Failure::io(Code::DiskFailed, "create", partial, &e);
    // What another writes must not be cut off: emptied is what is locked.
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(partial).map_err(failed)?;
    let is_ours = match file.try_lock() {
        Ok(()) => has_that_name(&file, partial).map_err(failed)?,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    };
    if !is_ours {
        return Err(Failure::new(Code::FolderInUse, format!("{} is being written", partial.display()))
            .found("another process that saves a snapshot under this name")
            .why("two would write into each other's file")
            .fix("wait for the other one, or name another file"));
    }
    file.set_len(0).map_err(failed)?;
    Ok(file)
}

/// Whether the name still leads to the file: whoever held the lock before may have given it another name, or removed it.
fn has_that_name(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads a snapshot, and checks every byte of it.
///
/// # Errors
///
/// What is wrong with it.
pub fn verify(path: &Path) -> Result<Verified, Failure> {
    let unread = |e: io::Error| Failure::io(Code::DiskFailed, "read", path, &e);
    let mut file = File::open(path).map_err(unread)?;
    let whole_bytes = file.metadata().map_err(unread)?.len();
    let image_bytes = whole_bytes.checked_sub(MANIFEST_BYTES as u64).ok_or_else(|| no_snapshot(path))?;
    let mut end = [0; MANIFEST_BYTES];
    file.seek(SeekFrom::Start(image_bytes)).and_then(|_| file.read_exact(&mut end)).map_err(unread)?;
    let manifest = Manifest::decode(&end, path)?;
    if manifest.image_bytes != image_bytes {
        return Err(damaged(path, &format!("{image_bytes} bytes of image"), &manifest.image_bytes.to_string()));
    }
    file.seek(SeekFrom::Start(0)).map_err(unread)?;
    let mut reader = ImageReader::new(folder::random_u128() as u64);
    let spoiled = |error: ImageFileError| {
        if error.is_newer() {
            return Failure::new(Code::NewerFormat, format!("{}: {error}", path.display()));
        }
        damaged(path, &error.to_string(), "the image that was saved")
    };
    let mut left = image_bytes;
    let mut buffer = vec![0; 1 << 20];
    while left > 0 {
        let room = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.read_exact(&mut buffer[..room]).map_err(unread)?;
        reader.add(&buffer[..room]).map_err(spoiled)?;
        left -= room as u64;
    }
    let other = reader.hash().filter(|found| *found != manifest.hash);
    let (head, namespace) = reader.finish(manifest.cell).map_err(spoiled)?;
    if let Some(found) = other {
        return Err(damaged(path, &found.to_hex(), &manifest.hash.to_hex()));
    }
    if (head.slot, head.revision) != (manifest.slot, manifest.revision) {
        return Err(damaged(path, "an image of another revision", "the one that the manifest names"));
    }
    Ok(Verified { manifest, head, namespace })
}

/// Makes, in `dir`, the folders of all replicas of the new cell that `config` describes (`replica-1` ...), which hold what
/// the snapshot does, but for its sessions. `wall_ms` is the time now.
///
/// # Errors
///
/// When the configuration is of the snapshot's own cell, a folder is there, or the disk refuses.
pub fn restore(config: &Config, snapshot: Verified, dir: &Path, wall_ms: u64) -> Result<Vec<PathBuf>, Failure> {
    let Verified { manifest, mut namespace, .. } = snapshot;
    if config.cell.id == manifest.cell {
        return Err(Failure::new(Code::OtherCell, "a snapshot is restored to a new cell, and this is its own")
            .found(format!("cell {} in the configuration", manifest.cell))
            .needed("an id that no cell has: 32 hexadecimal digits, say of `openssl rand -hex 16`")
            .why("clients, sessions and replicas of the old cell must not take the new one for it")
            .fix("write a new [cell] id into the configuration"));
    }
    end_sessions(&mut namespace, wall_ms);
    let disks: Vec<(ReplicaId, Incarnation)> =
        config.replicas.iter().map(|r| (r.id, Incarnation(folder::random_u128()))).collect();
    let listed = paxos::Config::of_voters(disks.iter().map(|(replica, _)| *replica));
    let bound = disks.iter().fold(listed.clone(), |list, (replica, disk)| list.bound(*replica, *disk));
    let mut configs = Configs::of_operator(listed);
    assert!(configs.chosen(FOUNDED_IN, Slot(0), bound), "the operator's list is the one that is changed");
    let folders: Vec<PathBuf> = disks.iter().map(|(replica, _)| dir.join(format!("replica-{replica}"))).collect();
    for folder in &folders {
        folder::refuse_content(folder)?;
    }
    for ((replica, incarnation), folder) in disks.iter().zip(&folders) {
        let identity = Identity { cell: config.cell.id, replica: *replica, incarnation: *incarnation };
        let head = ImageHead { identity, slot: FOUNDED_IN, revision: namespace.revision(), configs: configs.clone() };
        folder::found(config, (&head, &mut namespace), folder)?;
    }
    Ok(folders)
}

/// Ends every session, as when its time is over: by commands, each at a revision of its own.
fn end_sessions(namespace: &mut Namespace, wall_ms: u64) {
    let sessions: Vec<_> = namespace.sessions().map(|view| (view.session, view.counter)).collect();
    for (session, counter) in sessions {
        let Submission { run, count } = Submission::of(&Command::ExpireSession { session, counter });
        let batch = [&batch_header(namespace.log_time_ns(), wall_ms, count)[..], &run].concat();
        namespace.apply(&batch, &mut Applied::default());
    }
    assert_eq!(namespace.session_count(), 0, "a session that is not renewed ends");
}

impl Manifest {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MANIFEST_BYTES);
        out.put_slice(MAGIC);
        out.put_u16_le(FORMAT);
        out.put_u128_le(self.cell.0);
        out.put_u64_le(self.slot.0);
        out.put_u64_le(self.revision);
        out.put_u64_le(self.image_bytes);
        out.put_slice(self.hash.as_bytes());
        let sum = crc32fast::hash(&out);
        out.put_u32_le(sum);
        assert_eq!(out.len(), MANIFEST_BYTES, "a manifest has its length");
        out
    }

    fn decode(bytes: &[u8; MANIFEST_BYTES], path: &Path) -> Result<Self, Failure> {
        let (body, sum) = bytes.split_at(MANIFEST_BYTES - 4);
        if body[..8] != *MAGIC || crc32fast::hash(body).to_le_bytes() != sum {
            return Err(no_snapshot(path));
        }
        let found = u16::from_le_bytes([body[8], body[9]]);
        if found > FORMAT {
            return Err(Failure::new(Code::NewerFormat, format!("{} is in a newer format", path.display()))
                .found(format!("format {found}"))
                .needed(format!("format {FORMAT} at the most"))
                .fix("use the newer program"));
        }
        let number = |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().expect("8 bytes"));
        let cell = CellId(u128::from_le_bytes(body[10..26].try_into().expect("16 bytes")));
        let hash = blake3::Hash::from_bytes(body[50..82].try_into().expect("32 bytes"));
        Ok(Self { cell, slot: Slot(number(26)), revision: number(34), image_bytes: number(42), hash })
    }

    /// The hash, as `b3sum` prints that of the image.
    #[must_use]
    pub fn hash_text(&self) -> String {
        self.hash.to_hex().to_string()
    }
}

fn no_snapshot(path: &Path) -> Failure {
    Failure::new(Code::JournalDamaged, format!("{} is no snapshot", path.display()))
        .needed("a manifest at its end")
        .why("a file that was not finished has none")
        .fix("save it again: quorate snapshot save")
}

fn damaged(path: &Path, found: &str, needed: &str) -> Failure {
    Failure::new(Code::JournalDamaged, format!("{} is damaged", path.display()))
        .found(found)
        .needed(needed)
        .fix("use another copy, or save it again: quorate snapshot save")
}

/// The slot whose entry the first list of members is, in a cell that was restored.
const FOUNDED_IN: Slot = Slot(1);

const MAGIC: &[u8; 8] = b"QuorSnap";
const FORMAT: u16 = 1;
const MANIFEST_BYTES: usize = 8 + 2 + 16 + 3 * 8 + 32 + 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// An image, cut in two.
    fn image() -> [Vec<u8>; 2] {
        let (mut namespace, mut file) = (Namespace::new(7), Vec::new());
        let identity = Identity { cell: CellId(1), replica: ReplicaId(2), incarnation: Incarnation(3) };
        let configs = Configs::of_operator(paxos::Config::of_voters((1..=3).map(ReplicaId)));
        let head = ImageHead { identity, slot: Slot(20), revision: namespace.revision(), configs };
        let put = |piece: bytes::Bytes| {
            file.extend_from_slice(&piece);
            Ok::<(), std::convert::Infallible>(())
        };
        crate::replica::write_image(&head, &mut namespace, put).expect("memory takes it");
        let rest = file.split_off(file.len() / 2);
        [file, rest]
    }

    #[test]
    fn a_manifest_has_the_hash_of_the_image_before_it_and_of_no_other() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("one");
        let mut writer = SnapshotWriter::begin(&path).expect("nobody writes it");
        let [first, rest] = image();
        writer.add(&first).expect("it is an image");
        writer.restart().expect("it can be emptied");
        [&first, &rest].iter().for_each(|bytes| writer.add(bytes).expect("it is an image"));
        let saved = writer.finish().expect("it is whole");
        let image = [first, rest].concat();
        assert_eq!(saved.hash, blake3::hash(&image), "what was begun and given up is not in it");
        let Verified { manifest, .. } = verify(&path).expect("it is a snapshot");
        assert_eq!(manifest, saved);
        assert_eq!(manifest.hash_text(), blake3::hash(&image).to_hex().to_string());
        let other = Manifest { hash: blake3::hash(b"another image"), ..manifest };
        std::fs::write(&path, [image, other.encode()].concat()).expect("written");
        let refused = verify(&path).expect_err("it is another image's manifest");
        assert_eq!(refused.code(), Code::JournalDamaged, "{}", refused.report());
        assert!(refused.report().contains(&saved.hash_text()), "it says what was found: {}", refused.report());
    }

    #[test]
    fn two_do_not_write_one_snapshot() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("one");
        std::fs::write(home.path().join("one.partial"), "left by one that was killed").expect("written");
        let first = SnapshotWriter::begin(&path).expect("nobody writes it");
        assert_eq!(first.file.metadata().expect("it is open").len(), 0, "what was left is gone");
        first.file.set_len(7).expect("it grows");
        let refused = SnapshotWriter::begin(&path).expect_err("the first one does");
        assert_eq!(refused.code(), Code::FolderInUse, "{}", refused.report());
        assert_eq!(first.file.metadata().expect("it is open").len(), 7, "nothing was cut off");
        first.discard();
        assert!(!home.path().join("one.partial").exists());
        SnapshotWriter::begin(&path).expect("nobody writes it any more").discard();
    }

    #[test]
    fn a_file_that_got_its_name_meanwhile_is_left_alone() {
        let home = tempfile::tempdir().expect("a folder");
        let (path, partial) = (home.path().join("one"), home.path().join("one.partial"));
        let opened = File::create(&partial).expect("made");
        assert!(has_that_name(&opened, &partial).expect("looked at"));
        std::fs::rename(&partial, &path).expect("renamed");
        assert!(!has_that_name(&opened, &partial).expect("looked at"), "no file has that name");
        File::create(&partial).expect("made");
        assert!(!has_that_name(&opened, &partial).expect("looked at"), "another has it");
    }
}
