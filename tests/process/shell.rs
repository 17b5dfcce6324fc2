//! The prompt, as a program types into it: each line is a plain command.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use quorate::client::CreateOptions;

use super::cell::{Cell, PATIENCE, QUORATE};

/// What is typed at a prompt on a terminal, and what the screen shows then.
fn screen(cell: &Cell, state: &std::path::Path, keys: &str) -> String {
    let shell = format!("{QUORATE} shell --timeout 20s --endpoints {}", cell.endpoints());
    let mut script = Command::new("script");
    script.args(["-qec", &shell, "/dev/null"]).env("TERM", "xterm").env("XDG_STATE_HOME", state);
    let mut script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it is part of every Debian");
    script.stdin.take().expect("it is a pipe").write_all(keys.as_bytes()).expect("it reads");
    let shown = script.wait_with_output().expect("it ends").stdout;
    String::from_utf8_lossy(&shown).into_owned()
}

#[test]
fn a_terminal_completes_paths_of_the_cell_and_keeps_a_history() {
    let cell = Cell::start(1, "");
    cell.leader();
    let client = cell.connect();
    client.create("/settings-of-all", "found", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    let state = tempfile::tempdir().expect("a folder");
    let shown = screen(&cell, state.path(), "get /sett\t\nexit\n");
    assert!(shown.contains("get /settings-of-all") && shown.contains("\nfound"), "{shown}");
    let kept = std::fs::read_to_string(state.path().join("quorate/history")).expect("a history");
    assert!(kept.contains("get /settings-of-all"), "{kept}");
    // The key that goes back brings the line back, in another prompt too.
    let shown = screen(&cell, state.path(), "\x1b[A\x1b[A\nexit\n");
    assert!(shown.contains("\nfound"), "{shown}");
}

fn typed(cell: &Cell, lines: &str) -> Output {
    let mut shell = Command::new(QUORATE)
        .args(["shell", "--endpoints", &cell.endpoints()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    shell.stdin.take().expect("it is a pipe").write_all(lines.as_bytes()).expect("it reads");
    shell.wait_with_output().expect("it ends")
}

#[test]
fn every_plain_command_is_one_of_the_prompt() {
    let cell = Cell::start(3, "");
    let done = typed(
        &cell,
        "# a remark\n\
         create /a 'two words'\n\
         quorate get /a\n\
         watch --from 0 --count 1 /a\n\
         lock /l -- printenv QUORATE_LOCK_PATH\n\
         bench mix --read-pct 50 --connections 1 --depth 1 --keys 8 --seconds 0.2 --warmup 0\n\
         get /none\n\
         gett /a\n\
         set /a 'no end\n\
         stat --json /a\n\
         exit\n\
         create /after-the-end\n",
    );
    let (said, words) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        matches!(lines[..], ["/a", "two words", watched, "/l", ..] if watched.starts_with("created ")),
        "{said} {words}"
    );
    assert!(said.contains("wrong answers 0"), "{said} {words}");
    assert!(lines.last().is_some_and(|line| line.contains("\"version\":0")), "{said} {words}");
    assert!(words.contains("error[E001]: there is no node /none"), "{words}");
    assert!(words.contains("error[E002]: unrecognized subcommand 'gett'"), "{words}");
    assert!(words.contains("error[E002]: a quotation mark is missing"), "{words}");
    assert_eq!(done.status.code(), Some(0), "that of the last line: {words}");
    let after = typed(&cell, "get /after-the-end\n");
    assert_eq!(after.status.code(), Some(1), "nothing is done after `exit`");
}
