//! The host's settings, as `quorate tune` knows them: one profile for both.

use std::path::Path;

use quorate::server::Config;

use super::finding::{Finding, Severity};
use super::mount::Mount;
use crate::tune::check::{Verdict, standing};
use crate::tune::profile::{Kind, Profile};
use crate::tune::target::Host;

pub fn examine(dir: Option<&Path>, mount: Option<&Mount>, config: Option<&Config>, findings: &mut Vec<Finding>) {
    let profile = Profile::built_in();
    let disks = mount.and_then(|mount| mount.disk.as_ref()).map(|disk| disk.name.clone());
    let cores = config.map_or(Vec::new(), |config| config.server.cores.clone());
    let host = Host { disks: disks.into_iter().collect(), cores, ..Host::at("/".into()) };
    findings.extend(interrupts_stay_away(&profile, &host));
    for setting in profile.settings.iter().filter(|setting| !setting.by_name) {
        if !matches!(setting.kind, Kind::Value(_)) {
            continue;
        }
        let standing = standing(&profile, setting, &host);
        let severity = match standing.verdict {
            Verdict::Right => Severity::Ok,
            Verdict::Wrong | Verdict::NotKept => Severity::Warn,
            Verdict::Optional | Verdict::Absent | Verdict::Unasked | Verdict::Advice => continue,
        };
        let dir = dir.filter(|_| setting.subject == "disk").map(|dir| format!(" --dir {}", dir.display()));
        let kept = if standing.verdict == Verdict::NotKept { " (until the host restarts)" } else { "" };
        findings.push(
            Finding::new(&setting.name, standing.wanted, standing.found + kept, severity)
                .why(&setting.why)
                .fix(format!("quorate tune apply {}{}", setting.name, dir.unwrap_or_default())),
        );
    }
}

/// Whether interrupts keep off the replica's cores: the daemon that spreads them over all has to be told. Where the replica
/// has no cores of its own, or has all of them, there is nothing to tell it.
fn interrupts_stay_away(profile: &Profile, host: &Host) -> Option<Finding> {
    let setting = profile.setting(DAEMON)?;
    let cores = host.fill("{cores}").ok()?.concat();
    let (found, severity) = match (host.runs(DAEMON), standing(profile, setting, host).verdict) {
        (false, _) => ("not running".to_owned(), Severity::Ok),
        (true, Verdict::Right) => (format!("running, told to keep off {cores} when it starts"), Severity::Ok),
        (true, _) => ("running".into(), Severity::Warn),
    };
    let fix = format!("quorate tune apply {DAEMON} --cores {cores}; or systemctl disable --now {DAEMON}");
    Some(
        Finding::new(DAEMON, "not running, or kept off the replica's cores", found, severity)
            .why(&setting.why)
            .fix(fix),
    )
}

/// The daemon, and the setting that keeps it off.
const DAEMON: &str = "irqbalance";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_that_moves_interrupts_is_to_keep_off_our_cores() {
        let root = tempfile::tempdir().expect("a folder");
        let profile = Profile::built_in();
        let host = Host { root: root.path().to_owned(), ..Host::default() };
        let write = |path: &str, text: &str| host.write(path, text);
        write("sys/devices/system/cpu/present", "0-3\n");
        let found = |cores: &[usize]| {
            let host = Host { cores: cores.to_vec(), ..Host::at(root.path().to_owned()) };
            interrupts_stay_away(&profile, &host)
        };
        assert_eq!(found(&[2, 3]).expect("cores are named").severity, Severity::Ok, "it does not run");
        write("proc/77/comm", "irqbalance\n");
        let running = found(&[2, 3]).expect("cores are named");
        assert_eq!(running.severity, Severity::Warn);
        assert!(running.fix.contains("tune apply irqbalance --cores 2,3"), "{running:?}");
        assert_eq!((found(&[]), found(&[0, 1, 2, 3])), (None, None), "there is nothing to tell it");
        let told = "[Service]\nEnvironment=IRQBALANCE_BANNED_CPULIST=2,3\n";
        write("etc/systemd/system/irqbalance.service.d/50-quorate.conf", told);
        assert_eq!(found(&[2, 3]).expect("cores are named").severity, Severity::Ok);
        assert_eq!(found(&[1, 3]).expect("cores are named").severity, Severity::Warn, "it was told of others");
    }
}
