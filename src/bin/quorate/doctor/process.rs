//! What a process may take of this host: locked memory, open files, cores.

use quorate::runtime::{Options, background, cores};
use quorate::server::Config;
use quorate::server::config::Size;
use rustix::process::{Resource, getrlimit};

use super::finding::{Finding, Severity};

pub fn examine(config: Option<&Config>, findings: &mut Vec<Finding>) {
    let limit = |resource| getrlimit(resource).current.unwrap_or(u64::MAX);
    findings.push(locked_memory(limit(Resource::Memlock)));
    findings.push(open_files(config, limit(Resource::Nofile)));
    findings.push(core_files(limit(Resource::Core)));
    if let Some(config) = config {
        findings.extend(cores_named(&config.server.cores, &cores::allowed(), sibling_lists));
    }
}

fn locked_memory(limit: u64) -> Finding {
    let found = if limit == u64::MAX { "unlimited".to_owned() } else { Size(limit).to_string() };
    let required = format!("at least {}", Size(background::LOCKED_BYTES));
    Finding::new("locked memory", required, found, Severity::Fatal.unless(limit >= background::LOCKED_BYTES))
        .why("the executor's buffers are registered with the kernel, which locks them")
        .fix("LimitMEMLOCK=infinity in the unit; elsewhere: quorate tune apply locked-memory")
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

/// Fewer than this serve no cell.
const CONNECTIONS_MIN: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_held_against_what_is_taken() {
        assert_eq!(locked_memory(u64::MAX).severity, Severity::Ok);
        assert_eq!(locked_memory(64 << 10).severity, Severity::Fatal);
        assert!(!locked_memory(64 << 10).fix.is_empty());
        assert_eq!(open_files(None, 1 << 20).severity, Severity::Ok);
        assert_eq!(open_files(None, 1024).severity, Severity::Warn);
        assert_eq!(open_files(None, 64).severity, Severity::Fatal);
        assert_eq!((core_files(0).severity, core_files(1).severity), (Severity::Warn, Severity::Ok));
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
