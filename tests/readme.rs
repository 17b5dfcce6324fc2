//! Performs the README: each `console` block is typed into a shell beside a development cell, and what comes back is held
//! against what the page says. In the page `...` stands for any text, and a line of it for any lines; runs of spaces are
//! one.

use std::path::Path;
use std::process::Command;

/// One line after `$ `, and the lines that follow it.
struct Step {
    command: String,
    expected: Vec<String>,
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            steps.push(Step { command: command.into(), expected: Vec::new() });
        } else if inside {
            steps.last_mut().expect("a block starts with a command").expected.push(line.into());
        }
    }
    steps
}

/// Whether `found` is `expected`, where `...` stands for anything.
fn fits(expected: &str, found: &str) -> bool {
    let (expected, found) = (words(expected), words(found));
    let mut parts = expected.split("...");
    let Some(mut rest) = found.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part.trim()) else { return false };
        rest = &rest[at + part.trim().len()..];
    }
    rest.ends_with(last.trim())
}

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether the lines fit, where a line of `...` stands for any lines.
fn all_fit(expected: &[String], found: &[&str]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((line, rest)) if line.trim() == "..." => (0..=found.len()).any(|skip| all_fit(rest, &found[skip..])),
        Some((line, rest)) => found.first().is_some_and(|first| fits(line, first)) && all_fit(rest, &found[1..]),
    }
}

#[test]
fn the_readme_does_what_it_says() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("it is there");
    let steps = steps(&page);
    assert!(steps.len() >= 5, "the page shows how it is used");
    // `$?` of one command has to reach the next, so that all are lines of one shell.
    let mut script = String::from("exec 2>&1\nstatus=0\n");
    for (number, step) in steps.iter().enumerate() {
        script += &format!("echo '@@{number}'\n(exit $status)\n{}\nstatus=$?\n", step.command);
    }
    let program = Path::new(env!("CARGO_BIN_EXE_quorate"));
    let path = format!(
        "{}:{}",
        program.parent().expect("it lies in a folder").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let performed = Command::new(program).args(["dev", "--exec", &script]).env("PATH", path).output();
    let performed = performed.expect("the program can be started");
    let (output, errors) = (String::from_utf8_lossy(&performed.stdout), String::from_utf8_lossy(&performed.stderr));
    for (number, step) in steps.iter().enumerate() {
        let from = output.split_once(&format!("@@{number}\n")).map(|(_, from)| from);
        let from = from.unwrap_or_else(|| panic!("`{}` was not reached:\n{output}\n{errors}", step.command));
        let found: Vec<&str> = from.split("@@").next().unwrap_or_default().lines().collect();
        assert!(
            all_fit(&step.expected, &found),
            "`{}` gives\n{}\nwhere the README says\n{}",
            step.command,
            found.join("\n"),
            step.expected.join("\n")
        );
    }
}

#[test]
fn the_commands_it_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("README.md")).expect("it is there");
    let names: Vec<&str> =
        page.split('`').filter(|word| is_path(word)).chain(["scripts/demo", "scripts/test"]).collect();
    for name in names {
        assert!(root.join(name).exists(), "the README names {name}, which is not there");
    }
}

fn is_path(word: &str) -> bool {
    let known = ["src/", "tests/", "scripts/", "tuning/"];
    known.iter().any(|folder| word.starts_with(folder)) && !word.contains(char::is_whitespace)
}

#[test]
fn fitting_is_strict_where_nothing_stands_for_anything() {
    assert!(
        fits("a ... c", "a   b c") && fits("...", "") && fits("a", "a") && fits("{...\"v\":1}", "{\"x\":2,\"v\":1}")
    );
    assert!(!fits("a", "a b") && !fits("a ... c", "a b") && !fits("a ... b c", "a c"));
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(all_fit(&lines("a\n...\nd"), &["a", "b", "c", "d"]) && !all_fit(&lines("a\n...\nd"), &["a", "b"]));
    assert!(!all_fit(&lines(""), &["a"]) && !all_fit(&lines("a"), &[]));
}
