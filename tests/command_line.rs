//! The command line where no cell is needed: help, explanations, completions, man pages, configurations.
#![allow(clippy::disallowed_methods, reason = "these tests run the program and read what it wrote")]

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output};

use quorate::limits::SESSION_USERS_MAX;

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(args)
        .env_remove("QUORATE_CONFIG")
        .env("COLUMNS", "100")
        .output()
        .expect("the program runs")
}

fn said(args: &[&str]) -> String {
    let done = run(args);
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("it is text")
}

const CELL: &str = r#"[cell]
id = "5d3c0f6c1c0a4a3d8d1f0d5f5b0e7a11"
[[replica]]
id = 1
client = "localhost:7400"
peer = "localhost:7401"
[paxos]
lease = "300ms"
"#;

fn written(folder: &Path, text: &str) -> String {
    let path = folder.join("cell.toml");
    std::fs::write(&path, text).expect("it can be written");
    path.to_str().expect("the folder's name is text").to_owned()
}

/// Every command that does something itself, as its words, from the help of those above it; all of which have examples.
fn commands(above: &[String]) -> Vec<Vec<String>> {
    let args: Vec<&str> = above.iter().map(String::as_str).chain(["--help"]).collect();
    let help = said(&args);
    assert!(help.contains("\nExamples:\n  ") || help.contains("\nExample:\n  "), "{above:?}: {help}");
    let names: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()))
        .collect();
    if names.is_empty() {
        assert!(help.contains("--output <FORM>"), "{above:?} prints in every form: {help}");
        return vec![above.to_vec()];
    }
    let below = names.into_iter().filter(|name| *name != "help");
    below.flat_map(|name| commands(&[above, &[name.to_owned()]].concat())).collect()
}

#[test]
fn every_command_shows_examples() {
    let commands = commands(&[]);
    assert!(commands.len() > 60 && commands.contains(&vec!["bench".to_owned(), "mix".to_owned()]), "{commands:?}");
    // The short help is what who knows nothing yet is shown.
    assert!(said(&["-h"]).contains("\nExamples:\n  quorate dev\n"), "{}", said(&["-h"]));
}

/// What the program writes to a terminal.
fn shown(colours: Option<&str>, command: &str) -> String {
    let program = format!("{} {command}", env!("CARGO_BIN_EXE_quorate"));
    let mut script = Command::new("script");
    script.args(["-qec", &program, "/dev/null"]).env("TERM", "xterm").env_remove("NO_COLOR");
    let done =
        script.envs(colours.map(|value| ("NO_COLOR", value))).output().expect("`script` is part of every Debian");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

#[test]
fn colours_are_for_terminals_and_not_for_all_of_them() {
    assert!(shown(None, "--help").contains('\u{1b}'), "a terminal is shown them");
    assert!(!shown(Some("1"), "--help").contains('\u{1b}'), "unless it asks for none");
    assert!(!said(&["--help"]).contains('\u{1b}'), "a pipe never is");
}

#[test]
fn results_are_printed_in_the_form_asked_for() {
    assert_eq!(said(&["explain"]).lines().next(), Some("E001  the namespace refused it; nothing was changed"));
    let object: serde_json::Value =
        serde_json::from_str(&said(&["explain", "E031", "--output", "json"])).expect("JSON");
    assert_eq!((&object["code"], &object["exit_status"]), (&"E031".into(), &31.into()), "{object}");
    let table = said(&["--output", "table", "explain"]);
    assert!(table.starts_with("code  exit_status  meaning\nE001  1            the namespace refused it"), "{table}");
    let done = run(&["explain", "--output", "xml"]);
    assert_eq!(done.status.code(), Some(2), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn help_tells_what_a_watch_prints_and_what_the_environment_is_read_for() {
    let words = |args: &[&str]| said(args).split_whitespace().collect::<Vec<_>>().join(" ");
    let watch = words(&["watch", "--help"]);
    for line in ["created REVISION PATH", "changed REVISION PATH", "deleted REVISION PATH", "gap FROM TO", "A gap says"]
    {
        assert!(watch.contains(line), "{line}: {watch}");
    }
    let root = words(&["--help"]);
    let environment = root.split_once("Environment").expect("a section").1;
    let names = ["ENDPOINTS", "TIMEOUT", "AUTH", "CONFIG", "LOG", "OUTPUT", "CELL", "RESUME"];
    for name in names.map(|name| format!("QUORATE_{name} ")).into_iter().chain(["NO_COLOR ".to_owned()]) {
        assert!(environment.contains(&name), "{name}: {environment}");
    }
}

#[test]
fn more_users_than_a_session_proves_are_refused_before_anybody_is_asked() {
    let limit = format!("at most {SESSION_USERS_MAX}");
    for command in ["get", "recover"] {
        let help = said(&[command, "--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains("--auth <digest:USER:PASSWORD>") && help.contains(&limit), "{help}");
    }
    let users: Vec<String> = (0..=SESSION_USERS_MAX).map(|n| format!("digest:user{n}:secret")).collect();
    let flags: Vec<&str> = users.iter().flat_map(|user| ["--auth", user]).collect();
    // Nobody is there: whoever is not refused before looks for the cell, or its configuration, and ends in another way.
    let get = ["get", "/a", "--endpoints", "127.0.0.1:1", "--timeout", "200ms"];
    let recover = ["recover", "--replica", "1", "--config", "/nowhere/cell.toml", "/nowhere/replica"];
    let all = users.join("\n");
    for (args, variable) in [([&get[..], &flags].concat(), ""), (get.to_vec(), &all), (recover.to_vec(), &all)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        let done = command.args(&args).env_remove("QUORATE_OUTPUT").env("QUORATE_AUTH", variable).output();
        let done = done.expect("the program runs");
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{told}");
        assert!(told.contains("QUORATE_AUTH") && told.contains(&limit) && !told.contains("secret"), "{told}");
    }
}

#[test]
fn where_nothing_listens_no_more_time_is_advised() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let done = run(&["get", "/a", "--endpoints", &format!("127.0.0.1:{port}"), "--timeout", "200ms", "--json"]);
    let object: serde_json::Value = serde_json::from_slice(&done.stderr).expect("an object");
    assert_eq!((done.status.code(), &object["error"]["kind"]), (Some(3), &"Unreachable".into()), "{object}");
    assert_eq!(object["error"]["outcome"], "not_applied", "{object}");
    assert!(!object["error"]["fix"].to_string().contains("--timeout"), "{object}");
}

#[test]
fn a_session_that_is_being_opened_has_no_file_yet() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("session");
    let is_empty = || std::fs::read_dir(folder.path()).expect("it is there").next().is_none();
    // It takes connections, and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    silent.set_nonblocking(true).expect("it can be asked for that");
    let endpoint = silent.local_addr().expect("it listens").to_string();
    let mut opening = Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(["session", "open", file.to_str().expect("text"), "--timeout", "1h", "--endpoints", &endpoint])
        .spawn()
        .expect("the program starts");
    let asked = (0..3_000).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        silent.accept().ok()
    });
    let before = is_empty();
    opening.kill().expect("it can be killed");
    opening.wait().expect("it was killed");
    assert!(asked.is_some(), "it asks for a session");
    assert!(before && is_empty(), "whatever ends it now leaves nothing that others would take for a session");
}

#[test]
fn a_file_without_a_session_is_told_from_one_that_lost_a_part_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("session");
    let name = file.to_str().expect("text");
    let held = [
        (&b""[..], "an empty file"),
        (b"\n", "an empty file"),
        (b"quorate-session-1-00ff\n", "cut short"),
        (b"dear all \xff", "no saved session"),
    ];
    for (bytes, words) in held {
        std::fs::write(&file, bytes).expect("written");
        for args in [&["get", "/a", "--resume", name][..], &["session", "end", name]] {
            let done = run(&[args, &["--endpoints", "127.0.0.1:1"]].concat());
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert_eq!(done.status.code(), Some(2), "{args:?}: {said}");
            assert!(said.contains("holds no session") && said.contains(words), "{words}: {said}");
        }
        assert!(file.exists(), "what is no session's is not removed");
    }
}

#[test]
fn short_names_do_what_the_long_ones_do() {
    for (short, long) in [("rm", "delete"), ("put", "set")] {
        assert_eq!(said(&[short, "--help"]), said(&[long, "--help"]));
        assert!(said(&["--help"]).contains(&format!(": {short}]")), "{short} is named beside {long}");
    }
}

#[test]
fn an_error_s_code_is_explained_by_the_table_that_the_errors_use() {
    let all = said(&["explain"]);
    assert!(all.lines().count() > 20 && all.contains("E031  another process holds the folder"), "{all}");
    let one = said(&["explain", "E031"]);
    assert!(one.starts_with("E031: another process holds the folder\n") && one.ends_with("exit status: 31\n"), "{one}");
    let locked = said(&["explain", "E012"]);
    assert!(locked.contains("RLIMIT_MEMLOCK") && locked.ends_with("exit status: 12\n"), "{locked}");
    let help = said(&["--help"]);
    for line in all.lines() {
        let (code, meaning) = line.split_once("  ").expect("a code and its meaning");
        let number: u8 = code.trim_start_matches('E').parse().expect("a number");
        assert!(help.contains(&format!("{number:5}  {meaning}")), "--help has {line}");
    }
    assert_eq!(run(&["explain", "E099"]).status.code(), Some(2));
}

#[test]
fn a_mistake_on_the_command_line_has_a_code_like_any_other() {
    let mistakes =
        [&["gett", "/a"][..], &["get"], &["get", "/a", "--stael"], &["status", "--timeout", "soon"], &["set", "/a"]];
    for args in mistakes {
        let done = run(args);
        let words = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!((done.status.code(), done.stdout.len()), (Some(2), 0), "{args:?}: {words}");
        assert!(words.starts_with("error[E002]: ") && words.contains("--help"), "{args:?}: {words}");
        let done = run(&[args, &["--json"]].concat());
        let object: serde_json::Value = serde_json::from_slice(&done.stderr).expect("an object, as asked for");
        assert_eq!((done.status.code(), &object["exit_status"]), (Some(2), &2.into()), "{object}");
        assert!(done.stdout.is_empty() && object["error"]["code"] == "E002", "{object}");
    }
}

#[test]
fn a_mistake_of_which_it_is_known_what_was_meant_comes_with_a_tip() {
    let (program, tree) = ("put `--` before the program", "`quorate delete-tree`");
    for (args, tip) in [
        (&["lock", "/l", "sh", "-c", "true"][..], program),
        (&["elect", "/e", "true"], program),
        (&["recipe", "semaphore", "--permits", "3", "/s", "true"], program),
        (&["delete", "--recursive", "/a"], tree),
        (&["rm", "-rf", "/a"], tree),
    ] {
        let done = run(args);
        let words = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{args:?}: {words}");
        assert!(words.contains(tip) && !words.contains("as a value"), "{args:?}: {words}");
    }
    for args in [&["get", "/a", "/b"][..], &["get", "--recursive", "/a"], &["lock", "--waits", "/l", "--", "true"]] {
        let words = String::from_utf8_lossy(&run(args).stderr).into_owned();
        assert!(!words.contains(program) && !words.contains(tree), "{args:?}: {words}");
    }
}

#[test]
fn an_empty_variable_is_told_by_its_name() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_quorate"));
    let done = program.args(["get", "/a"]).env("QUORATE_ENDPOINTS", "").output().expect("the program runs");
    let words = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(2), "{words}");
    assert!(words.contains("set the variable QUORATE_ENDPOINTS"), "{words}");
}

#[test]
fn a_cell_that_survives_no_crash_is_sound_with_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let replica =
        |id: u8| format!("[[replica]]\nid = {id}\nclient = \"localhost:{id}0\"\npeer = \"localhost:{id}1\"\n");
    for (replicas, warning) in [(1, "1 replica survives no crash"), (2, "2 replicas survive no crash"), (3, "")] {
        let text: String = (1..=replicas).map(replica).collect();
        let file = written(folder.path(), &format!("[cell]\nid = \"5d3c0f6c1c0a4a3d8d1f0d5f5b0e7a11\"\n{text}"));
        let done = run(&["check-config", &file]);
        let words = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(0), "{words}");
        assert!(words.contains(warning) && words.is_empty() == warning.is_empty(), "{replicas}: {words}");
    }
}

#[test]
fn what_is_no_text_is_a_mistake_or_none_of_ours() {
    let bytes = OsStr::from_bytes(b"x\xff");
    let program = || Command::new(env!("CARGO_BIN_EXE_quorate"));
    for args in [&["get"][..], &["get", "--stael"], &["ls", "--endpoints"]] {
        let done = program().args(args).arg(bytes).output().expect("the program runs");
        let words = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{args:?}: {words}");
        assert!(words.starts_with("error[E002]: "), "{args:?}: {words}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = written(folder.path(), CELL);
    let checked = |name: &OsStr| {
        let done = program().args(["check-config", &file]).env(name, bytes).output().expect("the program runs");
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let warned = "warning: 1 replica survives no crash; 3 survive one\n".to_owned();
    for name in [OsStr::new("SOMEBODY_ELSES"), bytes] {
        assert_eq!(checked(name), (Some(0), warned.clone()), "{name:?}");
    }
    let (status, words) = checked(OsStr::new("QUORATE_PAXOS_LEASE"));
    assert_eq!(status, Some(11), "{words}");
    assert!(words.contains("QUORATE_PAXOS_LEASE is no text"), "{words}");
}

#[test]
fn what_nobody_reads_ends_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let done = Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(["check-config", &written(folder.path(), CELL)])
        .env("QUORATE_WEATHER_TODAY", "rain")
        .stderr(writer)
        .output()
        .expect("the program runs");
    assert_eq!(done.status.code(), Some(0), "it is warned of the variable, and there is nobody to hear it");
    assert!(String::from_utf8_lossy(&done.stdout).contains("is sound"), "{done:?}");
}

#[test]
fn what_a_variable_gives_is_not_shown_as_if_it_had_to_be_typed() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_quorate"));
    let done = program.arg("get").env("QUORATE_ENDPOINTS", "127.0.0.1:1").output().expect("the program runs");
    let words = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(words.contains("\nUsage: quorate get <PATH>\n"), "{words}");
}

#[test]
fn what_all_commands_have_in_common_follows_what_is_a_command_s_own() {
    for (args, own) in [(&["bench", "failover", "--help"][..], "--kill-pid"), (&["get", "--help"], "--raw")] {
        let help = said(args);
        let place = |text: &str| help.find(text).unwrap_or_else(|| panic!("{text} is not in {help}"));
        assert!(place(&format!("\n      {own}")) < place("\nThe cell, and who asks it:"), "{help}");
        assert!(place("\nThe cell, and who asks it:") < place("\nOf every command:"), "{help}");
    }
}

#[test]
fn a_development_cell_moves_into_no_folder_where_something_else_lives() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("letters"), "dear all").expect("written");
    let done = run(&["dev", "--dir", folder.path().to_str().expect("text"), "--exec", "true"]);
    let words = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(30), "{words}");
    let names: Vec<_> = std::fs::read_dir(folder.path()).expect("it is there").collect();
    assert!(words.contains("letters") && names.len() == 1, "{words} {names:?}");
}

/// Each shell loads the file `quorate`, and writes into the file `completed` what it makes of two lines that were begun.
const IN_BASH: &str = "source ./quorate
COMP_WORDS=(quorate check-) COMP_CWORD=1; _quorate quorate check- quorate; echo \"${COMPREPLY[@]}\" > completed
COMP_WORDS=(quorate create --seq) COMP_CWORD=2; _quorate quorate --seq create; echo \"${COMPREPLY[@]}\" >> completed
complete -p quorate >> completed";
const IN_FISH: &str = "source ./quorate
complete -C 'quorate check-' > completed
complete -C 'quorate create --seq' >> completed";
/// Only its line editor completes: a line is put there as soon as there is a prompt.
const IN_ZSH: &str = "autoload -U compinit && compinit -u -D && source ./quorate
zle-line-init() {
  for line in 'quorate check-' 'quorate create --seq'; do
    BUFFER=$line CURSOR=$#line
    zle complete-word
    print -r -- $BUFFER >> completed
  done
  BUFFER='exit 0'
  zle accept-line
}
zle -N zle-line-init";

/// What a shell makes of the two lines with the completions of this program; nothing if there is no such shell, of which
/// this tells past the harness.
fn completed_by(shell: &str) -> Option<String> {
    if let Err(error) = Command::new(shell).arg("--version").output() {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        // Nobody may be there to read it.
        let _ = writeln!(std::io::stderr(), "SKIPPED {test}: no {shell}: {error}; scripts/test installs it, as root");
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    write("quorate", &said(&["completion", shell]));
    write(".zshrc", IN_ZSH);
    let (program, args) = match shell {
        "bash" => ("bash", ["--norc", "-c", IN_BASH]),
        "fish" => ("fish", ["--no-config", "-c", IN_FISH]),
        // On a terminal.
        _ => ("script", ["-qec", "zsh -d -i", "/dev/null"]),
    };
    let mut command = Command::new(program);
    command.args(args).current_dir(folder.path()).env("TERM", "xterm");
    let done = command.env("HOME", folder.path()).env("ZDOTDIR", folder.path()).output().expect("it is there");
    let words = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(done.status.success(), "{shell}: {words:?}");
    Some(std::fs::read_to_string(folder.path().join("completed")).unwrap_or_else(|error| panic!("{error}: {words:?}")))
}

#[test]
fn each_shell_completes_a_command_and_a_flag() {
    for shell in ["bash", "zsh", "fish"] {
        let Some(completed) = completed_by(shell) else { continue };
        let lines: Vec<&str> = completed.lines().collect();
        for (line, word) in lines.iter().zip(["check-config", "--sequential"]) {
            assert!(line.split_whitespace().any(|found| found == word), "{shell}: {word}: {completed}");
        }
        assert!(lines.len() >= 2, "{shell}: {completed}");
        assert!(shell != "bash" || completed.contains("-F _quorate"), "{completed}");
    }
}

#[test]
fn shells_and_man_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = said(&["completion", shell]);
        for command in ["status", "check-config", "explain"] {
            assert!(script.contains(command), "{shell} completes {command}");
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    said(&["man", "--dir", folder.path().to_str().expect("text")]);
    let page = std::fs::read_to_string(folder.path().join("quorate-status.1")).expect("a page of its own");
    assert!(page.contains(".TH") && page.contains("Examples:"), "{page}");
}

#[test]
fn a_configuration_is_checked_without_starting_anything() {
    let folder = tempfile::tempdir().expect("a folder");
    let sound = written(folder.path(), CELL);
    assert!(said(&["check-config", &sound]).contains("1 replicas, lease 300ms"));
    let wrong = written(folder.path(), &CELL.replace("lease", "leese"));
    let done = run(&["check-config", &wrong]);
    let words = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(11), "{words}");
    assert!(words.contains("did you mean `lease`?"), "{words}");
}

#[test]
fn each_setting_tells_where_it_comes_from() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = written(folder.path(), CELL);
    let shown = Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(["config", "show", "--origins", "--config", &file, "--set", "journal.segment=16MiB"])
        .env("QUORATE_PAXOS_MARGIN", "7ms")
        .output()
        .expect("the program runs");
    let shown = String::from_utf8(shown.stdout).expect("it is text");
    let line = |name: &str| {
        let line = shown.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {shown}"));
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("paxos.lease "), format!("\"300ms\" {file}"));
    assert_eq!(line("paxos.margin "), "\"7ms\" QUORATE_PAXOS_MARGIN");
    assert_eq!(line("journal.segment "), "\"16MiB\" --set journal.segment=16MiB");
    assert_eq!(line("paxos.heartbeat "), "\"25ms\" default");
    let unknown = Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(["config", "show", "--config", &file])
        .env("QUORATE_JOURNALS_SEGMENT", "16MiB")
        .output()
        .expect("the program runs");
    let words = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert_eq!(unknown.status.code(), Some(11), "{words}");
    assert!(words.contains("did you mean `QUORATE_JOURNAL_SEGMENT`?"), "{words}");
    let plain = said(&["config", "show", "--config", &file]);
    assert!(plain.contains("lease = \"300ms\"") && plain.contains("heartbeat = \"25ms\""), "{plain}");
}

/// Results of one point, with so many operations a second in each repeat.
fn measured(folder: &Path, rates: &[f64]) -> String {
    use quorate::bench::{Repeat, Report, Results, SCHEMA};
    let repeat = |rate: &f64| Repeat { seconds: 1.0, ops_per_s: *rate, ..Repeat::default() };
    let mut report = Report { repeats: rates.iter().map(repeat).collect(), ..Report::default() };
    report.conclude_repeats();
    let results = Results { schema: SCHEMA, points: vec![report], ..Results::default() };
    results.write(folder, &[]).expect("a folder can be written");
    folder.display().to_string()
}

#[test]
fn a_comparison_ends_with_the_status_of_what_it_found() {
    let home = tempfile::tempdir().expect("a folder");
    let results = |name: &str, rates: &[f64]| measured(&home.path().join(name), rates);
    let before = results("before", &[100.0, 101.0, 102.0]);
    let compared = |after: &str| {
        let output = run(&["bench", "compare", &before, after]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(compared(&before).0, Some(0), "nothing is worse than itself");
    assert_eq!(compared(&results("faster", &[200.0, 201.0, 202.0])).0, Some(0));
    let failed = |after: &str, why: &str| {
        let (status, told) = compared(after);
        assert!(status == Some(61) && told.contains(why), "{status:?} {told}");
    };
    failed(&results("slower", &[50.0, 51.0, 52.0]), "1 of 1 figures are worse");
    failed(&results("dead", &[0.0, 0.0, 0.0]), "1 of 1 figures are worse");
    failed(&results("once", &[50.0]), "no figure could be judged");
    let elsewhere = home.path().join("elsewhere");
    let none = quorate::bench::Results { schema: quorate::bench::SCHEMA, ..Default::default() };
    none.write(&elsewhere, &[]).expect("a folder can be written");
    failed(&elsewhere.display().to_string(), "not measured again");
}
