//! `quorate dev` on a folder that is there: it goes on with what it finds, and makes nothing anew in silence.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::cell::{PATIENCE, QUORATE, folder, path, run};

fn dev(dir: &Path, more: &[&str]) -> Output {
    run(&[&["dev", "--replicas", "1", "--dir", path(dir), "--set", "journal.segment=8MiB"], more].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_lost_folder_is_not_made_anew_in_silence() {
    let home = folder();
    let made = dev(home.path(), &["--exec", "true"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    std::fs::remove_dir_all(home.path().join("replica-1")).expect("it was made");
    let again = dev(home.path(), &["--exec", "true"]);
    let words = text(&again.stderr);
    assert_eq!(again.status.code(), Some(33), "{words}");
    assert!(words.contains("replica-1 is gone") && words.contains("quorate recover --no-ask"), "{words}");
    assert!(!home.path().join("replica-1").exists(), "nothing was made");
}

#[test]
fn a_cell_that_was_left_half_made_is_made_to_its_end() {
    let home = folder();
    let made = dev(home.path(), &["--exec", "true"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let config = std::fs::read_to_string(home.path().join("cell.toml")).expect("the configuration");
    std::fs::rename(home.path().join("cell.toml"), home.path().join("cell.making")).expect("as a crash leaves it");
    std::fs::remove_dir_all(home.path().join("replica-1")).expect("it was made");
    let again = dev(home.path(), &["--exec", "true"]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stderr));
    assert_eq!(std::fs::read_to_string(home.path().join("cell.toml")).expect("the configuration"), config);
}

#[test]
fn settings_of_one_run_are_not_written_into_the_configuration() {
    let home = folder();
    let made = dev(home.path(), &["--exec", "true"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let path = home.path().join("cell.toml");
    let commented = std::fs::read_to_string(&path).expect("the configuration") + "# mine\n";
    std::fs::write(&path, &commented).expect("it can be written");
    let run = dev(
        home.path(),
        &["--set", "paxos.lease=1s", "--exec", "tr '\\0' ' ' < /proc/$(cat $QUORATE_DEV_DIR/replica-1.pid)/cmdline"],
    );
    assert_eq!(run.status.code(), Some(0), "{}", text(&run.stderr));
    assert!(text(&run.stdout).contains("--set paxos.lease=1s"), "the process has it: {}", text(&run.stdout));
    assert_eq!(std::fs::read_to_string(&path).expect("the configuration"), commented, "the file is as it was");
}

#[test]
fn a_cell_that_runs_elsewhere_keeps_its_ports() {
    let home = folder();
    let made = dev(home.path(), &["--exec", "true"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let config = home.path().join("cell.toml");
    let before = std::fs::read_to_string(&config).expect("the configuration");
    let mut server = Command::new(QUORATE)
        .args(["start", "--config", path(&config)])
        .arg(home.path().join("replica-1"))
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let address = before.lines().find_map(|line| line.strip_prefix("client = \"")).expect("an address");
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address.trim_end_matches('"')).is_err() {
        assert!(Instant::now() < deadline, "the replica does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    let refused = dev(home.path(), &["--exec", "true"]);
    let after = std::fs::read_to_string(&config).expect("the configuration");
    server.kill().expect("it runs");
    server.wait().expect("it can be waited for");
    assert_eq!(refused.status.code(), Some(31), "{}", text(&refused.stderr));
    assert_eq!(after, before, "nothing is changed for a cell that cannot be started");
}

#[test]
fn a_cell_whose_dev_was_killed_starts_again_at_once_where_it_was() {
    let home = folder();
    let made = dev(home.path(), &["--exec", "true"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let before = std::fs::read_to_string(home.path().join("cell.toml")).expect("the configuration");
    for _ in 0..3 {
        let (mut running, lines) = serving(&["--dir", path(home.path())]);
        running.kill().expect("it runs");
        running.wait().expect("it can be waited for");
        drop(lines);
        let again = dev(home.path(), &["--exec", "true"]);
        assert_eq!(again.status.code(), Some(0), "{}", text(&again.stderr));
        let after = std::fs::read_to_string(home.path().join("cell.toml")).expect("the configuration");
        assert_eq!(after, before, "its ports are what they were");
    }
}

#[test]
fn a_cell_serves_on_when_nobody_reads_its_story_to_the_end() {
    let home = folder();
    let mut running = Command::new(QUORATE)
        .args(["dev", "--replicas", "1", "--set", "journal.segment=8MiB", "--dir", path(home.path())])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    drop(running.stdout.take());
    let config = home.path().join("cell.toml");
    let deadline = Instant::now() + PATIENCE;
    let address = loop {
        assert!(Instant::now() < deadline, "the cell is made");
        let text = std::fs::read_to_string(&config).unwrap_or_default();
        if let Some(address) = text.lines().find_map(|line| line.strip_prefix("client = \"")) {
            break address.trim_end_matches('"').to_owned();
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let read = run(&["stat", "/", "--endpoints", &address, "--timeout", "20s"]);
    assert_eq!(read.status.code(), Some(0), "{}", text(&read.stderr));
    // Long after it said that it serves.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(running.try_wait().expect("it can be waited for"), None, "it runs until it is told to stop");
    let pid = rustix::process::Pid::from_child(&running);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    assert_eq!(running.wait().expect("it can be waited for").code(), Some(0));
}

#[test]
fn a_cell_that_cannot_be_made_leaves_no_folder() {
    let refused = Command::new(QUORATE)
        .args(["dev", "--set", "paxos.no-such-setting=1", "--exec", "true"])
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mine = format!("quorate-dev-{}-", refused.id());
    let status = refused.wait_with_output().expect("it can be waited for").status;
    assert_eq!(status.code(), Some(11));
    let left = std::fs::read_dir("/var/tmp").expect("it is there").flatten();
    let left = left.filter(|entry| entry.file_name().to_string_lossy().starts_with(&mine));
    assert_eq!(left.count(), 0, "its folder is removed");
}

/// A `dev` that has said that it serves, and what else it says.
fn serving(more: &[&str]) -> (std::process::Child, impl Iterator<Item = String> + use<>) {
    let mut running = Command::new(QUORATE)
        .arg("dev")
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(running.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("serving after")), "it serves");
    (running, lines)
}
