//! What was measured of a folder's disk: `io.toml`, written by `quorate iotest`, read at start.
//!
//! ```toml
//! version = 1
//! kernel = "6.12.9"                # of the host it was measured on
//! filesystem = "xfs"               # of the folder
//! device = "nvme0n1"               # what it lies on; empty if that is not known
//! write_cache = "write back"       # as the kernel sees the device; empty if that is not known
//! durability = "synchronous"       # the method to be used: "flush" or "synchronous"
//!
//! [[measured]]                     # one for each method, size and depth
//! method = "flush"
//! bytes = 4096                     # of one write
//! depth = 1                        # writes in flight
//! writes = 8123                    # how many were measured
//! per_second = 8119.0
//! p50_us = 118.0
//! p90_us = 131.0
//! p99_us = 190.0
//! p999_us = 440.0
//! max_us = 2100.0
//! ```
//!
//! Both methods cost one device write and, where the device's cache is volatile, one flush. The linked flush wakes two more
//! threads, which an idle host hides and a busy one does not (`runtime::write`); so the synchronous write is kept unless the
//! flush was clearly faster on the idle host it was measured on ([`choose`]).

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::failure::{Code, Failure};
use crate::runtime;

/// The file's name, in the folder that was measured.
pub const FILE: &str = "io.toml";

/// The format this program writes and reads.
pub const VERSION: u32 = 1;

/// One measurement of one disk.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    pub version: u32,
    pub kernel: String,
    pub filesystem: String,
    pub device: String,
    pub write_cache: String,
    pub durability: Method,
    #[serde(rename = "measured")]
    pub runs: Vec<Run>,
}

/// How writes of a size were made durable, and how long that took.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub method: Method,
    pub bytes: usize,
    pub depth: usize,
    pub writes: u64,
    pub per_second: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

/// A way to make a write durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The write, and linked to it a data flush.
    Flush,
    /// One write that completes when it is durable.
    Synchronous,
}

impl Method {
    /// Both, in the order in which they are measured.
    pub const ALL: [Self; 2] = [Self::Flush, Self::Synchronous];

    /// Its name in the file and in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flush => "flush",
            Self::Synchronous => "synchronous",
        }
    }
}

impl From<Method> for runtime::Durability {
    fn from(method: Method) -> Self {
        match method {
            Method::Flush => Self::LinkedFlush,
            Method::Synchronous => Self::SynchronousWrite,
        }
    }
}

impl Measured {
    /// What was measured of `folder`.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when there is no file, or none that this program can read.
    pub fn read(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(FILE);
        let failed = |found: String| {
            Failure::new(Code::ConfigInvalid, format!("{} cannot be used", path.display()))
                .found(found)
                .why("journal.durability = \"measured\" takes the method from it")
                .fix(format!(
                    "quorate iotest {}, or journal.durability = \"synchronous\" in the configuration",
                    folder.display()
                ))
        };
        let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
        let measured: Self = toml::from_str(&text).map_err(|error| failed(error.to_string()))?;
        if measured.version != VERSION {
            return Err(failed(format!("version {}, where this program reads {VERSION}", measured.version)));
        }
        Ok(measured)
    }

    /// The file's text.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a measurement is texts, numbers and tables")
    }
}

/// The method to use: the synchronous write, unless at every size and depth the flush was faster by a fifth in the middle,
/// and no slower in the tail.
#[must_use]
pub fn choose(runs: &[Run]) -> Method {
    let of = |method: Method| runs.iter().filter(move |run| run.method == method);
    let mut pairs = of(Method::Synchronous).map(|synchronous| {
        let twin = of(Method::Flush).find(|run| (run.bytes, run.depth) == (synchronous.bytes, synchronous.depth));
        twin.is_some_and(|run| run.p50_us * GAIN_MIN <= synchronous.p50_us && run.p99_us <= synchronous.p99_us)
    });
    match pairs.next() {
        Some(true) if pairs.all(|clearly_faster| clearly_faster) => Method::Flush,
        _ => Method::Synchronous,
    }
}

/// A smaller gain on an idle host is lost under load.
const GAIN_MIN: f64 = 1.2;

#[cfg(test)]
mod tests {
    use super::*;

    fn run(method: Method, bytes: usize, p50_us: f64, p99_us: f64) -> Run {
        Run {
            method,
            bytes,
            depth: 1,
            writes: 10,
            per_second: 1.0,
            p50_us,
            p90_us: p50_us,
            p99_us,
            p999_us: p99_us,
            max_us: p99_us,
        }
    }

    #[test]
    fn the_synchronous_write_is_kept_unless_the_flush_is_clearly_faster_everywhere() {
        let with = |small: (f64, f64), large: (f64, f64)| {
            choose(&[
                run(Method::Synchronous, 4096, 100.0, 200.0),
                run(Method::Synchronous, 65536, 300.0, 400.0),
                run(Method::Flush, 4096, small.0, small.1),
                run(Method::Flush, 65536, large.0, large.1),
            ])
        };
        assert_eq!(with((80.0, 200.0), (200.0, 300.0)), Method::Flush);
        assert_eq!(with((90.0, 200.0), (200.0, 300.0)), Method::Synchronous, "a small gain");
        assert_eq!(with((80.0, 201.0), (200.0, 300.0)), Method::Synchronous, "a longer tail");
        assert_eq!(with((80.0, 200.0), (290.0, 300.0)), Method::Synchronous, "not at every size");
        assert_eq!(choose(&[]), Method::Synchronous);
        let alone = [run(Method::Synchronous, 4096, 9.0, 9.0)];
        assert_eq!(choose(&alone), Method::Synchronous, "nothing to compare with");
    }

    #[test]
    fn the_file_is_read_as_it_was_written_and_refused_otherwise() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = Measured::read(folder.path()).expect_err("there is none").report();
        assert!(missing.contains("quorate iotest"), "{missing}");
        let measured = Measured {
            version: VERSION,
            kernel: "6.1".into(),
            filesystem: "xfs".into(),
            device: "nvme0n1".into(),
            write_cache: "write back".into(),
            durability: Method::Synchronous,
            runs: vec![run(Method::Flush, 4096, 100.5, 200.0)],
        };
        std::fs::write(folder.path().join(FILE), measured.to_toml()).expect("written");
        assert_eq!(Measured::read(folder.path()).expect("it is whole"), measured);
        for (from, to) in [("version = 1", "version = 2"), ("synchronous", "hopeful"), ("p50_us", "p51_us")] {
            std::fs::write(folder.path().join(FILE), measured.to_toml().replace(from, to)).expect("written");
            assert!(Measured::read(folder.path()).is_err(), "{from} -> {to}");
        }
    }
}
