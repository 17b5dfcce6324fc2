//! What a line that was begun can go on with.

use std::cell::RefCell;
use std::time::Duration;

use clap::CommandFactory;
use quorate::client::{Client, Consistency};

use super::super::Cli;
use super::super::connect::Target;

/// What is known to complete a line with.
pub struct Completions {
    program: clap::Command,
    also: &'static [&'static str],
    paths: Paths,
}

/// The cell's own paths.
struct Paths {
    target: Target,
    /// Opened when it is first needed.
    client: RefCell<Option<Client>>,
}

impl Completions {
    /// For the cell at `target`; `also` are commands beside those of the command line.
    pub fn new(target: Target, also: &'static [&'static str]) -> Self {
        let mut program = Cli::command();
        // So that each command has the flags of all as well.
        program.build();
        Self { program, also, paths: Paths { target, client: RefCell::new(None) } }
    }

    /// Where the word that ends `line` begins, and what it may become.
    pub fn of(&self, line: &str) -> (usize, Vec<String>) {
        let start = line.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let (before, word) = line.split_at(start);
        let before: Vec<&str> = before.split_whitespace().skip_while(|word| *word == "quorate").collect();
        let mut found = if before.contains(&"--") {
            // What follows is another program's line.
            Vec::new()
        } else if word.starts_with('/') {
            self.paths.beginning(word)
        } else {
            names(&self.program, &before)
        };
        if before.is_empty() {
            found.extend(self.also.iter().map(|name| (*name).to_owned()));
        }
        found.retain(|name| name.starts_with(word));
        found.sort();
        (start, found)
    }
}

/// The subcommands and flags that may follow the words `before`.
fn names(program: &clap::Command, before: &[&str]) -> Vec<String> {
    let mut command = program;
    for word in before {
        command = command.find_subcommand(word).unwrap_or(command);
    }
    let subcommands = command.get_subcommands().filter(|command| !command.is_hide_set());
    let flags = command.get_arguments().filter(|flag| !flag.is_hide_set()).filter_map(clap::Arg::get_long);
    subcommands.map(|command| command.get_name().to_owned()).chain(flags.map(|flag| format!("--{flag}"))).collect()
}

impl Paths {
    /// The paths that begin so; none if the cell does not tell at once.
    fn beginning(&self, word: &str) -> Vec<String> {
        let (folder, _) = word.split_at(word.rfind('/').map_or(0, |at| at + 1));
        let parent = folder.trim_end_matches('/');
        let parent = if parent.is_empty() { "/" } else { parent };
        let mut client = self.client.borrow_mut();
        if client.is_none() {
            *client = self.target.open(PATIENCE).ok();
        }
        let Some(known) = client.as_ref() else { return Vec::new() };
        match known.list_as(parent, Consistency::Stale).wait_timeout(PATIENCE) {
            Ok((names, _)) => names.into_iter().map(|name| format!("{folder}{name}")).collect(),
            Err(error) => {
                if error.is_terminal() {
                    *client = None;
                }
                Vec::new()
            }
        }
    }
}

/// How long a person who pressed a key waits for an answer.
const PATIENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Vec<String> {
        Completions::new(Target::at("127.0.0.1:1", PATIENCE), &["kill"]).of(line).1
    }

    #[test]
    fn commands_and_flags_are_those_of_the_command_line() {
        assert_eq!(of("creat"), ["create"]);
        assert_eq!(of("quorate creat"), ["create"]);
        assert_eq!(of("ki"), ["kill"]);
        assert!(of("").len() > 20 && !of("").contains(&"supervised".to_owned()));
        assert_eq!(of("create --seq"), ["--sequential"]);
        assert_eq!(of("bench mix --read-p"), ["--read-pct"]);
        assert_eq!(of("bench mi"), ["mix"]);
        assert_eq!((of("ls --js"), of("--outp")), (vec!["--json".to_owned()], vec!["--output".to_owned()]));
        assert!(of("get ki").is_empty(), "only the first word is a command");
        assert!(of("lock /l -- cr").is_empty(), "another program's line");
        assert!(of("get /a").is_empty(), "no cell answers");
        assert_eq!(Completions::new(Target::at("", PATIENCE), &[]).of("create --seq").0, 7);
    }
}
