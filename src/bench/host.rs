//! What has to be known of a host to repeat a figure taken on it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The host of the generator; with servers on loopback, theirs too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    pub kernel: String,
    pub cpu: String,
    pub cores: usize,
    pub governor: String,
    pub memory_mib: u64,
    /// The disk under the servers' data, if they are on this host and it was said where.
    pub disk: Option<Disk>,
}

/// A disk and the file system on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    pub folder: String,
    pub device: String,
    pub model: String,
    /// `write back` means: what was written is volatile until it is flushed.
    pub write_cache: String,
    pub filesystem: String,
    pub mount_options: String,
}

impl Host {
    /// This host; `data` is where the servers keep theirs.
    #[must_use]
    pub fn here(data: Option<&Path>) -> Self {
        let cpus = read("/proc/cpuinfo");
        let of_cpu = |name: &str| {
            let line = cpus.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim()).to_owned()
        };
        let memory = read("/proc/meminfo").lines().next().and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        let governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
        Self {
            kernel: read("/proc/sys/kernel/osrelease"),
            cpu: of_cpu("model name"),
            cores: cpus.lines().filter(|line| line.starts_with("processor")).count(),
            governor: if governor.is_empty() { "not shown to this host".into() } else { governor },
            memory_mib: memory.unwrap_or(0_u64) / 1024,
            disk: data.and_then(Disk::under),
        }
    }
}

impl Disk {
    fn under(folder: &Path) -> Option<Self> {
        let number = fs::metadata(folder).ok()?.dev();
        let number = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
        let mounts = read("/proc/self/mountinfo");
        // Fields: id, parent, device, root, mount point, options, optional ones, "-", type, source, options.
        let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&number))?;
        let (place, kind) = line.split_once(" - ")?;
        let mut kind = kind.split(' ');
        let block = format!("/sys/dev/block/{number}");
        // A partition's queue is that of its disk.
        let of_queue = |name: &str| {
            let own = read(&format!("{block}/queue/{name}"));
            if own.is_empty() { read(&format!("{block}/../queue/{name}")) } else { own }
        };
        Some(Self {
            folder: folder.display().to_string(),
            filesystem: kind.next().unwrap_or_default().to_owned(),
            device: kind.next().unwrap_or_default().to_owned(),
            model: read(&format!("{block}/device/model")),
            write_cache: of_queue("write_cache"),
            mount_options: place.split(' ').nth(5).unwrap_or_default().to_owned(),
        })
    }
}

/// Which program this is: the commit that whoever built it named (`QUORATE_COMMIT`, as the scripts that measure do), and a
/// digest of its file in any case. Where none was named the working tree it lies in may have moved on since.
#[must_use]
pub fn program() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let Ok(path) = std::env::current_exe() else { return version.to_owned() };
    let digest = fs::read(&path).map(|bytes| xxhash_rust::xxh3::xxh3_64(&bytes)).unwrap_or_default();
    let folder = path.parent().unwrap_or(Path::new("/"));
    let commit = COMMIT.map_or_else(|| unnamed(folder), |commit| format!("built from {commit}"));
    format!("{version}, {commit}, file {digest:016x}")
}

/// Named when this was compiled.
const COMMIT: Option<&str> = option_env!("QUORATE_COMMIT");

fn unnamed(folder: &Path) -> String {
    let mut describe = Command::new("git");
    describe.arg("-C").arg(folder).args(["describe", "--always", "--dirty", "--abbrev=40"]);
    match describe.output().ok().filter(|output| output.status.success()) {
        Some(output) => {
            let tree = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            format!("built from a commit that was not named, its working tree when it ran at {tree}")
        }
        None => "built from a commit that was not named".into(),
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_known() {
        let host = Host::here(Some(Path::new(env!("CARGO_MANIFEST_DIR"))));
        assert!(host.cores > 0 && host.memory_mib > 0 && host.kernel.contains('.'), "{host:?}");
        let program = program();
        let commit = COMMIT.unwrap_or("a commit that was not named");
        let start = format!("{}, built from {commit}", env!("CARGO_PKG_VERSION"));
        assert!(program.starts_with(&start), "no other commit passes for the one it was built from: {program}");
    }
}
