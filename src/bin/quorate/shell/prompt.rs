//! The line editor. Off a terminal it only reads.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use quorate::server::{Code, Failure};
use rustyline::config::{CompletionType, Config};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Editor, hint::Hinter};

use super::complete::Completions;
use crate::connect::Target;

/// A prompt on standard input.
pub struct Prompt {
    editor: Editor<Completions, FileHistory>,
    history: Option<PathBuf>,
}

impl rustyline::Helper for Completions {}
impl rustyline::highlight::Highlighter for Completions {}
impl rustyline::validate::Validator for Completions {}

impl Hinter for Completions {
    type Hint = String;
}

impl rustyline::completion::Completer for Completions {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Self::Candidate>)> {
        Ok(self.of(&line[..at]))
    }
}

impl Prompt {
    /// A prompt for a cell; `also` are commands it has beside those of the command line.
    pub fn open(target: Target, also: &'static [&'static str]) -> Result<Self, Failure> {
        let config = Config::builder()
            .auto_add_history(true)
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .build();
        let mut editor = Editor::with_config(config)
            .map_err(|error| Failure::new(Code::RunFailed, "cannot edit lines here").found(error.to_string()))?;
        editor.set_helper(Some(Completions::new(target, also)));
        let history = if io::stdin().is_terminal() { history() } else { None };
        if let Some(path) = &history {
            // There may be none yet; a prompt without a past is a prompt.
            let _ = editor.load_history(path);
        }
        Ok(Self { editor, history })
    }

    /// The next line; `None` at the end of the input.
    pub fn read(&mut self) -> Result<Option<String>, Failure> {
        let prompt = if io::stdin().is_terminal() { "quorate> " } else { "" };
        loop {
            match self.editor.readline(prompt) {
                Ok(line) => {
                    self.remember();
                    return Ok(Some(line));
                }
                Err(ReadlineError::Eof) => return Ok(None),
                Err(ReadlineError::Interrupted) => crate::tell(format_args!("`exit` or Ctrl-D ends this")),
                Err(error) => {
                    return Err(Failure::new(Code::Usage, "cannot read standard input").found(error.to_string()));
                }
            }
        }
    }

    fn remember(&mut self) {
        let Some(path) = &self.history else { return };
        // Several prompts share the file, so each line is added when it was typed. A history that cannot be kept is missed
        // by nobody but the next prompt.
        let _ = path.parent().map(std::fs::create_dir_all);
        let _ = self.editor.append_history(path);
    }
}

/// Where lines are kept, as the XDG base directories say: state, since it is neither data nor configuration.
fn history() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = state.or_else(|| std::env::home_dir().map(|home| home.join(".local/state")))?;
    Some(state.join("quorate/history"))
}
