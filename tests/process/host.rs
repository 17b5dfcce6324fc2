//! A replica and its host: what the service manager is told, what `doctor`, `tune` and `iotest` find and do.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use quorate::client::CreateOptions;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::cell::{Cell, PATIENCE, QUORATE, path, run};

/// The end of the service manager, and a replica that was told of it.
struct Watched {
    manager: UnixDatagram,
    child: Child,
    heard: Vec<String>,
}

impl Watched {
    /// Starts replica 1 of a cell in which it does not run.
    fn start(cell: &Cell, socket: &Path, patience: Duration, arguments: &[&str]) -> Self {
        let manager = UnixDatagram::bind(socket).expect("a socket");
        manager.set_read_timeout(Some(Duration::from_millis(100))).expect("set");
        let log = File::create(socket.with_extension("log")).expect("a log");
        let child = Command::new(QUORATE)
            .args(["start", "--config", path(cell.config())])
            .args(arguments)
            .arg(cell.folder(0))
            .env("NOTIFY_SOCKET", socket)
            .env("WATCHDOG_USEC", patience.as_micros().to_string())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        Self { manager, child, heard: Vec::new() }
    }

    /// Waits until `count` more lines that begin so have been heard.
    fn hear(&mut self, start: &str, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut missing = count;
        let mut room = [0; 4096];
        while missing > 0 {
            assert!(Instant::now() < deadline, "waited in vain for {start}; heard {:?}", self.heard);
            let Ok(bytes) = self.manager.recv(&mut room) else { continue };
            let lines: Vec<String> = String::from_utf8_lossy(&room[..bytes]).lines().map(str::to_owned).collect();
            missing = missing.saturating_sub(lines.iter().filter(|line| line.starts_with(start)).count());
            self.heard.extend(lines);
        }
    }

    fn position(&self, start: &str) -> usize {
        self.heard
            .iter()
            .position(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("{start}: {:?}", self.heard))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_service_manager_hears_how_it_is() {
    let mut cell = Cell::start(1, "");
    let client = cell.connect();
    client.create("/kept", "x", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("created");
    drop(client);
    cell.kill(0);
    let home = tempfile::tempdir().expect("a folder");
    // One loop for everything, then a loop for the replica and one for a front that nobody uses.
    for (name, arguments) in [("one", &[][..]), ("two", &["--cores", "0,1"][..])] {
        let mut watched = Watched::start(&cell, &home.path().join(name), Duration::from_secs(2), arguments);
        watched.hear("READY=1", 1);
        assert!(watched.position("EXTEND_TIMEOUT_USEC=") < watched.position("READY=1"), "{:?}", watched.heard);
        watched.hear("STATUS=leads", 1);
        watched.hear("WATCHDOG=1", 6);
        let pid = Pid::from_raw(watched.child.id() as i32).expect("a child has a number");
        kill_process(pid, Signal::TERM).expect("it can be signalled");
        watched.hear("STOPPING=1", 1);
        let ended = watched.child.wait().expect("it ends");
        assert!(ended.success(), "{ended}");
        assert_eq!(watched.heard.iter().filter(|line| *line == "READY=1").count(), 1);
    }
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text} {}", String::from_utf8_lossy(&output.stderr)))
}

/// What a report says of one condition: (found, severity).
fn finding(report: &Value, condition: &str) -> (String, String) {
    let all = report["findings"].as_array().expect("a list");
    let one = all.iter().find(|finding| finding["condition"] == condition);
    let one = one.unwrap_or_else(|| panic!("{condition} is not in {report:#}"));
    let text = |key: &str| one[key].as_str().expect("a text").to_owned();
    assert_eq!(text("severity") != "ok", !text("fix").is_empty(), "what is wrong has a fix: {one:#}");
    (text("found"), text("severity"))
}

#[test]
fn the_doctor_tells_a_serving_replica_from_a_stranger() {
    let mut cell = Cell::start(1, "max = \"128MiB\"\nimage_after = \"8MiB\"\n");
    cell.leader();
    let config = path(cell.config()).to_owned();
    let folder = path(cell.folder(0)).to_owned();
    let examine = || json(&run(&["doctor", "--json", "--config", &config, &folder]));
    let report = examine();
    assert!(finding(&report, "replica's folder").0.contains("served by process"));
    assert_eq!(finding(&report, "client port"), ("held by this replica".into(), "ok".into()));
    assert_eq!(finding(&report, "peer port"), ("held by this replica".into(), "ok".into()));
    assert_eq!(finding(&report, "free space").1, "ok");
    assert_eq!(finding(&report, "direct writes").1, "ok");
    assert!(finding(&report, "durable 4 KiB write").0.contains("synchronous"));
    assert!(cell.status(0).is_some(), "the replica is not disturbed");

    cell.kill(0);
    assert_eq!(finding(&examine(), "client port"), ("free".into(), "ok".into()));
    let taken = std::net::TcpListener::bind(cell.address(0)).expect("the port is free");
    let report = run(&["doctor", "--config", &config, &folder]);
    assert_eq!(report.status.code(), Some(2), "{}", String::from_utf8_lossy(&report.stdout));
    let alone = |output: &Output| String::from_utf8_lossy(&output.stderr).contains("1 replica survives no crash");
    assert!(alone(&report), "{}", String::from_utf8_lossy(&report.stderr));
    let quiet = run(&["doctor", "--quiet", "--config", &config, &folder]);
    assert_eq!(quiet.status.code(), Some(2));
    assert!(!alone(&quiet), "{}", String::from_utf8_lossy(&quiet.stderr));
    let text = String::from_utf8_lossy(&quiet.stdout).into_owned();
    assert!(text.contains("client port") && !text.contains("kernel"), "{text}");
    drop(taken);
    let quiet = run(&["doctor", "--quiet", "--config", &config, &folder]);
    assert_eq!(quiet.status.code(), Some(0), "{}", String::from_utf8_lossy(&quiet.stdout));
    assert!(quiet.stdout.is_empty());

    fs::write(cell.folder(0).join("hard-state"), vec![7; 64 << 10]).expect("damaged");
    assert_eq!(finding(&examine(), "replica's folder").1, "fatal", "no copy of the hard state is left");
    let wrong = run(&["doctor", "--json", "--config", "/nonexistent", &folder]);
    assert_eq!((wrong.status.code(), finding(&json(&wrong), "configuration").1), (Some(2), "fatal".into()));
}

#[test]
fn the_doctor_calls_no_limit_fatal_under_which_everything_starts() {
    let examine = |kibibytes: u32| {
        let command = format!("ulimit -S -l {kibibytes} && exec {QUORATE} doctor --json");
        json(&Command::new("sh").args(["-c", &command]).output().expect("the shell runs"))
    };
    // Less than the executor's buffers, and enough for it to start without them. What the kernel counts for anybody but
    // root, it counts over all processes of a user: then a ring may be refused for the sake of others, and says so.
    let report = examine(1024);
    if finding(&report, "a core's ring").1 == "ok" {
        assert_eq!(finding(&report, "background executor"), ("started".into(), "ok".into()));
        assert_ne!(finding(&report, "locked memory").1, "fatal", "{report:#}");
    }
    assert_eq!(finding(&examine(256), "locked memory").1, "fatal");
}

/// A root with some of the files that settings are about.
fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a folder");
    for (file, value) in [
        ("proc/sys/net/core/somaxconn", "128"),
        ("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456"),
        ("proc/sys/vm/swappiness", "0"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never"),
        ("sys/devices/system/cpu/present", "0-3"),
        ("sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "powersave"),
        ("sys/devices/system/cpu/cpufreq/policy1/scaling_governor", "performance"),
        ("sys/block/vdz/queue/scheduler", "none [mq-deadline]"),
        ("sys/block/vdz/queue/nr_requests", "256"),
        ("etc/udev/rules.d/60-quorate-disk.rules", "# somebody's own"),
    ] {
        let file = root.path().join(file);
        fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        fs::write(file, format!("{value}\n")).expect("written");
    }
    root
}

/// Every file below `root` but what was saved, and its words.
fn contents(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for file in fs::read_dir(folder).expect("listed").map(|entry| entry.expect("an entry").path()) {
            if file.ends_with("quorate-tuning") {
                continue;
            }
            if file.is_dir() {
                folders.push(file);
            } else {
                let text = fs::read_to_string(&file).expect("text");
                let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
                // A file in which the kernel shows a choice holds the chosen word alone once it was written to.
                let words = words
                    .split_once('[')
                    .map_or(words.clone(), |(_, rest)| rest.split(']').next().unwrap_or_default().into());
                found.insert(path(file.strip_prefix(root).expect("below the root")).to_owned(), words);
            }
        }
    }
    found
}

/// What is said of the host in every test of `tune`.
const HOST: [&str; 4] = ["--disk", "vdz", "--cores", "1"];

#[test]
fn a_host_is_tuned_and_brought_back() {
    let root = root();
    let below = ["--root", path(root.path())];
    let before = contents(root.path());
    let tune = |verb: &str, more: &[&str]| run(&[&["tune", verb][..], more, &below].concat());
    let check = tune("check", &[&HOST[..], &["--json"]].concat());
    assert_eq!(check.status.code(), Some(1), "something differs");
    let report = json(&check);
    let verdict = |report: &Value, name: &str| {
        let all = report["settings"].as_array().expect("a list");
        let one = all.iter().find(|setting| setting["name"] == name).expect("it is in the profile");
        one["verdict"].as_str().expect("a text").to_owned()
    };
    assert_eq!((verdict(&report, "somaxconn"), verdict(&report, "swappiness")), ("differs".into(), "ok".into()));
    assert_eq!((verdict(&report, "nmi-watchdog"), verdict(&report, "interrupts")), ("absent".into(), "unasked".into()));

    let applied = tune("apply", &HOST);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stdout));
    let after = contents(root.path());
    assert_eq!(after["proc/sys/net/core/somaxconn"], "4096");
    assert_eq!(after["proc/sys/vm/swappiness"], "0", "less than wanted is as good");
    assert_eq!(after["sys/devices/system/cpu/cpufreq/policy0/scaling_governor"], "performance");
    assert!(after["etc/security/limits.d/90-quorate.conf"].contains("nofile 1048576"));
    assert!(after["etc/udev/rules.d/60-quorate-disk.rules"].contains("KERNEL==\"vdz\""));
    assert!(!after.contains_key("etc/systemd/system/quorate.service"), "only when it is named");
    assert!(!after["etc/udev/rules.d/60-quorate-disk.rules"].contains("nr_requests"), "the host's own is more");
    let again = tune("check", &HOST);
    assert_eq!(again.status.code(), Some(0), "{}", String::from_utf8_lossy(&again.stdout));
    let named = tune("apply", &[&["own-cores-system", "unit"][..], &HOST].concat());
    assert!(named.status.success());
    let slice = root.path().join("etc/systemd/system/system.slice.d/50-quorate.conf");
    assert_eq!(fs::read_to_string(slice).expect("made"), "[Slice]\nAllowedCPUs=0,2,3\n");

    let undone = tune("undo", &[]);
    assert!(undone.status.success(), "{}", String::from_utf8_lossy(&undone.stdout));
    assert_eq!(contents(root.path()), before);
    assert_eq!(tune("check", &["no-such-setting"]).status.code(), Some(2));
    assert!(String::from_utf8_lossy(&run(&["tune", "help", "somaxconn"]).stdout).contains("why:"));
}

#[test]
fn the_script_does_what_apply_does() {
    let (by_program, by_script) = (root(), root());
    let below = |root: &tempfile::TempDir| vec!["--root".to_owned(), path(root.path()).to_owned()];
    let tune = |verb: &str, root: &tempfile::TempDir| {
        let root = below(root);
        let root: Vec<&str> = root.iter().map(String::as_str).collect();
        run(&[&["tune", verb][..], &HOST, &root].concat())
    };
    let before = contents(by_script.path());
    let script = tune("script", &by_script);
    assert!(script.status.success());
    assert_eq!(contents(by_script.path()), before, "a script is only printed");
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), &script.stdout).expect("written");
    let shell = |verb: &str| {
        let done =
            Command::new("sh").arg(file.path()).arg(verb).env("ROOT", by_script.path()).output().expect("a shell");
        let said = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(done.status.success(), "{verb}: {said}");
        said
    };
    assert!(tune("apply", &by_program).status.success());
    let said = shell("apply");
    assert!(said.contains("128 -> 4096"), "{said}");
    assert_eq!(contents(by_script.path()), contents(by_program.path()));
    shell("apply");
    fs::write(by_script.path().join("proc/sys/net/core/somaxconn"), "1000\n").expect("written");
    let said = shell("undo");
    assert!(said.contains("left alone"), "{said}");
    let mut after = contents(by_script.path());
    assert_eq!(after.insert("proc/sys/net/core/somaxconn".into(), "128".into()).as_deref(), Some("1000"));
    assert_eq!(after, before);
    assert!(shell("undo").contains("nothing to undo"));
}

#[test]
fn a_script_leaves_alone_what_a_restart_of_the_host_reset() {
    let root = root();
    let write = |file: &str, value: &str| {
        let file = root.path().join(file);
        fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        fs::write(file, format!("{value}\n")).expect("written");
    };
    let affinity = "proc/irq/41/smp_affinity_list";
    write("sys/class/net/eth9/device/msi_irqs/41", "msix");
    write(affinity, "0-3");
    write("proc/sys/kernel/random/boot_id", "one");
    let settings = ["tune", "script", "interrupts", "somaxconn", "--card", "eth9", "--cores", "1"];
    let script = run(&[&settings[..], &["--root", path(root.path())]].concat());
    assert!(script.status.success(), "{}", String::from_utf8_lossy(&script.stderr));
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), &script.stdout).expect("written");
    let shell = |verb: &str| {
        let done = Command::new("sh").arg(file.path()).arg(verb).env("ROOT", root.path()).output().expect("a shell");
        assert!(done.status.success(), "{verb}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    shell("apply");
    assert_eq!(contents(root.path())[affinity], "0,2,3");
    // In the next start the number is another device's; the line in the sysctl's file has set its value again.
    write("proc/sys/kernel/random/boot_id", "two");
    let said = shell("undo");
    assert!(said.contains("/proc/irq/41/smp_affinity_list: left alone, the host has started since"), "{said}");
    let after = contents(root.path());
    assert_eq!((&after[affinity][..], &after["proc/sys/net/core/somaxconn"][..]), ("0,2,3", "128"));
    assert!(shell("undo").contains("nothing to undo"));
}

#[test]
fn what_was_measured_of_the_disk_decides_how_it_is_written() {
    let mut cell = Cell::start(1, "");
    cell.leader();
    let folder = path(cell.folder(0)).to_owned();
    let refused = run(&["iotest", "--time", "5ms", &folder]);
    assert_eq!(refused.status.code(), Some(31), "a running replica would be measured along");
    cell.kill(0);

    let measured = ["start", "--config", path(cell.config()), "--set", "journal.durability=measured"];
    let unmeasured = run(&[&measured[..], &[&folder]].concat());
    assert_eq!(unmeasured.status.code(), Some(11), "nothing was measured yet");
    let report = run(&["iotest", "--time", "5ms", "--json", &folder]);
    assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
    let runs = json(&report)["measured"].as_array().expect("a list").len();
    assert_eq!(runs, 12, "two methods, three sizes, two depths");

    let file = cell.folder(0).join("io.toml");
    let text = fs::read_to_string(&file).expect("written");
    let chosen = text.lines().find(|line| line.starts_with("durability = ")).expect("a method").to_owned();
    fs::write(&file, text.replace(&chosen, "durability = \"flush\"")).expect("written");
    let config = fs::read_to_string(cell.config()).expect("the configuration");
    fs::write(cell.config(), config.replace("[journal]", "[journal]\ndurability = \"measured\"")).expect("written");
    cell.restart(0);
    cell.leader();
    let client = cell.connect();
    client.create("/written", "flushed", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("created");
    assert!(cell.logs().contains("made durable by: flush"), "{}", cell.logs());
    drop(client);
    cell.kill(0);
    cell.restart(0);
    let (data, _) = cell.connect().get("/written").wait_timeout(PATIENCE).expect("it survived");
    assert_eq!(&data[..], b"flushed");
}
