//! The page "three hosts from nothing", performed in three network namespaces of our own, with an address each.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use super::cell::{QUORATE, folder};
use super::privileges;

/// The page's blocks, by what stands behind their three marks.
fn blocks(page: &str) -> BTreeMap<&str, String> {
    let mut blocks: BTreeMap<&str, String> = BTreeMap::new();
    let mut inside = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(_), Some(_)) => inside = None,
            (Some(mark), None) => inside = Some(mark),
            (None, Some(mark)) => *blocks.entry(mark).or_default() += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    blocks
}

/// The marks of the page's blocks, and the files in which `three_hosts.sh` finds them.
const PARTS: [(&str, &str); 8] = [
    ("toml", "page.toml"),
    ("sh tune", "tune.sh"),
    ("sh", "each.sh"),
    ("sh unit", "unit.sh"),
    ("sh start", "start.sh"),
    ("sh once", "once.sh"),
    ("sh whole", "whole.sh"),
    ("sh after", "after.sh"),
];

/// Blocks that would change the machine: its users, what is installed on it, what it starts.
const NOT_PERFORMED: &str = "sh host";

/// Where the page and the unit put things, and where they are put here.
const PLACES: [(&str, &str); 2] = [("/etc/quorate/", "/srv/quorate/"), ("/var/lib/quorate/", "/srv/quorate/")];

/// A shell in network, mount and process namespaces of its own; all of it ends with that shell, which ends in time. What the
/// caller's own variables say of a cell is not for it.
fn isolated(script: &str) -> Command {
    let mut command = Command::new("timeout");
    // A first process of its namespace hears no SIGTERM.
    command.args(["-k", "5", "300", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.args(["sh", "-c", script]).stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("QUORATE_")) {
        command.env_remove(name);
    }
    command
}

#[test]
fn three_hosts_come_from_nothing() {
    if !privileges::may("making network namespaces") {
        return;
    }
    let made =
        "mount -t tmpfs none /run && mkdir /run/netns && ip netns add here && ip link add name bridge0 type bridge";
    let can = isolated(made).output();
    assert!(
        can.as_ref().is_ok_and(|tried| tried.status.success()),
        "`unshare` and `ip` have to be there, and to be let make network namespaces and bridges (a container may not be; \
         QUORATE_TEST_UNPRIVILEGED=1 passes over this test, and those that mount file systems): {can:?}"
    );
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning/three-hosts.md")).expect("the page");
    let blocks = blocks(&page);
    let home = folder();
    let is_known = |mark: &&str| *mark == NOT_PERFORMED || PARTS.iter().any(|(part, _)| part == mark);
    assert!(blocks.keys().all(is_known), "all is performed, or known not to be: {blocks:?}");
    let unit = include_str!("../../tuning/systemd/quorate.service");
    let by_unit = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/")).expect("it starts a replica");
    assert_eq!(blocks["sh start"].trim_end(), by_unit, "page and unit have one command, and the same paths");
    let user = unit.lines().find_map(|line| line.strip_prefix("User=")).expect("it names a user");
    for (part, words) in
        [(NOT_PERFORMED, format!("useradd --system --user-group {user}\n")), ("sh", format!("runuser -u {user} -- "))]
    {
        assert!(blocks[part].contains(&words), "the unit's user is made, and owns the folder: {}", blocks[part]);
    }
    for (mark, file) in PARTS {
        let before = match mark {
            // A shell that starts a replica becomes it, so that the plug can be pulled.
            "sh start" => "echo $$ > /srv/quorate/pid\nexec ",
            // There is no such user here.
            "sh" => "runuser() { shift 3; \"$@\"; }\n",
            "sh tune" | "sh unit" => "quorate() { command quorate \"$@\" --root /srv/quorate/root; }\n",
            _ => "",
        };
        let block = PLACES.iter().fold(blocks[mark].clone(), |block, (place, here)| block.replace(place, here));
        std::fs::write(home.path().join(file), format!("{before}{block}")).expect("written");
    }
    let program = Path::new(QUORATE).parent().expect("a folder").display();
    let path = format!("{program}:{}", std::env::var("PATH").expect("a path"));
    let done = isolated(include_str!("three_hosts.sh")).env("HOME_DIR", home.path()).env("PATH", path).output();
    let done = done.expect("it runs");
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let logs =
        (1..=3).map(|n| std::fs::read_to_string(home.path().join(format!("replica{n}.log"))).unwrap_or_default());
    assert!(done.status.success(), "{}: {out}\n{err}\n{}", done.status, logs.collect::<Vec<_>>().join("\n--\n"));
    for step in ["tuned", "performed", "survived the loss of host", "looked up again"] {
        assert!(out.contains(step), "{out}\n{err}");
    }
}
