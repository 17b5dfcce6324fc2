//! The prompt, as a program types into it: each line is a plain command.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use quorate::client::CreateOptions;

use super::cell::{Cell, PATIENCE, QUORATE, folder, path, run};

/// Runs a command on a terminal, whose keys and whose screen are pipes.
fn on_a_terminal(command: &str, state: &Path) -> Child {
    let mut script = Command::new("script");
    script.args(["-qec", command, "/dev/null"]).env("TERM", "xterm").env("XDG_STATE_HOME", state);
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it is part of every Debian")
}

/// What is typed at a prompt on a terminal, and what the screen shows then.
fn screen(cell: &Cell, state: &Path, keys: &str) -> String {
    let shell = format!("{QUORATE} shell --timeout 20s --endpoints {}", cell.endpoints());
    let mut script = on_a_terminal(&shell, state);
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

/// What a prompt begins with.
const PROMPT: &str = "quorate> ";

/// A command on a terminal, at whose prompt one line is typed after the other: what is typed before a prompt is there may get
/// lost.
struct Terminal {
    script: Child,
    keys: ChildStdin,
    screen: ChildStdout,
    /// What was shown and not looked at yet.
    shown: String,
}

/// Nothing goes on at a terminal whose test is over, or failed.
impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

impl Terminal {
    fn of(command: &str, state: &Path) -> Self {
        let mut script = on_a_terminal(command, state);
        let (keys, screen) = (script.stdin.take().expect("piped"), script.stdout.take().expect("piped"));
        Self { script, keys, screen, shown: String::new() }
    }

    /// Waits until this is shown; what is shown before it.
    fn until(&mut self, text: &str) -> String {
        loop {
            if let Some((before, after)) = self.shown.split_once(text) {
                let (before, after) = (before.to_owned(), after.to_owned());
                self.shown = after;
                return before;
            }
            let mut room = [0; 4096];
            let count = self.screen.read(&mut room).expect("a pipe can be read");
            assert!(count > 0, "the terminal closed before it showed {text:?}: {}", self.shown);
            self.shown += &String::from_utf8_lossy(&room[..count]);
        }
    }

    fn key_in(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("it reads");
    }

    /// Types a line at the prompt that is there; what is shown from its end to the next prompt.
    fn says(&mut self, line: &str) -> String {
        self.key_in(&format!("{line}\n"));
        self.until("\n");
        self.until(PROMPT)
    }
}

#[test]
fn the_prompt_of_a_development_cell_ends_and_starts_its_replicas() {
    let home = folder();
    // Made before, so that the address of its first replica is known, and kept.
    let dir = path(home.path());
    let made = run(&["dev", "--dir", dir, "--set", "journal.segment=8MiB", "--exec", "true"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let config = std::fs::read_to_string(home.path().join("cell.toml")).expect("the configuration");
    let first = config.lines().find_map(|line| line.strip_prefix("client = \"")).expect("an address");
    let first = first.trim_end_matches('"');
    let state = tempfile::tempdir().expect("a folder");
    let mut terminal = Terminal::of(&format!("timeout --foreground 180 {QUORATE} dev --dir {dir}"), state.path());
    let headline = terminal.until(PROMPT);
    assert!(headline.contains(&format!("QUORATE_DEV_DIR='{dir}'")), "a terminal beside it is told where: {headline}");
    let made = terminal.says("create --timeout 20s /a written");
    assert!(made.contains("/a"), "{made}");
    let killed = terminal.says("kill 1");
    assert!(killed.contains("replica 1 ended: signal 9"), "{killed}");
    let read = terminal.says("get --timeout 20s /a");
    assert!(read.contains("written"), "it is there without the replica: {read}");
    let again = terminal.says("kill 1");
    assert!(again.contains("error[E002]: replica 1 does not run"), "{again}");
    let started = terminal.says("start 1");
    assert!(!started.contains("error["), "{started}");
    // Nobody else is asked.
    let serves = terminal.says(&format!("get --timeout 30s --endpoints {first} /a"));
    assert!(serves.contains("written"), "{serves}");
    terminal.key_in("exit\n");
    assert!(terminal.script.wait().expect("it ends").success());
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
