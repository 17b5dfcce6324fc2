//! The clocks: leases trust the rate of the boot clock, and nothing else of it.

use quorate::limits::CLOCK_ERROR_PPM;
use quorate::runtime::clock::{self, Comparison};
use quorate::time::Duration;

use super::finding::{Finding, Severity};

/// `since` was begun when the examination began.
pub fn examine(since: Comparison, findings: &mut Vec<Finding>) {
    while since.span() < SPAN_MIN {
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
    findings.push(rate(since.ppm()));
    let source = std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    findings.push(source_named(source.unwrap_or_default().trim()));
    findings.push(cost(clock::reading_cost()));
    findings.push(calendar(clock::is_synchronised()));
}

fn rate(ppm: i64) -> Finding {
    // Two hosts may differ by twice what one is off.
    let bound = CLOCK_ERROR_PPM / 2;
    let severity = Severity::Fatal.unless(ppm.unsigned_abs() <= bound + MEASURING_ERROR_PPM);
    Finding::new("boot clock's rate", format!("within {bound} ppm"), format!("{ppm:+} ppm"), severity)
        .why("a lease must not last longer on one host than another counts it")
        .fix("stop what adjusts the clock's tick (adjtimex); let chrony or timesyncd slew it")
}

fn source_named(name: &str) -> Finding {
    Finding::new(
        "clock source",
        "tsc, kvm-clock or the like",
        name,
        Severity::Warn.unless(FAST_SOURCES.contains(&name)),
    )
    .why("others cost a system call, or a trip to a device, each time a clock is read")
    .fix("find out why the kernel gave up the processor's counter: dmesg | grep -i clocksource")
}

fn cost(each: Duration) -> Finding {
    let severity = Severity::Warn.unless(each <= COST_MAX);
    Finding::new(
        "reading the clock",
        format!("at most {} ns", COST_MAX.as_nanos()),
        format!("{} ns", each.as_nanos()),
        severity,
    )
    .why("it is read several times a turn of the loop")
    .fix("see the clock source")
}

fn calendar(synchronised: bool) -> Finding {
    let found = if synchronised { "synchronised" } else { "not synchronised" };
    Finding::new("calendar", "synchronised", found, Severity::Warn.unless(synchronised))
        .why("times of nodes and diagnostics are compared between hosts; leases do not depend on it")
        .fix("run chrony or systemd-timesyncd")
}

/// Those the kernel reads without leaving the process.
const FAST_SOURCES: [&str; 4] = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];

const COST_MAX: Duration = Duration::from_nanos(500);
const SPAN_MIN: Duration = Duration::from_millis(200);

/// Two readings of two clocks, a fifth of a second apart.
const MEASURING_ERROR_PPM: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_clock_is_judged_by_what_rests_on_it() {
        assert_eq!(rate(-500).severity, Severity::Ok);
        assert_eq!(rate(800).severity, Severity::Fatal);
        assert_eq!((source_named("tsc").severity, source_named("hpet").severity), (Severity::Ok, Severity::Warn));
        assert_eq!(cost(Duration::from_nanos(40)).severity, Severity::Ok);
        assert_eq!(cost(Duration::from_micros(2)).severity, Severity::Warn);
        assert_eq!((calendar(true).severity, calendar(false).severity), (Severity::Ok, Severity::Warn));
    }
}
