//! `quorate tune`: looks at a host's settings, sets them, and brings back what was there.
//!
//! What is set, and why, is data: `tuning/profile.toml`, built into this program. A setting is a value of the running
//! kernel (and the line that sets it again when the host starts), a line in a file, a whole file, or advice for a person.
//!
//! | file | |
//! |---|---|
//! | `profile` | the settings as they are written |
//! | `target` | from a setting to the files of this host; everything below `--root` |
//! | `check` | how the host stands |
//! | `apply` | setting, saving and undoing |
//! | `saved` | what was found before |
//! | `script` | the same for a shell |
//!
//! A setting that takes something from the host's other users is applied only when it is named.
//!
//! Deliberately not here: any change that needs a restart of the host (the kernel's command line), firmware, formatting of
//! disks, and the kernel's mitigations, which are not ours to weigh.

pub mod apply;
pub mod check;
pub mod profile;
mod saved;
pub mod script;
pub mod target;

use std::path::PathBuf;

use comfy_table::{Table, presets};
use quorate::server::{Code, Failure};
use serde_json::json;

use crate::doctor::mount::{Mount, existing};
use check::{Standing, Verdict};
use profile::{Kind, Profile, Setting};
use target::Host;

#[derive(clap::Subcommand)]
#[command(
    after_help = "Examples:\n  quorate tune check --dir /var/lib/quorate/replica\n  quorate tune help swappiness\n  quorate tune apply --dir /var/lib/quorate/replica\n  quorate tune undo"
)]
pub enum Args {
    #[command(
        after_help = "Examples:\n  quorate tune check\n  quorate tune check --dir /var/lib/quorate/replica --json"
    )]
    /// Shows how this host stands; status 1 if a setting differs
    Check(Check),
    #[command(
        after_help = "Examples:\n  quorate tune apply --dry-run\n  quorate tune apply --dir /var/lib/quorate/replica"
    )]
    /// Sets what differs, and saves what was there
    Apply(Apply),
    #[command(after_help = "Examples:\n  quorate tune undo")]
    /// Brings back what was there, where it still is as `apply` wrote it
    Undo(Undo),
    #[command(after_help = "Examples:\n  quorate tune script > tune.sh")]
    /// Prints a shell script that does what `apply` and `undo` do
    Script(Choice),
    /// Says of one setting why, how to look, how to set it and how to undo it
    Help(Help),
}

#[derive(clap::Args)]
pub struct Choice {
    /// The settings meant [default: all but those that must be named]
    names: Vec<String>,
    /// A replica's folder: settings of its disk are meant
    #[arg(long)]
    dir: Vec<PathBuf>,
    /// A disk, like nvme0n1
    #[arg(long)]
    disk: Vec<String>,
    /// A network card whose interrupts are to keep off Quorate's cores, like eth0
    #[arg(long)]
    card: Vec<String>,
    /// Quorate's cores, as in [server] cores
    #[arg(long, value_delimiter = ',')]
    cores: Vec<usize>,
    #[command(flatten)]
    root: Root,
}

#[derive(clap::Args)]
pub struct Root {
    /// Act on the files below this folder, to try it out
    #[arg(long, default_value = "/")]
    root: PathBuf,
}

#[derive(clap::Args)]
pub struct Check {
    #[command(flatten)]
    choice: Choice,
}

#[derive(clap::Args)]
pub struct Apply {
    #[command(flatten)]
    choice: Choice,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args)]
pub struct Undo {
    /// The settings meant [default: all]
    names: Vec<String>,
    #[command(flatten)]
    root: Root,
}

#[derive(clap::Args)]
pub struct Help {
    /// The setting; `quorate tune check` lists them
    name: String,
}

/// Gives the exit status: 1 if something differs, or could not be done.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let profile = Profile::built_in();
    match args {
        Args::Check(args) => {
            let host = args.choice.host()?;
            let chosen = args.choice.settings(&profile, true)?;
            let named = !args.choice.names.is_empty();
            let standing = |setting: &&Setting| {
                let standing = check::standing(&profile, setting, &host);
                let optional = setting.by_name && !named && standing.verdict == Verdict::Wrong;
                if optional { Standing { verdict: Verdict::Optional, ..standing } } else { standing }
            };
            print_check(&chosen.iter().map(standing).collect::<Vec<_>>())
        }
        Args::Apply(args) => {
            let chosen = args.choice.settings(&profile, false)?;
            told(&apply::apply(&profile, &chosen, &args.choice.host()?, args.dry_run)?)
        }
        Args::Undo(args) => {
            args.names.iter().try_for_each(|name| find(&profile, name).map(drop))?;
            told(&apply::undo(&profile, &args.names, &args.root.host())?)
        }
        Args::Script(choice) => {
            let text = script::script(&profile, &choice.settings(&profile, false)?, &choice.host()?);
            crate::print(text.as_bytes()).map(|()| 0)
        }
        Args::Help(args) => crate::print_line(&help(&profile, find(&profile, &args.name)?)).map(|()| 0),
    }
}

impl Choice {
    fn host(&self) -> Result<Host, Failure> {
        let mut host =
            Host { disks: self.disk.clone(), cards: self.card.clone(), cores: self.cores.clone(), ..self.root.host() };
        for folder in &self.dir {
            let mount = Mount::of(existing(folder));
            let mount = mount.map_err(|error| Failure::io(Code::DiskFailed, "find", folder, &error))?;
            let disk = mount.disk.ok_or_else(|| {
                Failure::new(Code::FilesystemUnfit, format!("{} lies on no disk of its own", folder.display()))
                    .found(mount.filesystem)
                    .fix("name the disk with --disk")
            })?;
            host.disks.push(disk.name);
        }
        host.disks.sort();
        host.disks.dedup();
        Ok(host)
    }

    /// Those named; if none is, all for a look, and all but those that must be named otherwise.
    fn settings<'p>(&self, profile: &'p Profile, look: bool) -> Result<Vec<&'p Setting>, Failure> {
        if self.names.is_empty() {
            return Ok(profile.settings.iter().filter(|setting| look || !setting.by_name).collect());
        }
        self.names.iter().map(|name| find(profile, name)).collect()
    }
}

impl Root {
    fn host(&self) -> Host {
        Host::at(self.root.clone())
    }
}

fn find<'p>(profile: &'p Profile, name: &str) -> Result<&'p Setting, Failure> {
    profile.setting(name).ok_or_else(|| {
        let names: Vec<&str> = profile.settings.iter().map(|setting| setting.name.as_str()).collect();
        Failure::new(Code::Usage, format!("there is no setting `{name}`")).fix(format!("one of: {}", names.join(", ")))
    })
}

fn told(report: &apply::Report) -> Result<u8, Failure> {
    let nothing = "nothing to do: every setting is as wanted".to_owned();
    let lines = if report.lines.is_empty() { vec![nothing] } else { report.lines.clone() };
    crate::print_line(&lines.join("\n"))?;
    if report.failed {
        crate::tell(format_args!(
            "not all of it could be done; settings of a host are its administrator's: run it as root"
        ));
    }
    Ok(u8::from(report.failed))
}

fn print_check(standings: &[Standing]) -> Result<u8, Failure> {
    let differs = standings.iter().any(|s| matches!(s.verdict, Verdict::Wrong | Verdict::NotKept));
    let text = if crate::output::is_json() {
        let object = |s: &Standing| json!({ "name": s.name, "subject": s.subject, "verdict": s.verdict.name(), "found": s.found, "wanted": s.wanted, "why": s.why });
        json!({ "differs": differs, "settings": standings.iter().map(object).collect::<Vec<_>>() }).to_string()
    } else {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["setting", "subject", "verdict", "found", "wanted"]);
        for s in standings {
            table.add_row([&s.name, &s.subject, s.verdict.name(), &s.found, &s.wanted]);
        }
        table.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>().join("\n")
    };
    crate::print_line(&text)?;
    Ok(u8::from(differs))
}

fn help(profile: &Profile, setting: &Setting) -> String {
    let (check, set, undo) = match &setting.kind {
        Kind::Value(value) => {
            let kept = setting.kept().map_or_else(
                || "it lasts until the host restarts".to_owned(),
                |(file, line)| format!("kept by {}: {line}", profile.file(file).path),
            );
            (
                format!("cat {}", value.path),
                format!("{} into it; {kept}", value.wish(&value.wanted)),
                format!("quorate tune undo {}: the value that was there", setting.name),
            )
        }
        Kind::Line(line) => {
            let path = &profile.file(&line.file).path;
            (
                format!("grep . {path}"),
                format!("in {path}: {}", line.text),
                format!("quorate tune undo {}", setting.name),
            )
        }
        Kind::Whole(whole) => (
            format!("cat {}", whole.path),
            format!(
                "make {}:\n         {}\n       then {}",
                whole.path,
                whole.content().trim_end().replace('\n', "\n         "),
                whole.effect
            ),
            format!("quorate tune undo {}: the file that was there, or none", setting.name),
        ),
        Kind::Advice(advice) => (advice.check.clone(), advice.set.clone(), advice.undo.clone()),
    };
    let named = if setting.by_name { "\nnote:  applied only when it is named" } else { "" };
    format!(
        "{} ({})\nwhy:   {}\ncheck: {check}\nset:   {set}\nundo:  {undo}{named}",
        setting.name, setting.subject, setting.why
    )
}
