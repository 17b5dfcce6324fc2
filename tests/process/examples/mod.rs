//! The examples on the pages of `quorate::client` that are neither in its guide nor of a recipe, performed on a cell: the pages
//! show these files.

mod handle;
mod saved;
mod start;
mod streams;

use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use quorate::client::{CreateOptions, Error, Result, block_on_timeout};

use super::cell::{Cell, PATIENCE};

/// Runs an example that waits for events, however many there are, and gives up if it has too few.
fn done_in_time<T: Send + 'static>(example: impl FnOnce() -> Result<T> + Send + 'static) -> T {
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(example()));
    receiver.recv_timeout(3 * PATIENCE).expect("it comes to its end").expect("a healthy cell")
}

#[test]
fn the_first_example_does_what_it_says() {
    let cell = Cell::start(3, "");
    let client = cell.connect();
    // Whoever tries it out runs it again, on what the first run left there.
    for run in 1..=2 {
        start::start(&format!("quorate://{}/apps/db?session=10s", cell.endpoints())).expect("a healthy cell");
        let (data, stat) = client.get("/apps/db/config").wait_timeout(PATIENCE).expect("below the root");
        assert_eq!((&data[..], stat.version), (&b"v2"[..], run));
        let leader = client.exists("/apps/db/leader").wait_timeout(PATIENCE).expect("an answer");
        assert_eq!(leader, None, "it went with its session, which was closed");
    }
}

#[test]
fn a_handle_is_told_that_its_node_is_gone() {
    let cell = Cell::start(1, "");
    let (client, other) = (cell.connect(), cell.connect());
    let asked = client.clone();
    done_in_time(move || handle::hold_open(&asked, &other));
    let left = client.list("/services/web").wait_timeout(PATIENCE).expect("its parent stays");
    assert!(left.0.is_empty(), "{:?}", left.0);
}

#[test]
fn a_process_that_follows_another_does_again_only_what_was_not_done() {
    let cell = Cell::start(1, "");
    let home = tempfile::tempdir().expect("a folder");
    let (target, file) = (cell.endpoints(), home.path().join("session"));
    let observer = cell.connect();
    observer.create("/balance", "100", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    let first = saved::begin(&target, &file).expect("a healthy cell");
    let second = saved::go_on(&target, &file).expect("the session lives");
    let (data, stat) = observer.get("/balance").wait_timeout(PATIENCE).expect("it is there");
    assert_eq!((&data[..], stat.version), (&b"90"[..], 1), "once");
    let late = first.sync().wait_timeout(PATIENCE);
    assert!(matches!(late, Err(Error::SessionTaken { .. })), "{late:?}");
    second.close().wait_timeout(PATIENCE).expect("closed");
}

#[test]
fn streams_are_awaited_and_waited_for() {
    let cell = Cell::start(1, "");
    let client = cell.connect();
    for path in ["/app", "/app/one"] {
        client.create(path, "", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    }
    let paths = block_on_timeout(streams::awaited(&client), PATIENCE).expect("in time").expect("a healthy cell");
    assert_eq!(paths, ["/app", "/app/one", "/app/last"]);
    let paths = done_in_time(move || streams::waited_for(&client));
    assert_eq!(paths, ["/app", "/app/last", "/app/one", "/app/last", "/app/more"]);
}

#[test]
fn every_example_of_the_library_is_a_file_that_is_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut pages, mut folders) = (String::new(), vec![root.join("src/client")]);
    while let Some(folder) = folders.pop() {
        for path in listed(&folder) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("it is text");
            let bare = text.lines().map(str::trim_start).find(|line| {
                line.strip_prefix("//! ```")
                    .or(line.strip_prefix("/// ```"))
                    .is_some_and(|kind| kind.contains("no_run"))
            });
            assert_eq!(bare, None, "{}: put it into a file below tests/process that a test runs", path.display());
            pages += &text;
        }
    }
    for folder in ["examples", "guide", "recipe_examples"] {
        for path in listed(&root.join("tests/process").join(folder)) {
            let name = path.file_name().expect("it was listed").to_string_lossy().into_owned();
            let shown = pages.contains(&format!("tests/process/{folder}/{name}"));
            assert!(shown || name == "mod.rs", "{folder}/{name} is shown on no page");
        }
    }
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).expect("it is there").map(|entry| entry.expect("listed").path()).collect()
}
