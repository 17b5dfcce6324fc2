//! The prompt of `quorate dev`: the commands of the command line on the cell at hand, and a few on its processes.

use std::io::{self, Write};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use clap::{Parser, Subcommand};
use quorate::client::Client;
use quorate::paxos::ReplicaId;
use quorate::server::{Code, Failure};
use rustix::process::Signal;
use signal_hook::consts::{SIGCHLD, SIGINT};

use super::cell::Cell;
use super::dev::{Event, receive, tell_ended};
use super::{connect, create, delete, get, ls, set, stat, status};

#[derive(Parser)]
#[command(multicall = true, disable_help_flag = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a node
    Create(create::What),
    /// Prints a node's data
    Get(get::What),
    /// Replaces a node's data
    Set(set::What),
    /// Removes a node without children
    Delete(delete::What),
    /// Lists the names of a node's children
    Ls(ls::What),
    /// Prints a node's numbers
    Stat(stat::What),
    /// Shows every replica
    Status,
    /// Kills a replica's process (kill -9)
    Kill { replica: u8 },
    /// Starts a replica's process again
    Start { replica: u8 },
    /// Stops the cell
    #[command(alias = "quit")]
    Exit,
}

/// How long one line may wait for the cell.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads and does lines until `exit`, the end of the input, or a signal. Gives the exit status.
pub fn run(cell: &mut Cell, restart: bool, happened: &Receiver<Event>) -> Result<u8, Failure> {
    println!("`help` lists the commands, `exit` stops the cell.");
    let endpoints = cell.endpoints();
    // One session for the whole conversation; made anew if a line finds it over.
    let mut client: Option<Client> = None;
    prompt();
    loop {
        match receive(happened) {
            Event::Line(line) => {
                if !perform(cell, &mut client, &endpoints, &line) {
                    return close(client);
                }
                prompt();
            }
            Event::NoMoreLines => return close(client),
            Event::Signal(SIGCHLD) => tell_ended(cell, restart)?,
            Event::Signal(SIGINT) => return close(client),
            Event::Signal(signal) => return close(client).map(|_| 128 + signal as u8),
            Event::Serving(_) => {}
        }
    }
}

/// Does one line. False if it was the last.
fn perform(cell: &mut Cell, client: &mut Option<Client>, endpoints: &str, line: &str) -> bool {
    let Some(words) = words(line) else {
        eprintln!("a quotation mark is missing");
        return true;
    };
    if words.is_empty() {
        return true;
    }
    let command = match Line::try_parse_from(words) {
        Ok(line) => line.command,
        Err(error) => {
            // Help comes this way as well. A terminal that is gone ends the input next.
            let _ = error.print();
            return true;
        }
    };
    let done = match command {
        Command::Exit => return false,
        Command::Status => status::print(endpoints, None, PATIENCE, false),
        Command::Kill { replica } => {
            let killed = cell.signal(ReplicaId(replica), Signal::KILL);
            if killed { Ok(()) } else { Err(Failure::new(Code::Usage, format!("replica {replica} does not run"))) }
        }
        Command::Start { replica } => match cell.config().replica(ReplicaId(replica)) {
            Some(_) => cell.start(ReplicaId(replica)),
            None => Err(Failure::new(Code::Usage, format!("there is no replica {replica}"))),
        },
        on_the_tree => with_client(client, endpoints, |client| match &on_the_tree {
            Command::Create(what) => create::perform(client, what, PATIENCE),
            Command::Get(what) => get::perform(client, what, PATIENCE),
            Command::Set(what) => set::perform(client, what, PATIENCE),
            Command::Delete(what) => delete::perform(client, what, PATIENCE),
            Command::Ls(what) => ls::perform(client, what, PATIENCE),
            Command::Stat(what) => stat::perform(client, what, PATIENCE),
            Command::Status | Command::Kill { .. } | Command::Start { .. } | Command::Exit => Ok(()),
        }),
    };
    if let Err(failure) = done {
        eprintln!("{}", failure.report());
        if failure.code() == Code::SessionLost {
            *client = None;
        }
    }
    true
}

fn with_client(
    client: &mut Option<Client>,
    endpoints: &str,
    work: impl FnOnce(&Client) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if client.is_none() {
        *client = Some(connect::open(endpoints, PATIENCE)?);
    }
    client.as_ref().map_or(Ok(()), work)
}

fn close(client: Option<Client>) -> Result<u8, Failure> {
    if let Some(client) = client {
        // The cell is being stopped; a session left open ends by itself.
        let _ = client.close().wait_timeout(Duration::from_secs(1));
    }
    Ok(0)
}

fn prompt() {
    print!("quorate> ");
    // Without a terminal there is no prompt to be missed.
    let _ = io::stdout().flush();
}

/// Cuts a line at its spaces; quotation marks of either kind keep them. `None` if one is missing.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in line.chars() {
        match (quote, letter) {
            (Some(mark), letter) if mark == letter => quote = None,
            (Some(_), letter) => word.get_or_insert_default().push(letter),
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            (None, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn quotation_marks_keep_spaces_together() {
        assert_eq!(words("set /a 'b c' \"\"").unwrap(), ["set", "/a", "b c", ""]);
        assert_eq!(words("  ").unwrap(), Vec::<String>::new());
        assert_eq!(words("set /a 'b"), None);
    }
}
