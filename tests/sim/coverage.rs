//! What a run has exercised: each operation, option and refusal of the client protocol, and each misfortune in each phase
//! of the agreement.
//!
//! The words come from the enums themselves: a variant that is added does not compile here until it has one, and is
//! missed by the test in `main` until the workload uses it. Of enums that may grow, which only their own crate can match
//! without a rest, the words are read from their source: a variant that is added is missed until it happens here, or until
//! [`BEYOND`] says why it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::LazyLock;

use quorate::client::Error;
use quorate::client::machine::{Answered, WatchWish};
use quorate::namespace::command::{Birth, Expect, HandleMode, Lifetime, LockMode, Operation, Read, Refusal, Step};
use quorate::paxos::Role;
use quorate::wire::client::{Consistency, FaultCode};
use quorate::wire::watch::Scope;

use super::enquirer;
use super::history::{Asked, History};
use super::misfortune::KINDS;
use super::node::Node;
use super::stranger;

/// A name for each shape of a value, and the list of all names.
macro_rules! words {
    ($list:ident, $name:ident: $type:ty, $($pattern:pat => $word:literal,)*) => {
        pub const $list: &[&str] = &[$($word),*];

        fn $name(value: &$type) -> &'static str {
            match value {
                $($pattern => $word,)*
            }
        }
    };
}

words! { OPERATIONS, operation_word: Operation,
    Operation::Create { lifetime: Lifetime::Container, .. } => "create a container",
    Operation::Create { lifetime: Lifetime::Ttl { .. }, .. } => "create with a time to live",
    Operation::Create { sequential: false, lifetime: Lifetime::Permanent, .. } => "create",
    Operation::Create { sequential: false, lifetime: Lifetime::Ephemeral, .. } => "create ephemeral",
    Operation::Create { sequential: true, lifetime: Lifetime::Permanent, .. } => "create sequential",
    Operation::Create { sequential: true, lifetime: Lifetime::Ephemeral, .. } => "create ephemeral sequential",
    Operation::Set { expect: Expect::Any, .. } => "set",
    Operation::Set { expect: Expect::Version(_), .. } => "set a version",
    Operation::Set { expect: Expect::Absent, .. } => "set what is absent",
    Operation::Delete { expect: Expect::Any, .. } => "delete",
    Operation::Delete { expect: Expect::Version(_), .. } => "delete a version",
    Operation::Delete { expect: Expect::Absent, .. } => "delete what is absent",
    Operation::SetQuota { quota: Some(_), .. } => "set a quota",
    Operation::SetQuota { quota: None, .. } => "take a quota away",
    Operation::DeleteTree { part: 0, .. } => "delete a tree",
    Operation::DeleteTree { .. } => "delete a part of a tree",
    Operation::Multi { .. } => "multi",
    Operation::Acquire { mode: LockMode::Exclusive, .. } => "acquire",
    Operation::Acquire { mode: LockMode::Shared, .. } => "acquire shared",
    Operation::Release { .. } => "release",
    Operation::Create { lifetime: Lifetime::Transient, .. } => "create transient",
    Operation::Open { birth: None, .. } => "open",
    Operation::Open { birth: Some(Birth { acl: Some(_), .. }), .. } => "open and create with a list",
    Operation::Open { birth: Some(Birth { lifetime: Lifetime::Transient, .. }), .. } => "open a transient node",
    Operation::Open { birth: Some(_), .. } => "open and create",
    Operation::Close { .. } => "close",
    Operation::Through { .. } => "through a handle",
    Operation::Guarded { .. } => "guarded",
    Operation::CreateWithAcl { .. } => "create with a list",
    Operation::SetAcl { acl: Some(_), .. } => "set a list",
    Operation::SetAcl { acl: None, .. } => "take a list away",
    Operation::Authenticate { is_super: false, .. } => "authenticate",
    Operation::Authenticate { is_super: true, .. } => "authenticate as the super principal",
    Operation::CreateLog { .. } => "create a log",
    Operation::Append { end: None, .. } => "append",
    Operation::Append { end: Some(_), .. } => "append at an end",
    Operation::Trim { .. } => "trim",
    Operation::Seal { .. } => "seal",
    Operation::Sync => "sync",
    Operation::CloseSession => "close session",
}

words! { SCOPES, scope_word: Scope,
    Scope::Node => "watch a node",
    Scope::Children => "watch children",
    Scope::Entries => "watch entries",
    Scope::Subtree => "watch a subtree",
    Scope::Lock => "watch a lock",
}

/// Options that several operations have, or that go with others.
pub const OPTIONS: &[&str] = &[
    "acquire: wait",
    "acquire: at once or not at all",
    "acquire: create",
    "acquire: where a node is",
    "acquire: lock-delay",
    "open to read",
    "open to write",
    "open to do all",
    "open for nothing",
    "open: must be new",
    "open: need not be new",
    "open: sequential",
    "watch from a revision",
    "watch with data",
    "guarded: set",
    "guarded: multi",
    "guarded: acquire",
    "guarded: release",
    "through a handle: set a quota",
    "through a handle: delete a tree",
    "through a handle: set a list",
    "through a handle: release",
    "through a handle: append",
];

/// The options of an operation, which count where it was done.
fn options(operation: &Operation) -> Vec<&'static str> {
    match operation {
        Operation::Acquire { wait, create, lock_delay_ms, .. } => {
            let mut options = vec![
                if *wait { "acquire: wait" } else { "acquire: at once or not at all" },
                if *create { "acquire: create" } else { "acquire: where a node is" },
            ];
            options.extend((*lock_delay_ms > 0).then_some("acquire: lock-delay"));
            options
        }
        Operation::Open { mode, birth, .. } => {
            let mut options = vec![match *mode {
                HandleMode::READ => "open to read",
                HandleMode::WRITE => "open to write",
                HandleMode::NONE => "open for nothing",
                _ => "open to do all",
            }];
            if let Some(Birth { must, sequential, .. }) = birth {
                options.push(if *must { "open: must be new" } else { "open: need not be new" });
                options.extend(sequential.then_some("open: sequential"));
            }
            options
        }
        Operation::Guarded { operation, .. } => match **operation {
            Operation::Set { .. } => vec!["guarded: set"],
            Operation::Multi { .. } => vec!["guarded: multi"],
            Operation::Acquire { .. } => vec!["guarded: acquire"],
            Operation::Release { .. } => vec!["guarded: release"],
            _ => Vec::new(),
        },
        Operation::Through { operation, .. } => match **operation {
            Operation::SetQuota { .. } => vec!["through a handle: set a quota"],
            Operation::DeleteTree { .. } => vec!["through a handle: delete a tree"],
            Operation::SetAcl { .. } => vec!["through a handle: set a list"],
            Operation::Release { .. } => vec!["through a handle: release"],
            Operation::Append { .. } => vec!["through a handle: append"],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// What a watch was opened for.
pub fn watch_words(wish: &WatchWish) -> Vec<&'static str> {
    let mut words = vec![scope_word(&wish.scope)];
    words.extend(wish.from.is_some().then_some("watch from a revision"));
    words.extend(wish.with_data.then_some("watch with data"));
    words
}

words! { STEPS, step_word: Step,
    Step::Check { expect: Expect::Any, .. } => "step: check",
    Step::Check { expect: Expect::Version(_), .. } => "step: check a version",
    Step::Check { expect: Expect::Absent, .. } => "step: check absence",
    Step::Create { sequential: false, .. } => "step: create",
    Step::Create { sequential: true, .. } => "step: create sequential",
    Step::Set { .. } => "step: set",
    Step::Delete { .. } => "step: delete",
    Step::CreateWithAcl { .. } => "step: create with a list",
    Step::SetAcl { .. } => "step: set a list",
    Step::Get { .. } => "step: get",
    Step::CheckLock { .. } => "step: check a lock",
    Step::CheckHandle { .. } => "step: check a handle",
    Step::Append { .. } => "step: append",
}

words! { READS, read_word: Read,
    Read::Get { .. } => "get",
    Read::Exists { .. } => "exists",
    Read::List { limit: 0, .. } => "list",
    Read::List { .. } => "list a page",
    Read::Entries { .. } => "entries",
    Read::Scan { with_data: false, .. } => "scan",
    Read::Scan { with_data: true, .. } => "scan with data",
    Read::Quota { .. } => "quota",
    Read::Acl { .. } => "list of a node",
    Read::WhoAmI => "who am I",
    Read::LockHolders { .. } => "lock holders",
    Read::AwaitLock { .. } => "await a lock",
    Read::CheckSequencer { .. } => "check a sequencer",
    Read::HandleGet { .. } => "get by a handle",
    Read::HandleEntries { .. } => "entries by a handle",
    Read::HandleStat { .. } => "stat by a handle",
    Read::Records { .. } => "records",
}

words! { CONSISTENCIES, consistency_word: Consistency,
    Consistency::Linearizable => "linearizable",
    Consistency::AtLeast(_) => "at least",
    Consistency::Stale => "stale",
}

words! { REFUSALS, refusal_word: Refusal,
    Refusal::NoNode { .. } => "refused: no node",
    Refusal::NoParent { .. } => "refused: no parent",
    Refusal::NodeExists { .. } => "refused: node exists",
    Refusal::NotEmpty { .. } => "refused: not empty",
    Refusal::BadVersion { .. } => "refused: bad version",
    Refusal::EphemeralParent { .. } => "refused: ephemeral parent",
    Refusal::BadArgument { .. } => "refused: bad argument",
    Refusal::Fenced { .. } => "refused: fenced",
    Refusal::LockBusy { .. } => "refused: lock busy",
    Refusal::LockTwice { .. } => "refused: lock claimed twice",
    Refusal::LockNotHeld { .. } => "refused: lock not held",
    Refusal::HandleGone { .. } => "refused: handle gone",
    Refusal::HandleClosed { .. } => "refused: handle closed",
    Refusal::HandleForged { .. } => "refused: handle forged",
    Refusal::HandleLacks { .. } => "refused: handle not for that",
    Refusal::HandleForeign { .. } => "refused: handle of another",
    Refusal::NodesOverQuota { .. } => "refused: nodes over quota",
    Refusal::BytesOverQuota { .. } => "refused: bytes over quota",
    Refusal::NotAuthorized { .. } => "refused: not authorized",
    Refusal::IsLog { .. } => "refused: is a log",
    Refusal::NotLog { .. } => "refused: not a log",
    Refusal::LogSealed { .. } => "refused: log sealed",
    Refusal::LogEnd { .. } => "refused: log ends elsewhere",
    Refusal::LogTrimmed { .. } => "refused: records trimmed",
    Refusal::TooLarge { .. } => "refused: too large",
    Refusal::NotNow { .. } => "refused: not now",
    Refusal::Aborted { .. } => "refused: aborted",
    Refusal::NoSession => "refused: no session",
    Refusal::ResultDropped => "refused: result dropped",
}

/// The codes of what a replica closes a client's connection for.
static FAULT_CODES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let variants = variants(include_str!("../../src/wire/client.rs"), "FaultCode");
    variants.map(|name| format!("fault code: {name}")).collect()
});

/// What the library says of a call that failed, but for what the cell refuses: that has its words already.
static ERRORS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let refusals: Vec<&str> = variants(include_str!("../../src/namespace/command.rs"), "Refusal").collect();
    let variants = variants(include_str!("../../src/client/error.rs"), "Error");
    variants.filter(|name| !refusals.contains(name)).map(|name| format!("error: {name}")).collect()
});

/// The variants of an enum, as its source lists them.
fn variants<'a>(source: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let begins = format!("pub enum {name} {{");
    let body = source.lines().skip_while(move |line| *line != begins).skip(1).take_while(|line| *line != "}");
    let own = body.filter_map(|line| line.strip_prefix("    "));
    let named = own.filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
    named.map(first_name)
}

fn first_name(text: &str) -> &str {
    text.split(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap_or_default()
}

/// The word of a value's variant.
fn word_of(words: &'static [String], value: &impl Debug) -> &'static str {
    let shown = format!("{value:?}");
    let word = words.iter().find(|word| word.split_once(": ").is_some_and(|(_, name)| name == first_name(&shown)));
    word.unwrap_or_else(|| panic!("{shown} is none of {words:?}"))
}

pub fn fault_code_word(code: FaultCode) -> &'static str {
    word_of(&FAULT_CODES, &code)
}

fn error_word(error: &Error) -> &'static str {
    word_of(&ERRORS, error)
}

/// What some runs show, too seldom to be asked of so many seeds, and why.
pub const BY_CHANCE: [(&str, &str); 2] = [
    (
        "error: SessionTaken",
        "a process must have died before its asking for the session was heard, and that be heard after all",
    ),
    ("error: Unreachable", "no replica gives a client a session for 20 s, and most storms do not last as long"),
];

/// What no run is to show, and why.
pub const BEYOND: [(&str, &str); 21] = [
    (
        "fault code: PeerPort",
        "the server's listener for replicas says it, and here everybody is heard by whom he dials",
    ),
    ("error: NotSuper", "the library says it of images and members, which the enquirer asks for by themselves"),
    ("error: HandlePoisoned", "handles are poisoned by the library, above the machine"),
    ("error: TooManyCalls", "machines take more calls than clients here make before they are answered"),
    ("error: TooManyLockWaits", "machines take more waits than there are locks here"),
    ("error: Deadline", "callers wait for as long as it takes; the library's patience is above the machine"),
    ("error: Forked", "no process here is forked"),
    ("error: WrongCell", "there is one cell, and clients name it; what it says to others the stranger hears"),
    ("error: Partly", "trees are deleted by single operations; the library puts their parts together"),
    ("error: Silent", "it is said of what is asked of single replicas, which the enquirer does"),
    ("error: Version", "all here speak one protocol; what is said to others the stranger hears"),
    ("error: Protocol", "clients and replicas understand each other: a client that ends by it fails the run"),
    ("error: BadTarget", "nobody here reads connect strings"),
    ("error: Io", "no machine asks anything of an operating system"),
    ("create transient", "a transient node is made by opening it"),
    ("set what is absent", "only a check may ask for absence"),
    ("delete what is absent", "only a check may ask for absence"),
    ("refused: not now", "the trees here are too small to use up the walking of an entry"),
    ("refused: too large", "the library refuses such calls itself, and the front such frames"),
    ("refused: no session", "a machine whose session is over makes no more calls"),
    ("refused: result dropped", "a machine acknowledges only what it was told"),
];

/// Phases of the agreement, as a cell shows them.
pub const PHASES: [&str; 6] = ["no leader", "probing", "phase 1", "taking over", "phase 2", "catching up"];

/// Faults that chance brings by the way, beside the misfortunes.
pub const CHANCES: [&str; 22] = [
    "lost-packet",
    "dropped-frame",
    "doubled-frame",
    "reordered-frame",
    "replayed-frame",
    "flipped-bit",
    "late-piece",
    "crash-within",
    "slow-write",
    "write-error",
    "torn-write",
    "torn-start",
    "damaged-image",
    "stray-write",
    "misread",
    "hiccup",
    "clog",
    "front-pause",
    "slow-ring",
    "crowded-link",
    "wild-clock",
    "beyond-repair",
];

/// What a disk does wrong in so many ways that each must be seen.
pub const DISK_WRONGS: &[&str] =
    &["misread: start", "misread: log", "misread: what lies still", "misread: image", "torn writes beside damage"];

/// A fault and a phase that do not meet, and why.
pub const APART: [(&str, &str, &str); 5] = [
    ("hunt", "no leader", "it is after the leader"),
    ("lose-disk", "no leader", "a disk is lost when a leader has decided what torn votes left in doubt"),
    ("put-back", "no leader", "a copy is put back when somebody leads, by whom the others know what it lacks"),
    ("remove", "no leader", "a leader changes the members"),
    ("remove-two", "no leader", "a leader changes the members"),
];

/// Changes of members begin where somebody leads and all is well, and so are old copies put back: they seldom meet whoever
/// else wants to lead. Few runs go beyond repair. Cells of theirs are wanted from more seeds.
pub const SELDOM: [&str; 5] = ["lose-disk", "remove", "remove-two", "put-back", "beyond-repair"];

/// How often each fault struck in each phase.
pub type Struck = BTreeMap<(&'static str, &'static str), u64>;

/// Every fault and phase that may meet.
fn cells() -> impl Iterator<Item = (&'static str, &'static str)> {
    let all = KINDS.into_iter().chain(CHANCES).flat_map(|fault| PHASES.map(|phase| (fault, phase)));
    all.filter(|(fault, phase)| APART.iter().all(|(one, other, _)| (one, other) != (fault, phase)))
}

/// Those that did not meet yet.
pub fn empty_cells(struck: &Struck) -> Vec<(&'static str, &'static str)> {
    cells().filter(|cell| !struck.contains_key(cell)).collect()
}

/// Faults as rows, phases as columns; below, why some do not meet.
pub fn table(struck: &Struck) -> String {
    let line = |name: &str, cells: [String; PHASES.len()]| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>13}")).collect();
        format!("table: {name:<16}{cells}\n")
    };
    let is_apart = |fault, phase| APART.iter().any(|(one, other, _)| (*one, *other) == (fault, phase));
    let cell = |fault, phase| match struck.get(&(fault, phase)) {
        None if is_apart(fault, phase) => "-".to_owned(),
        times => times.copied().unwrap_or(0).to_string(),
    };
    let row = |fault| line(fault, PHASES.map(|phase| cell(fault, phase)));
    let rows: String = KINDS.into_iter().chain(CHANCES).map(row).collect();
    let apart = APART.map(|(fault, phase, why)| format!("table: -  {fault}, {phase}: {why}\n"));
    line("", PHASES.map(str::to_owned)) + &rows + &apart.concat()
}

/// Every word a run may reach.
pub fn everything() -> BTreeSet<&'static str> {
    let mut all =
        [OPERATIONS, STEPS, READS, CONSISTENCIES, REFUSALS, OPTIONS, SCOPES, enquirer::WORDS, DISK_WRONGS].concat();
    all.extend(stranger::WORDS);
    all.extend(FAULT_CODES.iter().chain(&*ERRORS).map(String::as_str));
    for (word, why) in BEYOND.iter().chain(&BY_CHANCE) {
        assert!(all.contains(word), "`{word}` is no word, and need not be excused as {why}");
    }
    all.into_iter().filter(|word| BEYOND.iter().chain(&BY_CHANCE).all(|(beyond, _)| beyond != word)).collect()
}

/// The words that a history has reached: with an answer.
pub fn of(history: &History) -> BTreeSet<&'static str> {
    let mut words = BTreeSet::new();
    for call in &history.calls {
        let answered = match &call.ended {
            Some((_, Ok(answered))) => answered,
            Some((_, Err(error))) => {
                words.insert(error_word(error));
                continue;
            }
            None => continue,
        };
        match &call.asked {
            Asked::Request { operation, .. } => {
                words.insert(operation_word(operation));
                let done = matches!(answered, Answered::Request { outcome: Ok(_), .. });
                words.extend(options(operation).into_iter().filter(|_| done));
                if let Operation::Multi { steps } = operation {
                    words.extend(steps.iter().map(step_word));
                }
            }
            Asked::Read { read, consistency, .. } => {
                words.extend([read_word(read), consistency_word(consistency)]);
            }
        }
        match answered {
            Answered::Request { outcome: Err(refusal), .. } | Answered::Read { answer: Err(refusal), .. } => {
                words.insert(refusal_word(refusal));
            }
            _ => {}
        }
    }
    words.extend(history.watched.iter().flat_map(|watched| watched.words()));
    words
}

/// The phases that a cell is in: its nodes may be in different ones.
pub fn phases(nodes: &[Node]) -> BTreeSet<&'static str> {
    let mut phases = BTreeSet::new();
    for running in nodes.iter().filter_map(|node| node.running.as_ref()) {
        let paxos = running.replica.paxos();
        let status = paxos.status();
        match status.role {
            Role::Follower => {}
            Role::Probing => _ = phases.insert("probing"),
            Role::Preparing => _ = phases.insert("phase 1"),
            Role::Leading if !paxos.is_leading() => _ = phases.insert("taking over"),
            Role::Leading => _ = phases.insert("phase 2"),
        }
        if status.known_chosen > status.chosen_upto {
            phases.insert("catching up");
        }
    }
    if !phases.contains("taking over") && !phases.contains("phase 2") {
        phases.insert("no leader");
    }
    phases
}
