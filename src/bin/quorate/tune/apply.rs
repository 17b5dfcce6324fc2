//! `apply` and `undo`.
//!
//! 1. What was found is saved, durably, before anything is written.
//! 2. A value or file that was ours already keeps the old value it was found with; one that somebody has changed since is
//!    found anew.
//! 3. `undo` restores only what still is as we wrote it, and says what it left alone. What a restart of the host reset, and
//!    nothing of ours set again, is not ours any more, even if it looks so: the interrupts of one start are numbered
//!    otherwise in the next.

use std::fs;
use std::io;
use std::path::Path;

use quorate::server::Failure;

use super::check::{undoer, wants_line};
use super::profile::{Kind, Profile, Setting, Value};
use super::saved::{Saved, SavedFile, SavedLine, SavedValue};
use super::target::{Host, Unasked, read_value, write_value};

/// What was done, for a person, and whether something could not be.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Report {
    pub lines: Vec<String>,
    pub failed: bool,
}

/// Sets `chosen`; with `dry` only says what that would be.
pub fn apply(profile: &Profile, chosen: &[&Setting], host: &Host, dry: bool) -> Result<Report, Failure> {
    let mut plan = Plan { saved: Saved::load(host)?, values: Vec::new(), files: Vec::new(), report: Report::default() };
    for setting in chosen {
        plan.add(profile, setting, host);
    }
    plan.compose(profile, host);
    if dry {
        let values = plan.values.iter().map(SavedValue::describe);
        plan.report.lines.extend(values.chain(plan.files.iter().map(|file| format!("{}: {}", file.path, file.verb()))));
        return Ok(plan.report);
    }
    plan.saved.store(host)?;
    let Plan { values, files, mut report, .. } = plan;
    for value in &values {
        report.note(value.describe(), write_value(&host.below(&value.path), &value.new));
    }
    for file in &files {
        let text = format!("{}: {}; takes effect by: {}", file.path, file.verb(), effect(profile, &file.path));
        report.note(text, write_file(&host.below(&file.path), &file.new));
    }
    for setting in chosen {
        let Kind::Value(value) = &setting.kind else { continue };
        if let Some(program) = undoer(profile, value, host) {
            let remedy = format!("quorate tune apply {program} --cores ..., or systemctl disable --now {program}");
            report.lines.push(format!("{}: {program} runs, and will change it again: {remedy}", setting.name));
        }
    }
    Ok(report)
}

/// Brings back what `apply` found, for these settings, or all.
pub fn undo(profile: &Profile, names: &[String], host: &Host) -> Result<Report, Failure> {
    let mut saved = Saved::load(host)?;
    let mut report = Report::default();
    let meant = |setting: &str| names.is_empty() || names.iter().any(|name| name == setting);
    let (values, kept) = saved.values.into_iter().partition(|value: &SavedValue| meant(&value.setting));
    saved.values = kept;
    for value in values {
        if !saved.is_in_force(&value, host) {
            let SavedValue { setting, path, .. } = value;
            report.lines.push(format!("{setting}: {path}: left alone, the host has started since and reset it"));
        } else if !value.restore(host, &mut report) {
            saved.values.push(value);
        }
    }
    let (lines, kept): (Vec<_>, Vec<_>) = saved.lines.into_iter().partition(|line: &SavedLine| meant(&line.setting));
    saved.lines = kept;
    for mut file in std::mem::take(&mut saved.files) {
        let touched = match &file.setting {
            Some(setting) => meant(setting),
            None => lines.iter().any(|line| line.path == file.path),
        };
        let left = text_of(profile, &saved.lines, &file.path);
        match touched {
            false => saved.files.push(file),
            true if !file.is_ours(host) => {
                report.lines.push(format!("{}: left alone, somebody has changed it since", file.path));
                saved.lines.retain(|line| line.path != file.path);
            }
            true => match left {
                Some(left) => {
                    report.note(format!("{}: lines taken out", file.path), write_file(&host.below(&file.path), &left));
                    file.new = left;
                    saved.files.push(file);
                }
                None if file.restore(host, &mut report) => {}
                None => saved.files.push(file),
            },
        }
    }
    saved.store(host)?;
    if report.lines.is_empty() {
        report.lines.push("nothing to undo".into());
    }
    Ok(report)
}

struct Plan {
    saved: Saved,
    /// To be written.
    values: Vec<SavedValue>,
    files: Vec<SavedFile>,
    report: Report,
}

impl Plan {
    fn add(&mut self, profile: &Profile, setting: &Setting, host: &Host) {
        let added = match &setting.kind {
            Kind::Value(value) => self.add_values(setting, value, host).map(|()| wants_line(setting, host)),
            Kind::Line(_) => host.fill(&setting.kept().map_or(String::new(), |kept| kept.1)).map(|_| true),
            Kind::Whole(whole) => host.fill(whole.content()).map(|contents| {
                let [content] = contents.as_slice() else { unreachable!("a file has one content") };
                self.add_file(Some(setting.name.clone()), &whole.path, content.clone(), host);
                false
            }),
            Kind::Advice(advice) => {
                self.report.lines.push(format!("{}: up to you: {}", setting.name, advice.set));
                Ok(false)
            }
        };
        match added {
            Ok(true) => self.add_lines(profile, setting, host),
            Ok(false) => {}
            Err(unasked) => self.report.lines.push(format!("{}: left out; it takes {}", setting.name, unasked.0)),
        }
    }

    fn add_values(&mut self, setting: &Setting, value: &Value, host: &Host) -> Result<(), Unasked> {
        let new = host.fill(&value.wanted)?.concat();
        let paths = value.files(host)?;
        for path in &paths {
            let found = match read_value(&host.below(path)) {
                Ok(found) => found,
                Err(error) => {
                    self.report.note(path.clone(), Err(error));
                    continue;
                }
            };
            if value.accepts(&found, &new) {
                continue;
            }
            let known = self.saved.values.iter().position(|saved| saved.path == *path);
            let earlier = known.map(|index| self.saved.values.remove(index));
            let is_ours = |saved: &SavedValue| saved.new == found && self.saved.is_in_force(saved, host);
            let old = match earlier {
                Some(saved) if is_ours(&saved) => saved.old,
                _ => found,
            };
            let (setting, boot) = (setting.name.clone(), host.boot());
            let change = SavedValue { setting, path: path.clone(), old, new: new.clone(), boot };
            self.saved.values.push(change.clone());
            self.values.push(change);
        }
        Ok(())
    }

    fn add_lines(&mut self, profile: &Profile, setting: &Setting, host: &Host) {
        let Some((file, text)) = setting.kept() else { return };
        self.saved.lines.retain(|line| line.setting != setting.name);
        let path = profile.file(file).path.clone();
        for text in host.fill(&text).unwrap_or_default() {
            self.saved.lines.push(SavedLine { setting: setting.name.clone(), path: path.clone(), text });
        }
    }

    fn compose(&mut self, profile: &Profile, host: &Host) {
        let place = |line: &SavedLine| profile.settings.iter().position(|setting| setting.name == line.setting);
        self.saved.lines.sort_by_key(place);
        for file in &profile.files {
            if let Some(text) = text_of(profile, &self.saved.lines, &file.path) {
                self.add_file(None, &file.path, text, host);
            }
        }
    }

    fn add_file(&mut self, setting: Option<String>, path: &str, new: String, host: &Host) {
        let found = fs::read_to_string(host.below(path)).ok();
        let known = self.saved.files.iter().position(|saved| saved.path == path);
        let earlier = known.map(|index| self.saved.files.remove(index));
        let ours = earlier.filter(|saved| found.as_ref() == Some(&saved.new));
        let same = found.as_ref() == Some(&new);
        if same && ours.is_none() {
            // It was so before us, and stays so after us.
            return;
        }
        let old = ours.map_or(found, |saved| saved.old);
        let change = SavedFile { setting, path: path.to_owned(), old, new };
        self.saved.files.push(change.clone());
        if !same {
            self.files.push(change);
        }
    }
}

impl SavedValue {
    fn describe(&self) -> String {
        format!("{}: {}: {} -> {}", self.setting, self.path, self.old, self.new)
    }

    /// Whether there is nothing left of it to undo.
    fn restore(&self, host: &Host, report: &mut Report) -> bool {
        let Self { setting, path, old, new, .. } = self;
        let place = host.below(path);
        match read_value(&place) {
            Ok(found) if found == *new => {
                report.note(format!("{setting}: {path}: {new} -> {old}"), write_value(&place, old))
            }
            Ok(found) if found == *old => true,
            Ok(found) => {
                let text = format!("{setting}: {path}: left alone, somebody has set it to {found} since");
                report.lines.push(text);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                report.lines.push(format!("{setting}: {path}: is gone"));
                true
            }
            Err(error) => report.note(format!("{setting}: {path}"), Err(error)),
        }
    }
}

impl SavedFile {
    fn verb(&self) -> &'static str {
        if self.old.is_some() { "replaced" } else { "made" }
    }

    fn is_ours(&self, host: &Host) -> bool {
        fs::read_to_string(host.below(&self.path)).is_ok_and(|found| found == self.new)
    }

    fn restore(&self, host: &Host, report: &mut Report) -> bool {
        let place = host.below(&self.path);
        match &self.old {
            Some(old) => report.note(format!("{}: as before", self.path), write_file(&place, old)),
            None => report.note(format!("{}: removed", self.path), fs::remove_file(&place)),
        }
    }
}

impl Report {
    /// Notes what was done, or why it was not; true if it was.
    fn note(&mut self, what: String, outcome: io::Result<()>) -> bool {
        match &outcome {
            Ok(()) => self.lines.push(what),
            Err(error) => {
                self.failed = true;
                self.lines.push(format!("{what}: failed: {error}"));
            }
        }
        outcome.is_ok()
    }
}

/// The text of a file of lines; none if it has none.
fn text_of(profile: &Profile, lines: &[SavedLine], path: &str) -> Option<String> {
    let mut text = String::new();
    let mut last = None;
    for line in lines.iter().filter(|line| line.path == path) {
        if last != Some(&line.setting) {
            let why = profile.setting(&line.setting).map_or("", |setting| &setting.why);
            text += &format!("\n# {}: {why}\n", line.setting);
        }
        last = Some(&line.setting);
        text += &format!("{}\n", line.text);
    }
    (!text.is_empty()).then(|| format!("{HEAD}\n{text}"))
}

fn effect<'p>(profile: &'p Profile, path: &str) -> &'p str {
    let whole = profile.settings.iter().find_map(|setting| match &setting.kind {
        Kind::Whole(whole) if whole.path == path => Some(whole.effect.as_str()),
        _ => None,
    });
    let kept = || profile.files.iter().find(|file| file.path == path).map(|file| file.effect.as_str());
    whole.or_else(kept).unwrap_or_default()
}

fn write_file(path: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(path.parent().expect("a file lies in a folder"))?;
    fs::write(path, text)
}

/// How a file of lines begins.
pub const HEAD: &str = "# Written by `quorate tune apply`; `quorate tune undo` takes it away.";

#[cfg(test)]
mod tests {
    use super::*;

    /// A root with some of what a host has.
    fn host() -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().expect("a folder");
        let host = Host { cores_there: 4, root: root.path().to_owned(), ..Host::default() };
        for (path, value) in [
            ("proc/sys/net/core/somaxconn", "128"),
            ("proc/sys/net/ipv4/tcp_max_syn_backlog", "65536"),
            ("proc/sys/vm/swappiness", "60"),
            ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never"),
            ("sys/block/sda/queue/scheduler", "none [mq-deadline]"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, format!("{value}\n")).expect("written");
        }
        (root, host)
    }

    fn chosen<'p>(profile: &'p Profile, names: &[&str]) -> Vec<&'p Setting> {
        names.iter().map(|name| profile.setting(name).expect("it is in the profile")).collect()
    }

    fn value(host: &Host, path: &str) -> String {
        read_value(&host.below(path)).expect("it is there")
    }

    /// Every file below the root, and its content.
    fn content(host: &Host) -> std::collections::BTreeMap<String, String> {
        let mut found = std::collections::BTreeMap::new();
        let mut folders = vec![host.root.clone()];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).expect("listed").map(|entry| entry.expect("an entry").path()) {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&host.root).expect("below the root").display().to_string();
                    found.insert(name, read_value(&path).expect("text"));
                }
            }
        }
        found
    }

    #[test]
    fn what_was_applied_is_undone_to_the_letter() {
        let (_root, mut host) = host();
        host.disks = vec!["sda".into()];
        let profile = Profile::built_in();
        let before = content(&host);
        let names = ["somaxconn", "syn-backlog", "swappiness", "huge-pages", "scheduler", "locked-memory", "unit"];
        let report = apply(&profile, &chosen(&profile, &names), &host, false).expect("applied");
        assert!(!report.failed, "{report:?}");
        assert_eq!(value(&host, "/proc/sys/net/core/somaxconn"), "4096");
        assert_eq!(value(&host, "/proc/sys/net/ipv4/tcp_max_syn_backlog"), "65536", "it was good enough");
        assert_eq!(value(&host, "/sys/block/sda/queue/scheduler"), "none");
        let sysctl = fs::read_to_string(host.below("/etc/sysctl.d/90-quorate.conf")).expect("made");
        assert!(sysctl.contains("\nnet.core.somaxconn = 4096\n") && sysctl.contains("# swappiness: "), "{sysctl}");
        assert!(!sysctl.contains("tcp_max_syn_backlog"), "the next start must not take away from it: {sysctl}");
        let rule = fs::read_to_string(host.below("/etc/udev/rules.d/60-quorate-disk.rules")).expect("made");
        assert!(rule.contains("KERNEL==\"sda\""), "{rule}");
        let limits = fs::read_to_string(host.below("/etc/security/limits.d/90-quorate.conf")).expect("made");
        assert!(limits.contains("memlock  unlimited"), "{limits}");
        assert!(host.below("/etc/systemd/system/quorate.service").is_file());
        let report = undo(&profile, &[], &host).expect("undone");
        assert!(!report.failed, "{report:?}");
        assert_eq!(content(&host), before, "nothing is left behind");
    }

    #[test]
    fn what_somebody_changed_since_is_left_alone() {
        let (_root, host) = host();
        let profile = Profile::built_in();
        let names = ["somaxconn", "swappiness", "locked-memory"];
        apply(&profile, &chosen(&profile, &names), &host, false).expect("applied");
        write_value(&host.below("/proc/sys/vm/swappiness"), "0").expect("written");
        fs::write(host.below("/etc/security/limits.d/90-quorate.conf"), "mine\n").expect("written");
        let report = undo(&profile, &[], &host).expect("undone");
        assert_eq!(value(&host, "/proc/sys/vm/swappiness"), "0");
        assert_eq!(value(&host, "/proc/sys/net/core/somaxconn"), "128");
        assert_eq!(value(&host, "/etc/security/limits.d/90-quorate.conf"), "mine");
        assert_eq!(report.lines.iter().filter(|line| line.contains("left alone")).count(), 2, "{report:?}");
        assert_eq!(undo(&profile, &[], &host).expect("undone").lines, ["nothing to undo"]);
    }

    #[test]
    fn what_a_restart_of_the_host_reset_is_not_undone() {
        let (_root, mut host) = host();
        (host.cards, host.cores) = (vec!["eth0".into()], vec![1]);
        let write = |path: &str, text: &str| host.write(path, text);
        write("/sys/class/net/eth0/device/msi_irqs/41", "msix\n");
        write("/proc/irq/41/smp_affinity_list", "0-3\n");
        write("/proc/sys/kernel/random/boot_id", "one\n");
        let profile = Profile::built_in();
        let names = ["interrupts", "swappiness", "huge-pages"];
        let settings = chosen(&profile, &names);
        apply(&profile, &settings, &host, false).expect("applied");
        undo(&profile, &[], &host).expect("undone");
        assert_eq!(value(&host, "/proc/irq/41/smp_affinity_list"), "0-3", "within one start it is undone");

        apply(&profile, &settings, &host, false).expect("applied");
        // The number is now another device's, of whose interrupts the kernel thinks the same; somebody else's file has
        // set the huge pages to what we had set them to. Only the sysctl's line is still there, and did its work.
        write("/proc/sys/kernel/random/boot_id", "two\n");
        fs::remove_file(host.below("/etc/tmpfiles.d/quorate.conf")).expect("made by us");
        let report = undo(&profile, &[], &host).expect("undone");
        assert_eq!(value(&host, "/proc/irq/41/smp_affinity_list"), "0,2,3");
        assert_eq!(value(&host, "/sys/kernel/mm/transparent_hugepage/enabled"), "madvise");
        assert_eq!(value(&host, "/proc/sys/vm/swappiness"), "60");
        let told = |name: &str| {
            report.lines.iter().any(|line| line.starts_with(name) && line.contains("the host has started since"))
        };
        assert_eq!(names.map(told), [true, false, true], "{report:?}");
        assert_eq!(undo(&profile, &[], &host).expect("undone").lines, ["nothing to undo"]);
    }

    #[test]
    fn applying_again_does_not_forget_what_was_there_first() {
        let (_root, host) = host();
        let profile = Profile::built_in();
        fs::create_dir_all(host.below("/etc/sysctl.d")).expect("made");
        fs::write(host.below("/etc/sysctl.d/90-quorate.conf"), "theirs\n").expect("written");
        apply(&profile, &chosen(&profile, &["somaxconn"]), &host, false).expect("applied");
        apply(&profile, &chosen(&profile, &["swappiness"]), &host, false).expect("applied");
        apply(&profile, &chosen(&profile, &["somaxconn"]), &host, false).expect("applied");
        let sysctl = fs::read_to_string(host.below("/etc/sysctl.d/90-quorate.conf")).expect("made");
        assert!(sysctl.contains("somaxconn = 4096") && sysctl.contains("swappiness = 1"), "{sysctl}");
        undo(&profile, &["swappiness".into()], &host).expect("undone");
        let sysctl = fs::read_to_string(host.below("/etc/sysctl.d/90-quorate.conf")).expect("still there");
        assert!(sysctl.contains("somaxconn = 4096") && !sysctl.contains("swappiness"), "{sysctl}");
        assert_eq!(value(&host, "/proc/sys/vm/swappiness"), "60");
        undo(&profile, &[], &host).expect("undone");
        assert_eq!(value(&host, "/etc/sysctl.d/90-quorate.conf"), "theirs");
        assert_eq!(value(&host, "/proc/sys/net/core/somaxconn"), "128");
    }

    #[test]
    fn a_dry_run_writes_nothing() {
        let (_root, host) = host();
        let before = content(&host);
        let profile = Profile::built_in();
        let all: Vec<&Setting> = profile.settings.iter().collect();
        let report = apply(&profile, &all, &host, true).expect("planned");
        assert_eq!(content(&host), before);
        assert!(report.lines.iter().any(|line| line.contains("somaxconn: 128 -> 4096")), "{report:?}");
        assert!(report.lines.iter().any(|line| line.contains("scheduler: left out; it takes --dir")), "{report:?}");
    }
}
