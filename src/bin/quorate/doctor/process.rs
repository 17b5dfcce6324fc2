//! What a process may take of this host: locked memory, open files, cores.

use quorate::runtime::{Options, background, cores};
use quorate::server::Config;
use quorate::server::config::Size;
use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use super::finding::{Finding, Severity};

pub fn examine(config: Option<&Config>, findings: &mut Vec<Finding>) {
    let limit = |resource| getrlimit(resource).current.unwrap_or(u64::MAX);
    let cores_used = config.map_or(1, |config| config.server.cores.len().max(1));
    findings.push(locked_memory(limit(Resource::Memlock), locks_without_limit(), cores_used));
    findings.push(open_files(config, limit(Resource::Nofile)));
    findings.push(core_files(limit(Resource::Core)));
    if let Some(config) = config {
        findings.extend(cores_named(&config.server.cores, &cores::allowed(), sibling_lists));
    }
}

/// The executor refuses a low limit whoever asks; what it and the rings lock is counted only where the limit is held
/// against this process. Buffers for which there is no room are left unregistered, which is slower and no more; a ring for
/// whose queues there is none is refused.
fn locked_memory(limit: u64, is_exempt: bool, cores: usize) -> Finding {
    let queues = cores as u64 * QUEUES_BYTES;
    let counted = if is_exempt { 0 } else { background::LOCKED_BYTES + queues };
    // The executor takes what its buffers need, if it is there, before the other cores make their rings.
    let after_the_buffers = limit.checked_sub(background::LOCKED_BYTES).filter(|left| *left >= QUEUES_BYTES);
    let severity = match limit {
        _ if limit < EXECUTOR_LIMIT_MIN => Severity::Fatal,
        _ if limit >= counted => Severity::Ok,
        _ if after_the_buffers.unwrap_or(limit) < queues => Severity::Fatal,
        _ => Severity::Warn,
    };
    let found = if limit == u64::MAX { "unlimited".to_owned() } else { Size(limit).to_string() };
    let found = if is_exempt { format!("{found}, and this process is exempt") } else { found };
    let required = format!("at least {}", Size(counted.max(EXECUTOR_LIMIT_MIN)));
    Finding::new("locked memory", required, found, severity)
        .why(
            "the queues of rings and the executor's buffers are locked; buffers that are not cost each bulk write time",
        )
        .fix("LimitMEMLOCK=infinity in the unit; elsewhere: quorate tune apply locked-memory")
}

/// Whether the kernel counts nothing of what this process locks. It asks for the capability in the host's own user
/// namespace: the root of a container that has another one has a limit like everybody else.
fn locks_without_limit() -> bool {
    let is_able = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    let namespace = std::fs::read_link("/proc/self/ns/user");
    is_able && namespace.is_ok_and(|namespace| namespace.as_os_str() == HOST_USER_NAMESPACE)
}

fn open_files(config: Option<&Config>, limit: u64) -> Finding {
    let options = Options::default();
    let files = config.map_or(u64::from(options.files), |config| config.journal.max.0 / config.journal.segment.0 + 8);
    let fronts = config.map_or(1, |config| config.server.cores.len().saturating_sub(1).max(1)) as u64;
    let wanted = files + fronts * u64::from(options.connections);
    let severity =
        if limit < files + CONNECTIONS_MIN { Severity::Fatal } else { Severity::Warn.unless(limit >= wanted) };
    Finding::new("open files", format!("at least {wanted}"), limit.to_string(), severity)
        .why("each file of the journal and each connection is one; connections past the limit are refused")
        .fix("LimitNOFILE=1048576 in the unit; elsewhere: quorate tune apply open-files")
}

fn core_files(limit: u64) -> Finding {
    let found = if limit == 0 { "not written" } else { "written" };
    Finding::new("core files", "written", found, Severity::Warn.unless(limit > 0))
        .why("a replica that aborts should leave what it takes to see why")
        .fix("LimitCORE=infinity in the unit; elsewhere: quorate tune apply core-files")
}

/// The cores of the configuration: there, ours to use, and each a whole one.
fn cores_named(named: &[usize], allowed: &[usize], siblings: impl Fn(usize) -> Vec<usize>) -> Vec<Finding> {
    if named.is_empty() {
        return Vec::new();
    }
    let refused: Vec<usize> = named.iter().copied().filter(|core| !allowed.contains(core)).collect();
    let found = if refused.is_empty() { "all may be used".to_owned() } else { format!("not allowed: {refused:?}") };
    let first = Finding::new("cores", format!("{named:?}"), found, Severity::Fatal.unless(refused.is_empty()))
        .why("a ring and its thread stay on one core")
        .fix(format!("name cores out of {allowed:?} in [server] cores, or widen the unit's AllowedCPUs"));
    let twins: Vec<usize> = named
        .iter()
        .copied()
        .filter(|core| siblings(*core).iter().any(|other| other != core && named.contains(other)))
        .collect();
    let found = if twins.is_empty() { "each a whole one".to_owned() } else { format!("share a core: {twins:?}") };
    let second = Finding::new("hyper-threads", "one a core", found, Severity::Warn.unless(twins.is_empty()))
        .why("two loops on one core slow each other down")
        .fix("leave the siblings idle");
    vec![first, second]
}

fn sibling_lists(core: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    parse_list(&std::fs::read_to_string(path).unwrap_or_default())
}

/// `0-1,4` is 0, 1, 4.
fn parse_list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

/// The executor does not start below this limit, even where the limit is not held against it.
const EXECUTOR_LIMIT_MIN: u64 = 512 << 10;

/// What one core's ring locks: 1,024 requests of 64 bytes, four times as many completions of 16, their indices, and the
/// list of receive buffers. Linux 6.18 counts them; there were kernels that charged them to the control group alone.
const QUEUES_BYTES: u64 = 140 << 10;

/// The number of the first user namespace is part of the kernel's interface.
const HOST_USER_NAMESPACE: &str = "user:[4026531837]";

/// Fewer than this serve no cell.
const CONNECTIONS_MIN: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_held_against_what_is_taken() {
        assert_eq!(open_files(None, 1 << 20).severity, Severity::Ok);
        assert_eq!(open_files(None, 1024).severity, Severity::Warn);
        assert_eq!(open_files(None, 64).severity, Severity::Fatal);
        assert_eq!((core_files(0).severity, core_files(1).severity), (Severity::Warn, Severity::Ok));
    }

    #[test]
    fn a_limit_on_locked_memory_counts_where_it_is_held_against_the_process() {
        let severity = |limit, is_exempt, cores| locked_memory(limit, is_exempt, cores).severity;
        let (low, some, usual) = (64 << 10, 1 << 20, 8 << 20);
        for is_exempt in [false, true] {
            assert_eq!(severity(low, is_exempt, 1), Severity::Fatal, "the executor refuses it");
            assert_eq!(severity(usual, is_exempt, 4), Severity::Ok);
            assert_eq!(severity(u64::MAX, is_exempt, 64), Severity::Ok);
        }
        assert_eq!(severity(some, true, 64), Severity::Ok, "nothing is counted");
        assert_eq!(severity(some, false, 1), Severity::Warn, "its buffers stay unregistered, and it starts");
        assert_eq!(severity(some, false, 8), Severity::Fatal, "no room for the queues of eight rings");
        let buffers_and_one = background::LOCKED_BYTES + QUEUES_BYTES;
        assert_eq!(severity(buffers_and_one, false, 1), Severity::Ok);
        assert_eq!(
            severity(buffers_and_one, false, 2),
            Severity::Fatal,
            "the buffers leave nothing for the second ring"
        );
        assert!(!locked_memory(low, true, 1).fix.is_empty());
    }

    #[test]
    fn cores_are_there_and_whole() {
        let severities = |named: &[usize]| {
            let pairs = |core: usize| vec![core & !1, core | 1];
            cores_named(named, &[0, 1, 2, 3], pairs).iter().map(|finding| finding.severity).collect::<Vec<_>>()
        };
        assert_eq!(severities(&[]), []);
        assert_eq!(severities(&[0, 2]), [Severity::Ok, Severity::Ok]);
        assert_eq!(severities(&[0, 1]), [Severity::Ok, Severity::Warn]);
        assert_eq!(severities(&[0, 4]), [Severity::Fatal, Severity::Ok]);
        assert_eq!(parse_list("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(parse_list(""), Vec::<usize>::new());
    }
}
