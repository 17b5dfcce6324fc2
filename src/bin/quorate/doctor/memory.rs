//! Memory that could be taken away: swap, and the bound of the control group.

use std::fs;
use std::path::{Path, PathBuf};

use quorate::server::config::Size;

use super::finding::{Finding, Severity};

pub fn examine(findings: &mut Vec<Finding>) {
    let group = own_group(&fs::read_to_string("/proc/self/cgroup").unwrap_or_default());
    let areas = fs::read_to_string("/proc/swaps").unwrap_or_default();
    let bound = |name: &str| group.as_ref().and_then(|group| lowest(group, name));
    findings.push(swap(areas.lines().count().saturating_sub(1), bound("memory.swap.max")));
    findings.extend(bound("memory.max").map(group_bound));
}

fn swap(areas: usize, bound: Option<u64>) -> Finding {
    let (found, harmless) = match (areas, bound) {
        (0, _) => ("none".to_owned(), true),
        (areas, Some(0)) => (format!("{areas} areas, none of them for this group"), true),
        (areas, _) => (format!("{areas} areas"), false),
    };
    Finding::new("swap", "none, or none for the replica", found, Severity::Warn.unless(harmless))
        .why("a replica that is paged out misses its leases, and memory on disk is memory that can rot")
        .fix("swapoff -a and no swap in /etc/fstab; or MemorySwapMax=0 in the unit")
}

fn group_bound(bound: u64) -> Finding {
    let severity = Severity::Warn.unless(bound >= MEMORY_MIN);
    Finding::new(
        "memory of the control group",
        format!("at least {}", Size(MEMORY_MIN)),
        Size(bound >> 20 << 20).to_string(),
        severity,
    )
    .why("past it the kernel kills the replica; the whole state is held in memory")
    .fix("raise MemoryMax of the unit or slice")
}

/// The folder of the group this process is in, where the host has one hierarchy of groups.
fn own_group(table: &str) -> Option<PathBuf> {
    let name = table.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new("/sys/fs/cgroup").join(name))
}

/// The lowest of a bound from `group` upwards.
fn lowest(group: &Path, name: &str) -> Option<u64> {
    let bounds = group.ancestors().filter_map(|group| fs::read_to_string(group.join(name)).ok()?.trim().parse().ok());
    bounds.min()
}

/// The values kept for peers, receive buffers and queues, before the first node.
const MEMORY_MIN: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_is_harmless_where_the_replica_has_none() {
        assert_eq!(swap(0, None).severity, Severity::Ok);
        assert_eq!(swap(1, Some(0)).severity, Severity::Ok);
        assert_eq!(swap(1, None).severity, Severity::Warn);
        assert_eq!(swap(2, Some(1 << 30)).severity, Severity::Warn);
        assert_eq!((group_bound(64 << 20).severity, group_bound(8 << 30).severity), (Severity::Warn, Severity::Ok));
    }

    #[test]
    fn a_bound_is_the_lowest_on_the_way_up() {
        assert_eq!(own_group("0::/system.slice/x.service\n"), Some("/sys/fs/cgroup/system.slice/x.service".into()));
        assert_eq!(own_group("3:cpu:/\n"), None);
        let root = tempfile::tempdir().expect("a folder");
        let group = root.path().join("slice/unit");
        fs::create_dir_all(&group).expect("made");
        assert_eq!(lowest(&group, "memory.max"), None);
        fs::write(group.join("memory.max"), "max\n").expect("written");
        fs::write(root.path().join("slice/memory.max"), "4096\n").expect("written");
        fs::write(root.path().join("memory.max"), "8192\n").expect("written");
        assert_eq!(lowest(&group, "memory.max"), Some(4096));
    }
}
