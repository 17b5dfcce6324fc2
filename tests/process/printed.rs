//! What commands print where: results in the simple form as `tests/golden/simple` has them, for scripts to rely on, and
//! diagnostics beside them.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use quorate::client::{Client, CreateOptions, LockGuard, LockOptions, Quota, QuotaBounds};

use super::cell::{Cell, PATIENCE, QUORATE};

/// Makes what the golden files are about, all but the lock and the node `here` to stay when the session ends.
fn furnish(client: &Client) -> LockGuard {
    let nodes = [
        ("/app", "", CreateOptions::permanent()),
        ("/app/backup", "", CreateOptions::permanent()),
        ("/app/config", "{\"colour\": \"blue\"}", CreateOptions::permanent()),
        ("/app/here", "x", CreateOptions::ephemeral()),
    ];
    for (path, data, options) in nodes {
        client.create(path, data, options).wait_timeout(PATIENCE).expect("it is new");
    }
    let hard = QuotaBounds { nodes: Some(10), bytes: Some(1 << 20) };
    let quota = Quota { hard, soft: QuotaBounds::default() };
    client.set_quota("/app", quota).wait_timeout(PATIENCE).expect("it fits");
    client.lock("/app/backup", LockOptions::exclusive()).wait_timeout(PATIENCE).expect("it is free")
}

/// Runs the program on the cell, with this value of `QUORATE_LOG`, and without anything else that the caller's variables say.
fn printed(cell: &Cell, args: &[&str], log: Option<&str>) -> Output {
    let mut command = Command::new(QUORATE);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("QUORATE_")) {
        command.env_remove(name);
    }
    command.envs(log.map(|filter| ("QUORATE_LOG", filter)));
    command.args(args).env("QUORATE_ENDPOINTS", cell.endpoints()).env("QUORATE_TIMEOUT", "20s");
    command.output().expect("the program runs")
}

/// Whether a word that was printed is the one written, or of the kind that is written in its place.
fn fits(written: &str, word: &str) -> bool {
    let hexadecimal = |digits: usize| word.len() == digits && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    match written {
        "<number>" => word.bytes().all(|byte| byte.is_ascii_digit()),
        "<session>" => hexadecimal(16),
        "<incarnation>" => hexadecimal(32),
        "<address>" => word.parse::<SocketAddr>().is_ok(),
        "<word>" => true,
        written => written == word,
    }
}

/// Whether each line has the words of the one written, in their order; how many spaces are between them is for the eyes.
fn all_fit(written: &str, printed: &str) -> bool {
    let words = |text: &str| text.lines().map(|line| line.split_whitespace().count()).collect::<Vec<_>>();
    words(written) == words(printed)
        && written.split_whitespace().zip(printed.split_whitespace()).all(|(written, word)| fits(written, word))
}

#[test]
fn the_simple_form_is_what_the_golden_files_say() {
    let cell = Cell::start(1, "");
    cell.leader();
    let client = cell.connect();
    let _held = furnish(&client);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/simple");
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("the folder").flatten().map(|file| file.path()).collect();
    files.sort();
    assert!(files.len() >= 12, "the files are there: found {}", files.len());
    let mut differing = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a golden file");
        let (first, written) = text.split_once('\n').expect("a command, and what it prints");
        let line = first.strip_prefix("$ quorate ").expect("a command");
        let done = printed(&cell, &line.split(' ').collect::<Vec<_>>(), None);
        let (out, words) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        if !done.status.success() || !all_fit(written, &out) {
            differing.push(format!("{}: it prints\n{out}{words}where the file has\n{written}", file.display()));
        }
    }
    assert!(differing.is_empty(), "scripts read these, so that they never change:\n{}", differing.join("\n"));
}

#[test]
fn what_the_library_does_is_told_beside_the_result_to_who_asks_for_it() {
    let cell = Cell::start(1, "");
    cell.leader();
    let client = cell.connect();
    client.create("/a", "the value", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("it is new");
    for (log, told) in [(None, false), (Some("quorate::client=debug"), true), (Some("off"), false)] {
        let done = printed(&cell, &["get", "/a"], log);
        let (out, words) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert_eq!((done.status.code(), &*out), (Some(0), "the value\n"), "{log:?}: {words}");
        let says = |word: &str| words.lines().any(|line| line.contains("DEBUG") && line.contains(word));
        assert_eq!(says("connecting") && says("connected"), told, "{log:?}: {words}");
        assert!(told || words.is_empty(), "{log:?}: {words}");
    }
}

#[test]
fn fitting_is_strict_where_no_kind_is_named() {
    assert!(all_fit("a <number>\n", "a    17\n") && all_fit("<session> x", "00000000000000ff x"));
    for (written, printed) in
        [("a b", "a\nb"), ("a", "a b"), ("a\n", ""), ("<number>", "1s"), ("<session>", "ff"), ("a", "b")]
    {
        assert!(!all_fit(written, printed), "{written:?} {printed:?}");
    }
}
