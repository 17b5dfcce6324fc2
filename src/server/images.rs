//! Images in a replica's folder: which are there, which of them the start loads, and which go.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::failure::{Code, Failure};
use crate::journal::hard_state::ImagePointer;
use crate::namespace::Namespace;
use crate::paxos::{CellId, Slot};
use crate::replica::{ImageFileError, ImageHead, ImageReader};
use crate::runtime::disk;

/// What a start takes from the images.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The state up to the last slot of `kept`; empty if there is none.
    pub(super) namespace: Namespace,
    /// The image that was loaded, and before it the one to fall back on.
    pub(super) kept: Vec<Slot>,
}

impl Loaded {
    /// Everything up to there is in the namespace.
    pub(super) fn upto(&self) -> Slot {
        self.kept.last().copied().unwrap_or_default()
    }
}

/// Loads the newest whole image up to the one that `pointer` names. Images above it were never used; they are not looked
/// at. `seed` is the namespace's.
pub(super) fn load(folder: &Path, cell: CellId, pointer: Option<ImagePointer>, seed: u64) -> Result<Loaded, Failure> {
    let upto = pointer.map_or(Slot(0), |pointer| pointer.slot);
    let mut slots = list(folder).map_err(|error| Failure::io(Code::DiskFailed, "list", folder, &error))?;
    slots.retain(|slot| *slot <= upto);
    while let Some(slot) = slots.pop() {
        let path = image_path(folder, slot);
        match read(&path, cell, slot, seed) {
            Ok((head, namespace)) => {
                tracing::info!("loaded the image up to slot {}, revision {}", slot.0, head.revision);
                let kept = slots.last().copied().into_iter().chain([slot]).collect();
                return Ok(Loaded { namespace, kept });
            }
            Err(Unusable::Newer(error)) => {
                return Err(Failure::new(Code::NewerFormat, format!("{}: {error}", path.display())));
            }
            Err(Unusable::Damaged(found)) => {
                tracing::warn!("{}: {found}; the start goes on from what was before it", path.display());
            }
        }
    }
    Ok(Loaded { namespace: Namespace::new(seed), kept: Vec::new() })
}

/// Removes every image but those of `kept`, and what a crash left unfinished.
pub(super) fn remove_others(folder: &Path, kept: &[Slot]) -> io::Result<()> {
    for slot in list(folder)?.into_iter().filter(|slot| !kept.contains(slot)) {
        std::fs::remove_file(image_path(folder, slot))?;
    }
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
    Damaged(String),
}

fn read(path: &Path, cell: CellId, slot: Slot, seed: u64) -> Result<(ImageHead, Namespace), Unusable> {
    let damaged = |error: io::Error| Unusable::Damaged(error.to_string());
    let judged = |error: ImageFileError| match error {
        ImageFileError::NewerFormat { .. } => Unusable::Newer(error),
        _ => Unusable::Damaged(error.to_string()),
    };
    let mut file = File::open(path).map_err(damaged)?;
    let mut reader = ImageReader::new(seed);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer).map_err(damaged)? {
            0 => break,
            count => reader.add(&buffer[..count]).map_err(judged)?,
        }
    }
    let (head, namespace) = reader.finish(cell).map_err(judged)?;
    if head.slot != slot {
        return Err(Unusable::Damaged(format!("it is the image up to slot {}", head.slot.0)));
    }
    Ok((head, namespace))
}

/// What is read at once.
const READ_BYTES: usize = 1 << 20;
