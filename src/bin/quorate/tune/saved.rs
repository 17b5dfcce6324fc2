//! What `apply` found before it wrote, so that `undo` can bring it back: `/var/lib/quorate-tuning/saved.json`.
//!
//! It is durable before the first setting is written: whatever a crash leaves behind can be undone.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use quorate::runtime::disk;
use quorate::server::{Code, Failure};
use serde::{Deserialize, Serialize};

use super::target::Host;

/// Where it lies, from the root.
pub const PATH: &str = "/var/lib/quorate-tuning/saved.json";

/// Everything that is ours on this host.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    pub version: u32,
    /// Values of the running kernel.
    pub values: Vec<SavedValue>,
    /// Lines that are in the kept files, in the profile's order.
    pub lines: Vec<SavedLine>,
    /// Files, whole or of lines.
    pub files: Vec<SavedFile>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedValue {
    pub setting: String,
    pub path: String,
    pub old: String,
    pub new: String,
    /// The start of the host it was set in; none where that was not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedLine {
    pub setting: String,
    /// The file's path.
    pub path: String,
    pub text: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedFile {
    /// The setting it is alone for; none for a file of lines.
    pub setting: Option<String>,
    pub path: String,
    /// None: there was no such file.
    pub old: Option<String>,
    pub new: String,
}

impl Saved {
    /// What an earlier `apply` left; nothing if there was none.
    pub fn load(host: &Host) -> Result<Self, Failure> {
        let path = place(host);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::empty()),
            Err(error) => return Err(Failure::io(Code::DiskFailed, "read", &path, &error)),
        };
        let wrong = |found: String| {
            Failure::new(Code::NewerFormat, format!("{} cannot be understood", path.display()))
                .found(found)
                .why("without it nobody knows which values are ours to undo")
                .fix("use the program that wrote it; or, if the host may stay as it is, remove the file")
        };
        let saved: Self = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if saved.version != VERSION {
            return Err(wrong(format!("version {}, where this program knows {VERSION}", saved.version)));
        }
        Ok(saved)
    }

    /// Makes it durable; gone when there is nothing in it.
    pub fn store(&self, host: &Host) -> Result<(), Failure> {
        let path = place(host);
        let failed = |error: std::io::Error| Failure::io(Code::DiskFailed, "write", &path, &error);
        let folder = path.parent().expect("it lies in a folder");
        if *self == Self::empty() {
            return match fs::remove_file(&path) {
                Ok(()) => disk::sync_folder(folder).map_err(failed),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(failed(error)),
            };
        }
        fs::create_dir_all(folder).map_err(failed)?;
        let text = serde_json::to_string_pretty(self).expect("texts and lists") + "\n";
        let made = path.with_extension("made");
        let mut file = fs::File::create(&made).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        disk::rename_durably(&made, &path).map_err(failed)
    }

    /// Whether the value is what it is because of us: set since the host started, or when it started, by lines that still
    /// are where we wrote them. Otherwise the start took ours away, and what is there is somebody else's.
    pub fn is_in_force(&self, value: &SavedValue, host: &Host) -> bool {
        let has_restarted = matches!((&value.boot, host.boot()), (Some(then), Some(now)) if *then != now);
        let mut lines = self.lines.iter().filter(|line| line.setting == value.setting).peekable();
        let is_there = |line: &SavedLine| {
            let text = fs::read_to_string(host.below(&line.path)).unwrap_or_default();
            text.lines().any(|there| there == line.text)
        };
        !has_restarted || lines.peek().is_some() && lines.all(is_there)
    }

    fn empty() -> Self {
        Self { version: VERSION, ..Self::default() }
    }
}

fn place(host: &Host) -> PathBuf {
    host.below(PATH)
}

const VERSION: u32 = 1;
