//! `quorate txn`: several steps that are done all, in order, or not at all.

use std::io::Read;
use std::time::Duration;

use clap::Parser;
use quorate::client::{
    Acl, AclEntry, Appended, Client, Expect, HandleToken, Revision, Sequencer, Txn, TxnOutcome, TxnReply,
};
use quorate::server::{Code, Failure};
use serde_json::{Value, json};

use super::connect::{Target, change_failed, failed, tagged};
use super::create::Birth;
use super::output;
use super::shell::line::words;

#[derive(clap::Args)]
#[command(after_help = "A line is one step; quotation marks keep spaces together:
  if        what follows are conditions; nothing is done unless all hold
    exists PATH  |  absent PATH  |  version PATH N  |  lock SEQUENCER  |  handle HANDLE
  then      what is done if they do, all of it or, if one step fails, nothing
    create PATH [DATA] [--sequential] [--ttl SPAN | --container | --ephemeral] [--acl ENTRY]...
    set PATH DATA [--version N]
    delete PATH [--version N]
    get PATH
    append PATH RECORD... [--end N]
    acl PATH ENTRY... [--inherit] [--version N]  |  acl PATH --open [--version N]
  else      what is done otherwise: a transaction of its own, right after
A word of these may stand alone on its line or before a step. Without any, all lines are `then`.

Examples:
  quorate txn 'if version /app 3' 'then set /app blue' 'create /app/log changed --sequential' 'else get /app'
  quorate txn 'set /from 90' 'set /to 110'
  quorate txn 'create /mine' 'create /mine/box --container' 'acl /mine auth::all' --auth digest:alice:secret
  quorate txn <<'EOF'
  if
    absent /leader
  then
    create /leader 'host 7'
  else
    get /leader
  EOF

The first line of the result is the branch that was taken and its revision; then comes one line a step.")]
pub struct Args {
    /// The lines; without any, standard input is read to its end
    lines: Vec<String>,
    #[command(flatten)]
    target: Target,
}

/// One line.
#[derive(Parser)]
#[command(multicall = true, disable_help_subcommand = true, disable_help_flag = true)]
enum Step {
    Exists {
        path: String,
    },
    Absent {
        path: String,
    },
    Version {
        path: String,
        version: u64,
    },
    Lock {
        sequencer: Sequencer,
    },
    Handle {
        handle: HandleToken,
    },
    Create {
        path: String,
        #[arg(default_value = "", allow_hyphen_values = true)]
        data: String,
        #[command(flatten)]
        birth: Birth,
    },
    Set {
        path: String,
        #[arg(allow_hyphen_values = true)]
        data: String,
        #[arg(long)]
        version: Option<u64>,
    },
    Delete {
        path: String,
        #[arg(long)]
        version: Option<u64>,
    },
    Get {
        path: String,
    },
    Append {
        path: String,
        #[arg(required = true)]
        records: Vec<String>,
        #[arg(long)]
        end: Option<u64>,
    },
    Acl {
        path: String,
        #[arg(required_unless_present = "open")]
        entries: Vec<AclEntry>,
        #[arg(long)]
        inherit: bool,
        #[arg(long, conflicts_with_all = ["entries", "inherit"])]
        open: bool,
        #[arg(long)]
        version: Option<u64>,
    },
}

/// What is to be done.
#[derive(Default)]
struct Plan {
    conditions: Vec<Step>,
    then: Vec<Step>,
    otherwise: Option<Vec<Step>>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let mut text = args.lines.join("\n");
    if args.lines.is_empty() {
        std::io::stdin()
            .lock()
            .read_to_string(&mut text)
            .map_err(|error| Failure::new(Code::Usage, "cannot read standard input").found(error.to_string()))?;
    }
    let plan = Plan::read(&text)?;
    plan.steps().try_for_each(|step| match step {
        Step::Create { birth, .. } => birth.check(&args.target),
        _ => Ok(()),
    })?;
    args.target.with_client(|client, timeout| perform(client, &plan, timeout))
}

fn perform(client: &Client, plan: &Plan, timeout: Duration) -> Result<(), Failure> {
    let steps = || plan.conditions.iter().chain(&plan.then);
    let outcome = commit(client, steps(), timeout)?;
    let (branch, steps, revision, replies) = match (outcome, &plan.otherwise) {
        (TxnOutcome::Applied { revision, replies }, _) => {
            ("then", &plan.then, revision, replies.into_iter().skip(plan.conditions.len()).collect::<Vec<_>>())
        }
        (TxnOutcome::Aborted { index, .. }, Some(otherwise)) if index < plan.conditions.len() => {
            match commit(client, otherwise.iter(), timeout)? {
                TxnOutcome::Applied { revision, replies } => ("else", otherwise, revision, replies),
                TxnOutcome::Aborted { index, error } => return Err(aborted("else", index, &error)),
            }
        }
        (TxnOutcome::Aborted { index, error }, _) => {
            return Err(match index.checked_sub(plan.conditions.len()) {
                None => aborted("if", index, &error),
                Some(index) => aborted("then", index, &error),
            });
        }
    };
    print(branch, revision, steps, &replies)
}

fn commit<'a>(
    client: &Client,
    steps: impl Iterator<Item = &'a Step>,
    timeout: Duration,
) -> Result<TxnOutcome, Failure> {
    let txn = steps.fold(client.txn(), |txn, step| step.add_to(txn));
    txn.commit().wait_timeout(timeout).map_err(|error| change_failed(&error))
}

fn aborted(section: &str, index: usize, error: &quorate::client::Error) -> Failure {
    let cause = failed(error);
    let what = format!("step {} of `{section}` failed, so nothing was done", index + 1);
    tagged(Failure::new(cause.code(), what).found(cause.to_string()), error)
}

fn print(branch: &str, revision: Revision, steps: &[Step], replies: &[TxnReply]) -> Result<(), Failure> {
    let results = steps.iter().zip(replies);
    if output::is_json() {
        let results: Vec<Value> = results.map(|(step, reply)| object(step, reply)).collect();
        return crate::print_line(&json!({ "branch": branch, "revision": revision, "results": results }).to_string());
    }
    let mut text = format!("{branch} {revision}\n");
    for (step, reply) in results {
        text += &(line(step, reply) + "\n");
    }
    crate::print(text.as_bytes())
}

fn line(step: &Step, reply: &TxnReply) -> String {
    let path = step.path();
    match reply {
        TxnReply::Created(created) => format!("created {}", created.path),
        TxnReply::Set(stat) => format!("set {path} version {}", stat.version),
        TxnReply::AclSet(stat) => format!("acl {path} version {}", stat.acl_version),
        TxnReply::Deleted => format!("deleted {path}"),
        TxnReply::Got(Some((data, stat))) => {
            format!("got {path} version {} {}", stat.version, crate::one_line(data))
        }
        TxnReply::Appended(Appended { first, end }) => format!("appended {path} {first} {end}"),
        TxnReply::Got(None) => format!("none {path}"),
        _ => format!("held {path}"),
    }
}

fn object(step: &Step, reply: &TxnReply) -> Value {
    let path = step.path();
    match reply {
        TxnReply::Created(created) => json!({ "result": "created", "path": created.path }),
        TxnReply::Set(stat) => json!({ "result": "set", "path": path, "version": stat.version }),
        TxnReply::AclSet(stat) => json!({ "result": "acl", "path": path, "acl_version": stat.acl_version }),
        TxnReply::Deleted => json!({ "result": "deleted", "path": path }),
        TxnReply::Got(Some((data, stat))) => {
            let mut got = json!({ "result": "got", "path": path, "version": stat.version });
            let (name, value) = output::data(data);
            got[name] = value;
            got
        }
        TxnReply::Appended(Appended { first, end }) => {
            json!({ "result": "appended", "path": path, "first": first, "end": end })
        }
        TxnReply::Got(None) => json!({ "result": "none", "path": path }),
        _ => json!({ "result": "held", "path": path }),
    }
}

impl Plan {
    fn steps(&self) -> impl Iterator<Item = &Step> {
        self.conditions.iter().chain(&self.then).chain(self.otherwise.iter().flatten())
    }

    fn read(text: &str) -> Result<Self, Failure> {
        let mut plan = Self::default();
        let mut section = "then".to_owned();
        for (number, line) in text.lines().enumerate() {
            let wrong = |why: String| {
                Failure::new(Code::Usage, format!("line {} of the transaction is wrong", number + 1))
                    .found(why)
                    .fix("quorate txn --help shows the form")
            };
            let mut words = words(line).ok_or_else(|| wrong("a quotation mark is missing".into()))?;
            if words.first().is_some_and(|word| word.starts_with('#')) {
                continue;
            }
            if words.first().is_some_and(|word| matches!(word.as_str(), "if" | "then" | "else")) {
                section = words.remove(0);
            }
            if section == "else" {
                plan.otherwise.get_or_insert_default();
            }
            if words.is_empty() {
                continue;
            }
            let step = Step::try_parse_from(&words).map_err(|error| {
                let said = error.render().to_string();
                // What is missing is named in lines of its own; the usage behind them is the shell's, not a line's.
                let said: Vec<&str> = said.split("\n\n").next().unwrap_or_default().lines().map(str::trim).collect();
                wrong(said.join(" ").trim_start_matches("error: ").to_owned())
            })?;
            match section.as_str() {
                "if" if !step.is_condition() => return Err(wrong(format!("`{}` is no condition", words[0]))),
                "if" => plan.conditions.push(step),
                "else" => plan.otherwise.get_or_insert_default().push(step),
                _ => plan.then.push(step),
            }
        }
        if plan.conditions.is_empty() && plan.then.is_empty() {
            return Err(
                Failure::new(Code::Usage, "the transaction has no steps").fix("quorate txn --help shows the form")
            );
        }
        Ok(plan)
    }
}

impl Step {
    fn is_condition(&self) -> bool {
        match self {
            Self::Exists { .. }
            | Self::Absent { .. }
            | Self::Version { .. }
            | Self::Lock { .. }
            | Self::Handle { .. } => true,
            Self::Create { .. }
            | Self::Set { .. }
            | Self::Delete { .. }
            | Self::Get { .. }
            | Self::Append { .. }
            | Self::Acl { .. } => false,
        }
    }

    fn path(&self) -> &str {
        match self {
            Self::Exists { path }
            | Self::Absent { path }
            | Self::Version { path, .. }
            | Self::Create { path, .. }
            | Self::Set { path, .. }
            | Self::Delete { path, .. }
            | Self::Append { path, .. }
            | Self::Acl { path, .. }
            | Self::Get { path } => path,
            Self::Lock { sequencer } => &sequencer.path,
            Self::Handle { handle } => &handle.path,
        }
    }

    fn add_to(&self, txn: Txn) -> Txn {
        let version = |version: &Option<u64>| version.map_or(Expect::Any, Expect::Version);
        match self {
            Self::Exists { path } => txn.check(path, Expect::Any),
            Self::Absent { path } => txn.check(path, Expect::Absent),
            Self::Version { path, version } => txn.check(path, Expect::Version(*version)),
            Self::Lock { sequencer } => txn.check_lock(sequencer),
            Self::Handle { handle } => txn.check_handle(handle),
            Self::Create { path, data, birth } => txn.create(path, data.clone(), birth.options()),
            Self::Set { path, data, version: expected } => txn.set(path, data.clone(), version(expected)),
            Self::Delete { path, version: expected } => txn.delete(path, version(expected)),
            Self::Append { path, records, end } => txn.append(path, records, *end),
            Self::Get { path } => txn.get(path),
            Self::Acl { path, entries, inherit, open, version: expected } => {
                let acl = (!open).then(|| Acl { entries: entries.clone(), inherit: *inherit });
                txn.set_acl(path, acl, version(expected))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate::client::CreateOptions;

    use super::*;

    fn counts(text: &str) -> (usize, usize, Option<usize>) {
        let plan = Plan::read(text).unwrap_or_else(|failure| panic!("{}", failure.report()));
        (plan.conditions.len(), plan.then.len(), plan.otherwise.map(|steps| steps.len()))
    }

    #[test]
    fn a_line_is_a_step_of_the_section_it_stands_in() {
        assert_eq!(counts("set /a 'x y'\n\nget /a"), (0, 2, None));
        assert_eq!(counts("if\n exists /a\n version /a 3\nthen\n delete /a\nelse\n get /a\n# done"), (2, 1, Some(1)));
        assert_eq!(
            counts("if absent /a\nlock shared:1:2:/l\nthen create /a -1 --sequential\nexists /b\nelse"),
            (2, 2, Some(0))
        );
    }

    #[test]
    fn a_step_has_the_options_of_its_command() {
        let lines = "create /a x --ttl 30s --acl world:anyone:r --acl auth::all\ncreate /b --container -s\n\
                     acl /a auth::all --inherit --version 2\nacl /a --open";
        assert_eq!(counts(lines), (0, 4, None));
        let plan = Plan::read(lines).unwrap_or_else(|failure| panic!("{}", failure.report()));
        let [Step::Create { data, birth, .. }, _, Step::Acl { entries, inherit: true, .. }, _] = &plan.then[..] else {
            panic!("other steps");
        };
        let acl = ["world:anyone:r", "auth::all"].map(|entry| entry.parse::<AclEntry>().expect("an entry"));
        assert_eq!((data.as_str(), entries.len()), ("x", 1));
        assert_eq!(birth.options(), CreateOptions::ttl(Duration::from_secs(30)).acl(Acl::new(acl)));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, hint) in [
            ("", "no steps"),
            ("else get /a", "no steps"),
            ("get /a\nfrobnicate /a", "line 2"),
            ("if get /a", "no condition"),
            ("if acl /a --open", "no condition"),
            ("if handle /a", "is no handle"),
            ("create /a x --ttl 3s --container", "cannot be used with"),
            ("acl /a", "not provided"),
            ("if lock /a", "is no sequencer"),
            ("set /a", "line 1"),
            ("set /a", "not provided: <DATA>"),
            ("version /a x", "line 1"),
            ("set /a 'b", "quotation mark"),
        ] {
            let report = Plan::read(text).err().unwrap_or_else(|| panic!("{text} is wrong")).report();
            assert!(report.contains(hint), "{text}: {report}");
        }
    }
}
