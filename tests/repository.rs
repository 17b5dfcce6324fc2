//! The repository's own shape: what lies where, how large it may grow, and who may name whom.
//!
//! Each rule is a function from text to complaints, so that the last test can show that it complains.
#![allow(clippy::disallowed_methods, reason = "this test reads files, and no simulated thing")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 700;
const FUNCTION_LINES_MAX: usize = 80;
const ESSAY_LINES_MIN: usize = 10;

/// What may lie at the top.
const TOP_LEVEL: [&str; 13] = [
    ".ci",
    ".git",
    ".gitignore",
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "benches",
    "clippy.toml",
    "rustfmt.toml",
    "scripts",
    "src",
    "tests",
    "tuning",
];

/// Which modules of the crate each of them may name, itself aside.
const MAY_NAME: [(&str, &[&str]); 13] = [
    ("limits", &["time"]),
    ("time", &[]),
    ("paxos", &["limits", "time"]),
    ("namespace", &["limits", "time"]),
    ("journal", &["limits", "time", "paxos"]),
    ("wire", &["limits", "time", "paxos", "namespace"]),
    ("replica", &["limits", "time", "paxos", "journal", "namespace", "wire"]),
    ("front", &["limits", "time", "paxos", "namespace", "replica", "wire"]),
    ("runtime", &["limits", "time"]),
    ("server", &["limits", "time", "paxos", "journal", "namespace", "replica", "wire", "front", "runtime"]),
    ("client", &["limits", "time", "paxos", "process", "namespace", "wire"]),
    ("bench", &["limits", "time", "paxos", "namespace", "wire", "client"]),
    ("lib.rs", &[]),
];

/// Folders that know no clock, no randomness, no socket, no file and no thread.
const PURE: [&str; 7] = ["paxos/", "journal/", "namespace/", "replica/", "wire/", "front/", "client/machine"];
const IMPURE: [&str; 9] = [
    "std::fs",
    "std::net",
    "std::thread",
    "std::env",
    "std::process",
    "Instant::now",
    "SystemTime",
    "getrandom::",
    "rustix::",
];

/// Calls of the client library that fail for nothing but what any call of their type may fail for.
const NO_ERRORS_OF_THEIR_OWN: [&str; 4] = ["Client::exists", "Client::exists_as", "Client::sync", "Client::who_am_i"];

const DRAWERS: [&str; 7] = ["util", "utils", "helper", "helpers", "common", "misc", "manager"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` with that ending, and its path from the root. What is built is left out.
fn files(folder: &str, ending: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("a folder can be listed").path();
            if path.is_dir() {
                if path.file_name().is_none_or(|name| name != "target" && name != ".git") {
                    folders.push(path);
                }
            } else if path.to_string_lossy().ends_with(ending) {
                let name = path.strip_prefix(root()).expect("it lies below the root").to_string_lossy().into_owned();
                found.insert(name, fs::read_to_string(&path).expect("source is text"));
            }
        }
    }
    assert!(!found.is_empty() || folder != "src", "the source is looked for where it is");
    found
}

/// The text without its tests, which may use what the code may not.
fn shipped(text: &str) -> &str {
    text.find("#[cfg(test)]").map_or(text, |tests| &text[..tests])
}

fn without_comment(line: &str) -> &str {
    line.find("//").map_or(line, |comment| &line[..comment])
}

fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn too_long(name: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > FILE_LINES_MAX {
        complaints.push(format!("{name}: {} lines; which noun is hiding in it?", lines.len()));
    }
    for (at, line) in lines.iter().enumerate() {
        let start = line.trim_start();
        let signature =
            start.trim_start_matches("pub ").trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
        let signature =
            signature.trim_start_matches("const ").trim_start_matches("unsafe ").trim_start_matches("async ");
        if !signature.starts_with("fn ") || line.ends_with(';') || line.ends_with('}') {
            continue;
        }
        // rustfmt puts a function's last brace below its first letter.
        let end = format!("{}}}", &line[..line.len() - start.len()]);
        let length = lines[at..].iter().position(|line| *line == end).map_or(1, |length| length + 1);
        if length > FUNCTION_LINES_MAX {
            complaints.push(format!("{name}:{}: a function of {length} lines", at + 1));
        }
    }
    complaints
}

fn named_out_of_turn(name: &str, text: &str) -> Vec<String> {
    let inside = name.strip_prefix("src/").expect("a source file");
    if inside.starts_with("bin/") {
        return Vec::new();
    }
    let module = inside.split('/').next().expect("a name has a start");
    let module = if module == "lib.rs" { module } else { module.trim_end_matches(".rs") };
    let Some((_, may)) = MAY_NAME.iter().find(|(known, _)| *known == module) else {
        return vec![format!("{name}: `{module}` is not in the table of who may name whom")];
    };
    let mut complaints = Vec::new();
    for (at, line) in shipped(text).lines().enumerate() {
        for (place, _) in without_comment(line).match_indices("crate::") {
            let path = &line[place + "crate::".len()..];
            let other: String = path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if other != module && !may.contains(&other.as_str()) {
                complaints.push(format!("{name}:{}: {module} must not name `crate::{other}`", at + 1));
            }
        }
    }
    complaints
}

fn impure(name: &str, text: &str) -> Vec<String> {
    if name.ends_with("/tests.rs")
        || name.contains("/tests/")
        || !PURE.iter().any(|pure| name.starts_with(&format!("src/{pure}")))
    {
        return Vec::new();
    }
    let lines = shipped(text).lines().enumerate();
    let impure = |line: &str| IMPURE.iter().find(|word| without_comment(line).contains(**word)).copied();
    lines.filter_map(|(at, line)| Some(format!("{name}:{}: `{}` in a pure folder", at + 1, impure(line)?))).collect()
}

fn unargued_unsafe(name: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut complaints = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = without_comment(line);
        if !["{", "impl", "fn", "extern"].iter().any(|what| code.contains(&format!("unsafe {what}"))) {
            continue;
        }
        if !name.starts_with("src/runtime/") {
            complaints.push(format!("{name}:{}: unsafe outside src/runtime/", at + 1));
        }
        if !lines[at.saturating_sub(6)..=at].iter().any(|line| line.contains("SAFETY") || line.contains("# Safety")) {
            complaints.push(format!("{name}:{}: unsafe without its argument", at + 1));
        }
    }
    complaints
}

/// Leases, deadlines and pauses are measured by a clock that nobody sets: then no jump of the wall clock can touch them.
fn dated(name: &str, text: &str) -> Vec<String> {
    let asks = |line: &str| ["SystemTime", "Realtime", "UNIX_EPOCH"].iter().any(|clock| line.contains(clock));
    let lines = text.lines().enumerate().filter(|(_, line)| asks(without_comment(line)));
    lines.map(|(at, _)| format!("{name}:{}: reads a clock that may jump", at + 1)).collect()
}

fn no_essay(name: &str, text: &str) -> Vec<String> {
    let essay = text.lines().take_while(|line| line.starts_with("//!")).count();
    let short = name.starts_with("src/") && name.ends_with("/mod.rs") && essay < ESSAY_LINES_MIN;
    short.then(|| format!("{name}: opens with {essay} lines on what the folder is for")).into_iter().collect()
}

fn unreasoned_dependencies(text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies");
        } else if inside && line.contains('=') && !line.trim_start().starts_with('#') && !line.contains(" # ") {
            complaints.push(format!("Cargo.toml: no reason for `{line}`"));
        }
    }
    complaints
}

/// Rows of mutants that are planted nowhere or elsewhere, and mutants that have no row.
fn misplaced_mutants(table: &str, sources: &BTreeMap<String, String>) -> Vec<String> {
    let mut complaints = Vec::new();
    let rows: Vec<Vec<&str>> = table.lines().skip(1).map(|line| line.split('\t').collect()).collect();
    let planted = |bug: &str, text: &str| text.contains(&format!("bug = \"{bug}\""));
    for row in &rows {
        let [bug, stands, _, place] = row[..] else {
            complaints.push(format!("tests/mutants.tsv: `{}` has not four fields", row.join(" ")));
            continue;
        };
        let is_there = sources.get(&format!("src/{place}")).is_some_and(|text| planted(bug, text));
        if stands == "yes" && !is_there {
            complaints.push(format!("tests/mutants.tsv: mutant {bug} is not planted in src/{place}"));
        }
    }
    for (name, text) in sources {
        for (at, _) in text.match_indices("bug = \"") {
            let bug: String = text[at + 7..].chars().take_while(|c| *c != '"').collect();
            if !rows.iter().any(|row| row[0] == bug && row[1] == "yes") {
                complaints.push(format!("{name}: mutant {bug} has no row in tests/mutants.tsv"));
            }
        }
    }
    complaints
}

/// Something public, as a source file has it.
struct Item {
    /// Its place, counted from 1.
    line: usize,
    /// The type in whose `impl` it stands; empty at the top.
    of: String,
    docs: String,
    /// From `pub` to the brace or semicolon.
    head: String,
}

impl Item {
    /// The word that follows this one in its head.
    fn word_after(&self, before: &str) -> Option<String> {
        let (_, after) = self.head.split_once(before)?;
        Some(word(after))
    }

    /// Whether it is a function whose caller may get an error.
    fn may_fail(&self) -> bool {
        let Some((_, given)) = self.head.rsplit_once(") -> ") else { return false };
        let given = given.trim_start_matches("super::");
        given.starts_with("Op<") || given.starts_with("Result<") || given.contains("Output = Result<")
    }

    /// What its page says in general of errors.
    fn errors(&self) -> Option<String> {
        let (_, errors) = self.docs.split_once(" # Errors\n")?;
        Some(errors.lines().take_while(|line| !line.starts_with(" # ")).collect::<Vec<_>>().join("\n"))
    }
}

fn word(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

/// The type of an `impl` of a type's own functions.
fn impl_of(line: &str) -> String {
    let mut depth = 0;
    let generics_end = |letter: char| {
        depth += i32::from(letter == '<') - i32::from(letter == '>');
        depth == 0 && letter == ' '
    };
    let rest = line.trim_start_matches("impl");
    rest.find(generics_end).map_or_else(String::new, |at| word(rest[at..].trim_start()))
}

fn public_items(text: &str) -> Vec<Item> {
    let lines: Vec<&str> = text.lines().collect();
    let (mut items, mut of, mut docs) = (Vec::new(), String::new(), String::new());
    for (at, line) in lines.iter().enumerate() {
        let start = line.trim_start();
        if let Some(doc) = start.strip_prefix("///") {
            docs += doc;
            docs.push('\n');
            continue;
        }
        if start.starts_with("#[") {
            continue;
        }
        if line.starts_with("impl") {
            of = impl_of(line);
        } else if *line == "}" {
            of.clear();
        }
        if start.starts_with("pub ") {
            // A field is one line; a function's head goes on until its body.
            let ends = |line: &&str| line.contains('{') || line.ends_with(';');
            let end = if start.ends_with(',') { Some(0) } else { lines[at..].iter().position(ends) }.unwrap_or(0);
            let head = lines[at..=at + end].iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
            items.push(Item { line: at + 1, of: of.clone(), docs: docs.clone(), head });
        }
        docs.clear();
    }
    items
}

/// Public calls that may fail and do not say of what: neither themselves, nor their type's page by their names.
fn untold_errors(sources: &BTreeMap<String, String>, none_of_their_own: &[&str]) -> Vec<String> {
    let mut pages = BTreeMap::new();
    let mut calls = Vec::new();
    for (file, text) in sources {
        for item in public_items(text) {
            if let Some(name) = item.word_after("fn ").filter(|_| item.may_fail()) {
                calls.push((file, name, item));
            } else if let (Some(name), Some(errors)) = (item.word_after("struct "), item.errors()) {
                pages.insert(name, errors);
            }
        }
    }
    let whole = |name: &str, of: &str| if of.is_empty() { name.to_owned() } else { format!("{of}::{name}") };
    let mut complaints = Vec::new();
    for (file, name, Item { line, of, docs, .. }) in &calls {
        let is_named = |page: &String| page.contains(&format!("`{name}`")) || page.contains(&format!("::{name})"));
        let is_told = docs.contains("Error::") || docs.contains("As [`") || pages.get(of).is_some_and(is_named);
        if !is_told && !none_of_their_own.contains(&whole(name, of).as_str()) {
            complaints.push(format!("{file}:{line}: `{}` does not say of what it may fail", whole(name, of)));
        }
    }
    for known in none_of_their_own {
        if !calls.iter().any(|(_, name, item)| whole(name, &item.of) == *known) {
            complaints.push(format!("{known} is listed as a call without errors of its own, and is no such call"));
        }
    }
    complaints
}

/// The client library as it is shipped.
fn client_library() -> BTreeMap<String, String> {
    let mut sources = files("src/client", ".rs");
    sources.retain(|name, _| !name.contains("/tests"));
    sources
}

#[test]
fn the_top_level_holds_what_the_design_lists() {
    let status = fs::read_to_string(root().join(".gitignore")).unwrap_or_default();
    let ignored: Vec<&str> = status.lines().map(|line| line.trim_matches('/')).collect();
    let entries = fs::read_dir(root()).expect("the root can be listed");
    let names = entries.map(|entry| entry.expect("an entry has a name").file_name().to_string_lossy().into_owned());
    none(names.filter(|name| !TOP_LEVEL.contains(&name.as_str()) && !ignored.contains(&name.as_str())).collect());
}

#[test]
fn rooms_are_small() {
    let all = ["src", "tests", "benches", "scripts"].iter().flat_map(|folder| files(folder, ".rs"));
    none(all.flat_map(|(name, text)| too_long(&name, &text)).collect());
}

#[test]
fn folders_name_only_whom_they_may() {
    none(files("src", ".rs").iter().flat_map(|(name, text)| named_out_of_turn(name, text)).collect());
}

#[test]
fn the_pure_folders_are_pure() {
    none(files("src", ".rs").iter().flat_map(|(name, text)| impure(name, text)).collect());
}

#[test]
fn the_client_never_asks_what_the_calendar_says() {
    none(files("src/client", ".rs").iter().flat_map(|(name, text)| dated(name, text)).collect());
}

#[test]
fn each_call_of_the_client_says_of_what_it_may_fail() {
    let sources = client_library();
    let calls = sources.values().flat_map(|text| public_items(text)).filter(Item::may_fail).count();
    assert!(calls > 100, "only {calls} calls were found");
    none(untold_errors(&sources, &NO_ERRORS_OF_THEIR_OWN));
}

/// What a call says is all that is said of it: without, the rule complains.
#[test]
fn a_call_of_the_client_that_lost_its_docs_is_found() {
    let sources = client_library();
    let without = |from: &str, taken: &str| {
        let mut sources = sources.clone();
        let text = sources.get_mut(from).expect("it is part of the library");
        assert!(text.contains(taken), "{from} says `{taken}`");
        *text = text.replace(taken, "");
        untold_errors(&sources, &NO_ERRORS_OF_THEIR_OWN).join("\n")
    };
    assert!(without("src/client/api.rs", "/// As [`get`](Self::get),").contains("`Client::get_as`"));
    assert!(without("src/client/acl.rs", "/// [`Error::NoNode`](super::Error::NoNode) if").contains("`Client::acl`"));
    assert!(without("src/client/recipes/queue.rs", "/// # Errors\n").contains("`Queue::put_at`"));
    assert!(without("src/client/log.rs", "[`seal`](Log::seal)").contains("`Log::seal`"));
}

#[test]
fn unsafe_lives_in_one_folder_and_argues_for_itself() {
    let all = ["src", "benches", "scripts"].iter().flat_map(|folder| files(folder, ".rs"));
    none(all.flat_map(|(name, text)| unargued_unsafe(&name, &text)).collect());
}

#[test]
fn each_folder_opens_with_what_it_is_for() {
    none(files("src", ".rs").iter().flat_map(|(name, text)| no_essay(name, text)).collect());
}

#[test]
fn glommio_stays_behind_one_file() {
    let naming: Vec<String> = files("src", ".rs")
        .into_iter()
        .filter(|(_, text)| text.lines().any(|line| without_comment(line).contains("glommio::")))
        .map(|(name, _)| name)
        .collect();
    assert!(naming.len() <= 1, "glommio is named in {naming:?}");
}

#[test]
fn nothing_is_kept_in_a_drawer() {
    let names = files("src", ".rs").into_keys().chain(files("tests", ".rs").into_keys());
    let parts = |name: &str| name.trim_end_matches(".rs").split('/').map(str::to_owned).collect::<Vec<_>>();
    none(names.filter(|name| parts(name).iter().any(|part| DRAWERS.contains(&part.as_str()))).collect());
}

#[test]
fn each_dependency_has_its_reason() {
    none(unreasoned_dependencies(&fs::read_to_string(root().join("Cargo.toml")).expect("the manifest is there")));
}

#[test]
fn each_mutant_is_planted_where_its_row_says() {
    let table = fs::read_to_string(root().join("tests/mutants.tsv")).expect("the table is there");
    none(misplaced_mutants(&table, &files("src", ".rs")));
}

#[test]
fn every_rule_can_be_broken() {
    assert_eq!(too_long("a.rs", &"//\n".repeat(701)).len(), 1);
    assert_eq!(too_long("a.rs", &format!("    pub fn f() {{\n{}    }}\n", "        x;\n".repeat(79))).len(), 1);
    assert_eq!(too_long("a.rs", &format!("fn f() {{\n{}}}\nfn g() {{\n}}\n", "    x;\n".repeat(78))).len(), 0);
    assert_eq!(named_out_of_turn("src/paxos/mod.rs", "use crate::namespace::Command;").len(), 1);
    assert_eq!(named_out_of_turn("src/paxos/mod.rs", "use crate::time::Instant; // crate::namespace").len(), 0);
    assert_eq!(named_out_of_turn("src/odds/mod.rs", "").len(), 1);
    assert_eq!(impure("src/journal/writer.rs", "use std::fs::File;\n#[cfg(test)]\nuse std::net::TcpStream;").len(), 1);
    assert_eq!(impure("src/client/driver.rs", "use std::net::TcpStream;").len(), 0);
    assert_eq!(unargued_unsafe("src/server/mod.rs", "// SAFETY: none\nunsafe { x() }").len(), 1);
    assert_eq!(unargued_unsafe("src/runtime/ring.rs", "let x = unsafe { y() };").len(), 1);
    assert_eq!(unargued_unsafe("src/runtime/ring.rs", "// SAFETY: it is so\nlet x = unsafe { y() };").len(), 0);
    assert_eq!(dated("src/client/clock.rs", "let now = clock_gettime(ClockId::Realtime);").len(), 1);
    assert_eq!(no_essay("src/paxos/mod.rs", "//! Paxos.\n").len(), 1);
    let untold = |text: &str| untold_errors(&BTreeMap::from([("src/a.rs".to_owned(), text.to_owned())]), &[]).len();
    assert_eq!(untold("impl<T: Into<U>> A<T> {\n    /// Asks.\n    pub fn f(\n        x: u8,\n    ) -> Op<()> {\n"), 1);
    assert_eq!(untold("/// Asks.\npub async fn f() -> Result<()> {\n"), 1);
    assert_eq!(untold("/// [`Error::NoNode`] if so.\n#[must_use]\npub fn f() -> super::Op<()> {\n"), 0);
    assert_eq!(untold("/// As [`g`].\npub fn f() -> Result<()> {\n"), 0);
    assert_eq!(untold("/// Asks.\npub fn f() -> u8 {\n}\n/// Asks.\npub(super) fn g() -> Op<()> {\n"), 0);
    let page = "/// A.\n///\n/// # Errors\n///\n/// `f` is late.\npub struct A;\nimpl A {\n";
    assert_eq!(untold(&format!("{page}    pub fn f() -> Op<()> {{\n")), 0);
    assert_eq!(untold(&format!("{page}    pub fn g() -> Op<()> {{\n")), 1);
    assert_eq!(untold_errors(&BTreeMap::new(), &["A::f"]).len(), 1, "a list that is out of date");
    let sources = BTreeMap::from([("src/a.rs".to_owned(), "cfg!(bug = \"01\")".to_owned())]);
    assert_eq!(misplaced_mutants("bug\n01\tyes\twrong\ta.rs", &sources).len(), 0);
    assert_eq!(misplaced_mutants("bug\n01\tyes\twrong\tb.rs", &sources).len(), 1);
    assert_eq!(misplaced_mutants("bug\n02\tno\twrong\tit cannot be", &sources).len(), 1);
    assert_eq!(unreasoned_dependencies("[dependencies]\nbytes = \"1\"\nrtrb = \"0.4\" # rings\n").len(), 1);
}
