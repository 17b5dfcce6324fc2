//! The host's settings, as `quorate tune` knows them: one profile for both.

use std::path::Path;

use super::finding::{Finding, Severity};
use super::mount::Mount;
use crate::tune::check::{Verdict, standing};
use crate::tune::profile::{Kind, Profile};
use crate::tune::target::Host;

pub fn examine(dir: Option<&Path>, mount: Option<&Mount>, findings: &mut Vec<Finding>) {
    let profile = Profile::built_in();
    let disks = mount.and_then(|mount| mount.disk.as_ref()).map(|disk| disk.name.clone());
    let host = Host { disks: disks.into_iter().collect(), cores_there: 1, root: "/".into(), ..Host::default() };
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
