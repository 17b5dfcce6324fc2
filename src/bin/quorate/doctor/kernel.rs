//! The kernel: its age, and what it gives a ring.

use quorate::runtime::background::Background;
use quorate::runtime::{Options, Ring, probe};

use super::finding::{Finding, Severity};

pub fn examine(findings: &mut Vec<Finding>) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let severity = Severity::Fatal.unless(version(&release).is_some_and(|version| version >= OLDEST));
    findings.push(
        Finding::new("kernel", format!("Linux {}.{} or newer", OLDEST.0, OLDEST.1), release.trim(), severity)
            .why("receives into provided buffers, deferred completions and the alignment of direct writes came by then")
            .fix("boot a newer kernel"),
    );
    match probe::abilities() {
        Err(error) => findings.push(
            Finding::new("io_uring", "a ring", error.to_string(), Severity::Fatal)
                .why("sockets and journal share one ring per core; there is no other way")
                .fix("sysctl kernel.io_uring_disabled=0, and allow the io_uring calls in the container's seccomp profile"),
        ),
        Ok(abilities) => {
            let missing: Vec<&str> = abilities.operations.iter().filter(|(_, known)| !known).map(|(name, _)| *name).collect();
            let there = abilities.operations.len() - missing.len();
            let found = match missing.is_empty() {
                true => format!("all {there}"),
                false => format!("all but {}", missing.join(", ")),
            };
            findings.push(
                Finding::new("io_uring operations", format!("{}", abilities.operations.len()), found, Severity::Fatal.unless(missing.is_empty()))
                    .why("the loop uses each of them")
                    .fix("boot a newer kernel"),
            );
            let found = if abilities.deferred { "deferred to the loop" } else { "cooperative" };
            findings.push(
                Finding::new("io_uring completions", "deferred to the loop", found, Severity::Warn.unless(abilities.deferred))
                    .why("completions that interrupt the loop cost it time")
                    .fix("boot Linux 6.1 or newer"),
            );
            examine_whole_ring(findings);
        }
    }
}

/// A ring as a server's core has it, and the executor beside it: with their buffers, tables and locked memory.
fn examine_whole_ring(findings: &mut Vec<Finding>) {
    let ring = Ring::new(Options::default());
    let (found, severity) = match &ring {
        Ok(_) => ("set up".to_owned(), Severity::Ok),
        Err(error) => (error.to_string(), Severity::Fatal),
    };
    findings.push(Finding::new("a core's ring", "set up", found, severity).fix("see the finding"));
    let Ok(ring) = ring else { return };
    let (found, severity) = match Background::start(None, ring.waker()) {
        Ok(_) => ("started".to_owned(), Severity::Ok),
        Err(error) => (error.to_string(), Severity::Fatal),
    };
    findings.push(
        Finding::new("background executor", "started", found, severity)
            .why("segments are prepared and images written by it")
            .fix("allow more locked memory: LimitMEMLOCK=infinity in the unit, or ulimit -l"),
    );
}

/// `6.12.9-amd64` is (6, 12).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

const OLDEST: (u32, u32) = (6, 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_as_numbers() {
        assert_eq!(version("6.12.9-amd64\n"), Some((6, 12)));
        assert!(version("6.10.0") > version("6.9.99"));
        assert!(version("5.19.0").is_some_and(|old| old < OLDEST));
        assert_eq!(version("unknown"), None);
    }

    #[test]
    fn the_kernel_that_runs_the_tests_will_do() {
        let mut findings = Vec::new();
        examine(&mut findings);
        assert!(findings.len() >= 5, "{findings:?}");
        assert!(findings.iter().all(|finding| finding.severity != Severity::Fatal), "{findings:?}");
    }
}
