//! How this host stands against the profile.

use super::profile::{Kind, Profile, Setting, Value};
use super::target::{Host, Unasked, read_value};

/// One setting on this host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    pub name: String,
    pub subject: String,
    pub why: String,
    /// The values that are there, each once; or what a line or file is.
    pub found: String,
    pub wanted: String,
    pub verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// As wanted, now and after a restart of the host.
    Right,
    /// As wanted now; nothing sets it again when the host starts, or a program that runs changes it.
    NotKept,
    Wrong,
    /// As `Wrong`, for a setting that is applied only when it is named, and was not.
    Optional,
    /// This kernel or host has no such thing.
    Absent,
    /// It takes something to be named: what, the setting's `found` says.
    Unasked,
    /// A person decides.
    Advice,
}

impl Verdict {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Right => "ok",
            Self::NotKept => "not kept",
            Self::Wrong => "differs",
            Self::Optional => "optional",
            Self::Absent => "absent",
            Self::Unasked => "unasked",
            Self::Advice => "look",
        }
    }
}

/// How one setting stands.
pub fn standing(profile: &Profile, setting: &Setting, host: &Host) -> Standing {
    let (found, wanted, verdict) = match &setting.kind {
        Kind::Value(value) => of_value(profile, setting, value, host),
        Kind::Line(line) => {
            let kept = is_kept(profile, setting, host);
            let found = if kept { "there" } else { "not there" };
            (found.into(), line.text.clone(), if kept { Verdict::Right } else { Verdict::Wrong })
        }
        Kind::Whole(whole) => match host.fill(whole.content()) {
            Err(unasked) => asked_for(unasked),
            Ok(contents) => {
                let found = std::fs::read_to_string(host.below(&whole.path));
                let (found, verdict) = match found {
                    Ok(found) if contents.contains(&found) => ("there", Verdict::Right),
                    Ok(_) => ("another", Verdict::Wrong),
                    Err(_) => ("not there", Verdict::Wrong),
                };
                (found.into(), whole.path.clone(), verdict)
            }
        },
        Kind::Advice(advice) => (advice.check.clone(), advice.set.clone(), Verdict::Advice),
    };
    Standing {
        name: setting.name.clone(),
        subject: setting.subject.clone(),
        why: setting.why.clone(),
        found,
        wanted,
        verdict,
    }
}

/// Whether the line that keeps a setting belongs into its file: not where the host has another value that is as good, or
/// better, for which the line would be a change when it starts next.
pub fn wants_line(setting: &Setting, host: &Host) -> bool {
    let Kind::Value(value) = &setting.kind else { return matches!(setting.kind, Kind::Line(_)) };
    let (Ok(paths), Ok(wanted)) = (value.files(host), host.fill(&value.wanted)) else { return false };
    let wanted = wanted.concat();
    let found = paths.iter().filter_map(|path| read_value(&host.below(path)).ok());
    found.into_iter().any(|found| found == wanted || !value.accepts(&found, &wanted))
}

fn of_value(profile: &Profile, setting: &Setting, value: &Value, host: &Host) -> (String, String, Verdict) {
    let filled = value.files(host).and_then(|paths| Ok((paths, host.fill(&value.wanted)?.concat())));
    let (paths, wanted) = match filled {
        Ok(filled) => filled,
        Err(unasked) => return asked_for(unasked),
    };
    let wish = value.wish(&wanted);
    let mut found: Vec<String> = paths.iter().filter_map(|path| read_value(&host.below(path)).ok()).collect();
    if found.is_empty() {
        return ("none".into(), wish, Verdict::Absent);
    }
    let right = found.iter().all(|found| value.accepts(found, &wanted));
    found.sort();
    found.dedup();
    let verdict = match right {
        false => Verdict::Wrong,
        true if found.iter().all(|found| *found == wanted) && ours_elsewhere(profile, setting, host) => {
            Verdict::NotKept
        }
        true if undoer(profile, value, host).is_some() => Verdict::NotKept,
        true => Verdict::Right,
    };
    let note = undoer(profile, value, host).map(|program| format!(" ({program} runs, and changes it)"));
    (found.join(", ") + &note.unwrap_or_default(), wish, verdict)
}

/// The program that runs here and would change the value again, unless the setting of its name keeps it from that.
pub fn undoer<'v>(profile: &Profile, value: &'v Value, host: &Host) -> Option<&'v str> {
    let program = value.undone_by.as_deref()?;
    let kept_from_it = || profile.setting(program).map(|setting| standing(profile, setting, host).verdict);
    (host.runs(program) && kept_from_it() != Some(Verdict::Right)).then_some(program)
}

/// Whether the value was written by us, and the file that should keep it is gone or another.
fn ours_elsewhere(profile: &Profile, setting: &Setting, host: &Host) -> bool {
    let saved = super::saved::Saved::load(host).unwrap_or_default();
    let ours = saved.values.iter().any(|saved| saved.setting == setting.name);
    ours && setting.kept().is_some() && !is_kept(profile, setting, host)
}

/// Whether every line that keeps the setting is in its file.
fn is_kept(profile: &Profile, setting: &Setting, host: &Host) -> bool {
    let Some((file, text)) = setting.kept() else { return false };
    let there = std::fs::read_to_string(host.below(&profile.file(file).path)).unwrap_or_default();
    let wanted = host.fill(&text).unwrap_or_default();
    wanted.iter().all(|wanted| there.lines().any(|line| line == wanted))
}

fn asked_for(unasked: Unasked) -> (String, String, Verdict) {
    (format!("it takes {}", unasked.0), String::new(), Verdict::Unasked)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_verdict_has_its_cause() {
        let root = tempfile::tempdir().expect("a folder");
        let host = Host { cores_there: 2, root: root.path().to_owned(), ..Host::default() };
        let profile = Profile::built_in();
        let verdict = |name: &str| standing(&profile, profile.setting(name).expect("it is there"), &host);
        let write = |path: &str, text: &str| host.write(path, text);
        assert_eq!(verdict("somaxconn").verdict, Verdict::Absent);
        write("/proc/sys/net/core/somaxconn", "128\n");
        let wrong = verdict("somaxconn");
        assert_eq!(
            (wrong.verdict, wrong.found.as_str(), wrong.wanted.as_str()),
            (Verdict::Wrong, "128", "at least 4096")
        );
        write("/proc/sys/net/core/somaxconn", "65535\n");
        assert_eq!(verdict("somaxconn").verdict, Verdict::Right, "the host's own, and more than enough");
        assert_eq!(verdict("scheduler").verdict, Verdict::Unasked);
        assert_eq!(verdict("scheduler").found, "it takes --dir or --disk");
        assert_eq!(verdict("coalescing").verdict, Verdict::Advice);
        assert_eq!(verdict("locked-memory").verdict, Verdict::Wrong);
        write("/etc/security/limits.d/90-quorate.conf", "# x\nquorate  -  memlock  unlimited\n");
        assert_eq!(verdict("locked-memory").verdict, Verdict::Right);
        assert_eq!(verdict("unit").verdict, Verdict::Wrong);
        write("/etc/systemd/system/quorate.service", "[Unit]\n");
        assert_eq!(verdict("unit").found, "another");
    }

    #[test]
    fn what_a_daemon_would_undo_does_not_last() {
        let root = tempfile::tempdir().expect("a folder");
        let host = Host {
            cards: vec!["eth0".into()],
            cores: vec![1],
            cores_there: 4,
            root: root.path().to_owned(),
            ..Host::default()
        };
        let profile = Profile::built_in();
        let named = |name: &str| profile.setting(name).expect("it is there");
        let write = |path: &str, text: &str| host.write(path, text);
        write("/sys/class/net/eth0/device/msi_irqs/41", "msix\n");
        write("/proc/irq/41/smp_affinity_list", "0,2,3\n");
        assert_eq!(standing(&profile, named("interrupts"), &host).verdict, Verdict::Right);
        write("/proc/77/comm", "irqbalance\n");
        let moved = standing(&profile, named("interrupts"), &host);
        assert_eq!(moved.verdict, Verdict::NotKept);
        assert!(moved.found.contains("irqbalance"), "{moved:?}");
        let report = super::super::apply::apply(&profile, &[named("interrupts")], &host, false).expect("applied");
        assert!(report.lines.iter().any(|line| line.contains("quorate tune apply irqbalance")), "{report:?}");
        let both = [named("interrupts"), named("irqbalance")];
        let report = super::super::apply::apply(&profile, &both, &host, false).expect("applied");
        assert!(!report.lines.iter().any(|line| line.contains("quorate tune apply irqbalance")), "{report:?}");
        let dropped = fs::read_to_string(host.below("/etc/systemd/system/irqbalance.service.d/50-quorate.conf"));
        assert_eq!(dropped.expect("made"), "[Service]\nEnvironment=IRQBALANCE_BANNED_CPULIST=1\n");
        assert_eq!(standing(&profile, named("interrupts"), &host).verdict, Verdict::Right);
    }

    #[test]
    fn waking_is_bounded_only_where_it_is_slow() {
        let root = tempfile::tempdir().expect("a folder");
        let host = Host { cores_there: 2, root: root.path().to_owned(), ..Host::default() };
        let profile = Profile::built_in();
        let setting = profile.setting("idle-states").expect("it is there");
        let cpus = "/sys/devices/system/cpu";
        let write = |path: &str, text: &str| host.write(&format!("{cpus}/{path}"), text);
        for core in 0..2 {
            write(&format!("cpu{core}/power/pm_qos_resume_latency_us"), "0\n");
            write(&format!("cpu{core}/cpuidle/state0/latency"), "0\n");
            write(&format!("cpu{core}/cpuidle/state1/latency"), "2\n");
        }
        assert_eq!(standing(&profile, setting, &host).verdict, Verdict::Absent, "no state is deep");
        write("cpu1/cpuidle/state2/latency", "133\n");
        assert_eq!(standing(&profile, setting, &host).verdict, Verdict::Wrong, "0 is no bound");
        super::super::apply::apply(&profile, &[setting], &host, false).expect("applied");
        for core in 0..2 {
            let bound = read_value(&host.below(&format!("{cpus}/cpu{core}/power/pm_qos_resume_latency_us")));
            assert_eq!(bound.expect("there"), "10", "every core is bounded");
        }
        let kept = fs::read_to_string(host.below("/etc/tmpfiles.d/quorate.conf")).expect("made");
        assert!(kept.contains("cpu*/power/pm_qos_resume_latency_us - - - - 10\n"), "{kept}");
        write("cpu0/power/pm_qos_resume_latency_us", "n/a\n");
        assert_eq!(standing(&profile, setting, &host).verdict, Verdict::Right, "no latency at all is as good");
    }

    #[test]
    fn what_we_set_and_nothing_keeps_is_said() {
        let root = tempfile::tempdir().expect("a folder");
        let host = Host { cores_there: 2, root: root.path().to_owned(), ..Host::default() };
        let profile = Profile::built_in();
        let setting = profile.setting("swappiness").expect("it is there");
        fs::create_dir_all(host.below("/proc/sys/vm")).expect("made");
        fs::write(host.below("/proc/sys/vm/swappiness"), "60\n").expect("written");
        super::super::apply::apply(&profile, &[setting], &host, false).expect("applied");
        assert_eq!(standing(&profile, setting, &host).verdict, Verdict::Right);
        fs::remove_file(host.below("/etc/sysctl.d/90-quorate.conf")).expect("removed");
        assert_eq!(standing(&profile, setting, &host).verdict, Verdict::NotKept);
    }
}
