//! `quorate inspect image`: what images hold, and whether every byte of them is what was written.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use quorate::namespace::Namespace;
use quorate::replica::{ImageHead, ImageReader};
use quorate::server::{Code, Failure};
use serde_json::json;

use super::hard_state::listed;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate inspect image /var/lib/quorate/replica\n  quorate inspect image --json /backup/image-00000000000000081234"
)]
pub struct Image {
    /// An image, or a replica's folder: then all that are there
    path: PathBuf,
}

/// What an image turned out to be, or why it is none.
type Verdict = Result<Whole, String>;

struct Whole {
    head: ImageHead,
    namespace: Namespace,
    /// BLAKE3 of the file.
    hash: String,
    /// Its end said what the hash of the pieces was to be, and it is.
    says_its_hash: bool,
}

impl Image {
    pub fn run(&self) -> Result<(), Failure> {
        let _kept = if self.path.is_dir() { super::keep_away(&self.path) } else { None };
        let images = images(&self.path)?;
        if images.is_empty() {
            return Err(Failure::new(Code::NotFormatted, format!("{} holds no image", self.path.display()))
                .needed("files named image-NNNNNNNNNNNNNNNNNNNN")
                .fix(
                    "name an image, or a replica's folder; a replica takes its first image after journal.image_after",
                ));
        }
        for path in images {
            let (bytes, verdict) = read(&path)?;
            let shown =
                if crate::output::is_json() { object(&path, bytes, &verdict) } else { lines(&path, bytes, &verdict) };
            crate::print_line(&shown)?;
        }
        Ok(())
    }
}

fn images(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |error: std::io::Error| Failure::io(Code::NotFormatted, "list", path, &error);
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_prefix("image-")?.parse::<u64>().ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn read(path: &Path) -> Result<(u64, Verdict), Failure> {
    let failed = |error: std::io::Error| Failure::io(Code::DiskFailed, "read", path, &error);
    let mut file = File::open(path).map_err(failed)?;
    let mut reader = ImageReader::new(SEED);
    let (mut room, mut bytes) = (vec![0; 1 << 20], 0);
    let mut taken = Ok(());
    loop {
        let count = file.read(&mut room).map_err(failed)?;
        if count == 0 {
            break;
        }
        bytes += count as u64;
        taken = taken.and_then(|()| reader.add(&room[..count]));
    }
    let cell = reader.head().map(|head| head.identity.cell).unwrap_or_default();
    let hash = reader.hash().map(|hash| hash.to_hex().to_string()).unwrap_or_default();
    let says_its_hash = reader.says_its_hash();
    let whole = |(head, namespace)| Whole { head, namespace, hash, says_its_hash };
    Ok((bytes, taken.and_then(|()| reader.finish(cell)).map(whole).map_err(|error| error.to_string())))
}

fn lines(path: &Path, bytes: u64, verdict: &Verdict) -> String {
    let Whole { head, namespace, hash, says_its_hash } = match verdict {
        Ok(whole) => whole,
        Err(error) => return format!("{}: {bytes} bytes, not usable: {error}", path.display()),
    };
    let compared = if *says_its_hash { "" } else { ", which an image of its format does not say of itself" };
    let ImageHead { identity, slot, revision, configs, .. } = head;
    [
        format!("{}: {bytes} bytes, whole", path.display()),
        format!(
            "  taken by    replica {} of cell {}, incarnation {}",
            identity.replica, identity.cell, identity.incarnation
        ),
        format!("  up to slot  {slot}, revision {revision}; member list of slot {}", configs.newest_slot()),
        format!("  holds       {} nodes, {} sessions", namespace.tree().len(), namespace.session_count()),
        format!("  digest      {:032x}", namespace.digest()),
        format!("  BLAKE3      {hash}{compared}"),
    ]
    .join("\n")
}

fn object(path: &Path, bytes: u64, verdict: &Verdict) -> String {
    let file = path.display().to_string();
    let Whole { head, namespace, hash, says_its_hash } = match verdict {
        Ok(whole) => whole,
        Err(error) => return json!({ "file": file, "bytes": bytes, "state": "damaged", "error": error }).to_string(),
    };
    json!({
        "file": file,
        "bytes": bytes,
        "state": "whole",
        "replica": head.identity.replica.0,
        "cell": head.identity.cell.to_string(),
        "incarnation": head.identity.incarnation.to_string(),
        "slot": head.slot.0,
        "revision": head.revision,
        "config_slot": head.configs.newest_slot().0,
        "config": listed(head.configs.newest()),
        "nodes": namespace.tree().len(),
        "sessions": namespace.session_count(),
        "log_time_ns": namespace.log_time_ns(),
        "digest": format!("{:032x}", namespace.digest()),
        "blake3": hash,
        "says_its_hash": says_its_hash,
    })
    .to_string()
}

/// Nobody chooses paths against a program that only looks.
const SEED: u64 = 0;
