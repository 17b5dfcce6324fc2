//! Images in a replica's folder: which are there, which of them the start loads, and which go.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

use super::failure::{Code, Failure};
use super::service::Service;
use crate::journal::hard_state::ImagePointer;
use crate::namespace::{ImageLoader, Namespace};
use crate::paxos::{CellId, Slot};
use crate::replica::{ImageFileError, ImageHead, ImageUnpacker};
use crate::runtime::{clock, disk};

/// What a start takes from the images.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The state up to the last slot of `kept`; empty if there is none.
    pub(super) namespace: Namespace,
    /// The image that was loaded, and before it the one to fall back on.
    pub(super) kept: Vec<Slot>,
    /// Images with blocks that the disk does not read. They are left for a person to look at.
    pub(super) unreadable: Vec<Slot>,
}

impl Loaded {
    /// Everything up to there is in the namespace.
    pub(super) fn upto(&self) -> Slot {
        self.kept.last().copied().unwrap_or_default()
    }
}

/// Loads the newest whole image up to the one that `pointer` names. Images above it were never used; they are not looked
/// at. `seed` is the namespace's.
///
/// A block that the disk does not read is damage, as it is in the journal. Any other error says nothing of the image: the
/// start fails, and the image stays where it is.
pub(super) fn load(
    folder: &Path,
    cell: CellId,
    pointer: Option<ImagePointer>,
    seed: u64,
    service: &Service,
) -> Result<Loaded, Failure> {
    let upto = pointer.map_or(Slot(0), |pointer| pointer.slot);
    let mut slots = list(folder).map_err(|error| Failure::io(Code::DiskFailed, "list", folder, &error))?;
    slots.retain(|slot| *slot <= upto);
    let mut unreadable = Vec::new();
    while let Some(slot) = slots.pop() {
        let path = image_path(folder, slot);
        match read(&path, cell, slot, seed, service) {
            Ok((head, namespace)) => {
                tracing::info!("loaded the image up to slot {}, revision {}", slot.0, head.revision);
                let kept = slots.last().copied().into_iter().chain([slot]).collect();
                return Ok(Loaded { namespace, kept, unreadable });
            }
            Err(Unusable::Newer(error)) => {
                return Err(Failure::new(Code::NewerFormat, format!("{}: {error}", path.display())));
            }
            Err(Unusable::Io(error)) if disk::is_unreadable(&error) => {
                tracing::warn!("{}: {error}; the start goes on from what was before it", path.display());
                unreadable.push(slot);
            }
            Err(Unusable::Io(error)) => {
                return Err(Failure::io(Code::DiskFailed, "read the image", &path, &error).why(
                    "nothing says that the image is damaged, and without it the start would be from an older state",
                ));
            }
            Err(Unusable::Damaged(found)) => {
                tracing::warn!(
                    "{}: {found}; the start goes on from what was before it; look at the disk (dmesg, SMART)",
                    path.display()
                );
            }
        }
    }
    Ok(Loaded { namespace: Namespace::new(seed), kept: Vec::new(), unreadable })
}

/// With each the bytes of its file; none where that cannot be looked at: whoever reads the file next meets what is wrong.
pub(super) fn with_sizes(folder: &Path, kept: &[Slot]) -> BTreeMap<Slot, u64> {
    let size = |slot: Slot| std::fs::metadata(image_path(folder, slot)).map_or(0, |file| file.len());
    kept.iter().map(|slot| (*slot, size(*slot))).collect()
}

/// Removes every image but those of `kept`.
pub(super) fn remove_others(folder: &Path, kept: &[Slot]) -> io::Result<()> {
    for slot in list(folder)?.into_iter().filter(|slot| !kept.contains(slot)) {
        std::fs::remove_file(image_path(folder, slot))?;
    }
    disk::sync_folder(folder)
}

/// Removes what a crash left unfinished, so that its room can be used.
pub(super) fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let unfinished = path.extension().is_some_and(|extension| extension == "partial" || extension == "zeroing");
        if unfinished {
            std::fs::remove_file(path)?;
        }
    }
    disk::sync_folder(folder)
}

/// The images there, ascending.
pub(super) fn list(folder: &Path) -> io::Result<Vec<Slot>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("image-")).and_then(|n| n.parse().ok());
        found.extend(number.map(Slot));
    }
    found.sort_unstable();
    Ok(found)
}

/// Where an image lies.
pub(super) fn image_path(folder: &Path, slot: Slot) -> PathBuf {
    folder.join(format!("image-{:020}", slot.0))
}

enum Unusable {
    Newer(ImageFileError),
    Io(io::Error),
    Damaged(String),
}

impl From<ImageFileError> for Unusable {
    fn from(error: ImageFileError) -> Self {
        if error.is_newer() { Self::Newer(error) } else { Self::Damaged(error.to_string()) }
    }
}

/// Reads an image: one thread reads the file and unpacks it, this one lays the tree.
fn read(
    path: &Path,
    cell: CellId,
    slot: Slot,
    seed: u64,
    service: &Service,
) -> Result<(ImageHead, Namespace), Unusable> {
    let file = File::open(path).map_err(Unusable::Io)?;
    let mut rows = ImageLoader::new(seed);
    let head = std::thread::scope(|scope| {
        let (hand_on, chunks) = sync_channel(CHUNKS_AHEAD);
        let unpacking = scope.spawn(move || unpack(file, cell, &hand_on));
        let mut laid = 0;
        for chunk in chunks {
            service.starting(clock::now(), || format!("reading the image up to slot {}: {} MiB", slot.0, laid >> 20));
            rows.add(&chunk).map_err(ImageFileError::from)?;
            laid += chunk.len();
        }
        unpacking.join().expect("what unpacks an image does not panic")
    })?;
    let namespace = rows.finish().map_err(ImageFileError::from)?;
    if head.slot != slot {
        return Err(Unusable::Damaged(format!("it is the image up to slot {}", head.slot.0)));
    }
    Ok((head, namespace))
}

/// Hands on the chunks of an image, until they are wanted no more.
fn unpack(mut file: File, cell: CellId, hand_on: &SyncSender<Vec<u8>>) -> Result<ImageHead, Unusable> {
    let mut unpacker = ImageUnpacker::default();
    let mut buffer = vec![0; READ_BYTES];
    let mut is_wanted = true;
    while is_wanted {
        let count = file.read(&mut buffer).map_err(Unusable::Io)?;
        if count == 0 {
            break;
        }
        unpacker.add(&buffer[..count], &mut |chunk| {
            is_wanted &= hand_on.send(chunk).is_ok();
            Ok(())
        })?;
    }
    Ok(unpacker.finish(cell)?)
}

/// Chunks that wait to be laid: a MiB or so.
const CHUNKS_AHEAD: usize = 16;

/// What is read at once.
const READ_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_as_large_as_their_files() {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::write(image_path(home.path(), Slot(4)), [0; 700]).expect("written");
        let sizes = with_sizes(home.path(), &[Slot(4), Slot(5)]);
        assert_eq!(sizes, [(Slot(4), 700), (Slot(5), 0)].into(), "one is there, and one cannot be looked at");
    }
}
