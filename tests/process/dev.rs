//! `quorate dev` on a folder that is there: it goes on with what it finds, and makes nothing anew in silence.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::cell::{PATIENCE, QUORATE, path, run};

fn dev(dir: &Path, more: &[&str]) -> Output {
    run(&[&["dev", "--replicas", "1", "--dir", path(dir), "--set", "journal.segment=8MiB"], more].concat())
}

fn home() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("quorate-test-").tempdir_in("/var/tmp").expect("a folder")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_lost_folder_is_not_made_anew_in_silence() {
    let home = home();
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
    let home = home();
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
    let home = home();
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
    let home = home();
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
