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
    /// As wanted now; nothing sets it again when the host starts.
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
    let (Ok(paths), Ok(wanted)) = (host.files(&value.path), host.fill(&value.wanted)) else { return false };
    let wanted = wanted.concat();
    let found = paths.iter().filter_map(|path| read_value(&host.below(path)).ok());
    found.into_iter().any(|found| found == wanted || !value.accepts(&found, &wanted))
}

fn of_value(profile: &Profile, setting: &Setting, value: &Value, host: &Host) -> (String, String, Verdict) {
    let filled = host.files(&value.path).and_then(|paths| Ok((paths, host.fill(&value.wanted)?.concat())));
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
        true => Verdict::Right,
    };
    (found.join(", "), wish, verdict)
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
        let write = |path: &str, text: &str| {
            let path = host.below(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        };
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
