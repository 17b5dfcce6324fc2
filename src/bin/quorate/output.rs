//! In which form a result is printed: `simple`, `table` or `json`, as `--output` or `QUORATE_OUTPUT` says, for every command.
//!
//! | form | is | for |
//! |---|---|---|
//! | `simple` | what each command's help says, a line or a number; it never changes | scripts |
//! | `table` | the fields of the JSON form, under their names; a row an entry | people |
//! | `json` | one object; of a listing or a stream one a line; `--json` is short for it. Errors and notes are objects on standard error | programs |
//!
//! A command that prints a table anyway, or a page, prints the same where a table is asked for. A node's data is printed as it is
//! but in JSON, where it is text, or base64 if it is none.

use std::cell::{Cell, RefCell};
use std::sync::OnceLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::ValueEnum;
use quorate::server::Failure;
use serde_json::{Map, Value, json};

/// A form.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, ValueEnum)]
pub enum Output {
    /// Lines and numbers that never change, for scripts
    #[default]
    Simple,
    /// Fields under their names, for people
    Table,
    /// One JSON object; of a listing or a stream one a line
    Json,
}

/// What the command line asks for, for all that this process prints.
static ASKED: OnceLock<Output> = OnceLock::new();

/// Has results printed so from here on.
pub fn ask_for(output: Output) {
    ASKED.set(output).expect("a command line is read once");
}

/// The form asked for, as the variable has it.
pub fn asked() -> String {
    form().to_possible_value().expect("every form has a name").get_name().to_owned()
}

fn form() -> Output {
    ASKED.get().copied().unwrap_or_default()
}

/// Whether JSON is asked for.
pub fn is_json() -> bool {
    form() == Output::Json
}

/// Prints one result.
pub fn show(simple: impl FnOnce() -> String, value: impl FnOnce() -> Value) -> Result<(), Failure> {
    crate::print_line(&match form() {
        Output::Simple => simple(),
        Output::Table => fields(&value()),
        Output::Json => value().to_string(),
    })
}

/// Prints a result of which nothing is said in the simple form: that it was done says the exit status.
pub fn done(value: impl FnOnce() -> Value) -> Result<(), Failure> {
    match form() {
        Output::Simple => Ok(()),
        Output::Table => crate::print_line(&fields(&value())),
        Output::Json => crate::print_line(&value().to_string()),
    }
}

/// Entries that are printed one after the other, as they come.
#[derive(Default)]
pub struct Rows {
    /// The table's columns so far, from left to right, with their widths; nothing printed is taken back.
    columns: RefCell<Vec<(String, Cell<usize>)>>,
}

/// The columns to begin with, if there are any of those names: what an entry is told by.
const FIRST: [&str; 3] = ["name", "version", "data_bytes"];

impl Rows {
    /// Prints an entry; whether anybody reads on.
    pub fn add(&self, simple: impl FnOnce() -> Vec<u8>, value: impl FnOnce() -> Value) -> Result<bool, Failure> {
        let mut line = match form() {
            Output::Simple => simple(),
            Output::Table => self.row(&value()).into_bytes(),
            Output::Json => value().to_string().into_bytes(),
        };
        line.push(b'\n');
        crate::is_printed(&line)
    }

    /// The entry's fields, each under its name. The names are printed above the first entry, and above each that has fields
    /// no entry before it had.
    fn row(&self, value: &Value) -> String {
        let mut fields = named(value);
        fields.sort_by_key(|(name, _)| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
        let mut columns = self.columns.borrow_mut();
        let known = columns.len();
        for (name, cell) in &fields {
            if !columns.iter().any(|(column, _)| column == name) {
                columns.push((name.clone(), Cell::new(width(name).max(width(cell)))));
            }
        }
        let cell = |name: &str| fields.iter().find(|(field, _)| field == name).map_or("-", |(_, cell)| cell);
        let row: String = columns.iter().map(|(name, width)| padded(cell(name), width)).collect();
        if columns.len() == known {
            return row.trim_end().to_owned();
        }
        let head: String = columns.iter().map(|(name, width)| padded(name, width)).collect();
        format!("{}\n{}", head.trim_end(), row.trim_end())
    }
}

/// Prints a node's numbers, each behind its name, one a line; in JSON with the path of the node.
pub fn numbers(path: &str, mut numbers: Value) -> Result<(), Failure> {
    if is_json() {
        numbers["path"] = path.into();
        return crate::print_line(&numbers.to_string());
    }
    let rows = numbers.as_object().expect("it was made as an object");
    let lines: Vec<String> = rows.iter().map(|(name, value)| format!("{name:<18} {value}")).collect();
    crate::print_line(&lines.join("\n"))
}

/// Data in JSON: its text, or base64 where it is none.
pub fn data(data: &[u8]) -> (&'static str, Value) {
    match std::str::from_utf8(data) {
        Ok(text) => ("data", text.into()),
        Err(_) => ("data_base64", BASE64_STANDARD.encode(data).into()),
    }
}

/// A failure: its code, and all that is said of it; of an answer of the cell or the library also `kind`, the name of the
/// library's error, and `outcome`: `not_applied` if the call certainly had no effect, and otherwise `unknown`.
pub fn failure(failure: &Failure) -> Value {
    let known = failure.parts().into_iter().filter_map(|(label, part)| Some((label, part?)));
    let known = known.chain(failure.facts()).map(|(label, part)| (label.to_owned(), part.into()));
    let error: Map<_, _> = [("code".to_owned(), failure.code().to_string().into())].into_iter().chain(known).collect();
    json!({ "error": error, "exit_status": failure.exit_status() })
}

/// A value's fields, one a line.
fn fields(value: &Value) -> String {
    let fields = named(value);
    let widest = fields.iter().map(|(name, _)| width(name)).max().unwrap_or_default();
    let lines: Vec<_> =
        fields.iter().map(|(name, cell)| format!("{}{cell}", padded(name, &Cell::new(widest)))).collect();
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

/// What is in a value, under its name; of an object in an object, under both names.
fn named(value: &Value) -> Vec<(String, String)> {
    let entries = |object: &Map<String, Value>| {
        object
            .iter()
            .flat_map(|(name, value)| match value {
                Value::Object(_) => {
                    named(value).into_iter().map(|(inner, cell)| (format!("{name}.{inner}"), cell)).collect()
                }
                value => vec![(name.clone(), cell(value))],
            })
            .collect()
    };
    match value {
        Value::Object(object) => entries(object),
        value => vec![("value".to_owned(), cell(value))],
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => crate::one_line(text.as_bytes()),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(", "),
        value => value.to_string(),
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// The text and the room up to the next column, which is made wider if need be.
fn padded(text: &str, column: &Cell<usize>) -> String {
    column.set(column.get().max(width(text)));
    format!("{text:<width$}", width = column.get() + 2)
}

/// What was done to a node, and its version since.
pub fn version(path: &str, version: u64) -> Value {
    json!({ "path": path, "version": version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_the_fields_under_their_names() {
        let value = json!({ "path": "/a\nb", "stat": { "version": 3, "owner": null }, "names": ["x", "y"] });
        assert_eq!(fields(&value), "names         x, y\npath          /a\\nb\nstat.owner    -\nstat.version  3");
        let rows = Rows::default();
        assert_eq!(rows.row(&json!({ "a": 1, "name": "first" })), "name   a\nfirst  1");
        assert_eq!(rows.row(&json!({ "a": 10000, "name": "x" })), "x      10000");
        assert_eq!(rows.row(&json!({ "a": 2, "name": "y" })), "y      2");
    }

    #[test]
    fn a_row_of_another_kind_leaves_every_number_under_its_name() {
        let rows = Rows::default();
        let file = json!({ "children": 4, "data_bytes": 5, "name": "file", "version": 3 });
        assert_eq!(rows.row(&file), "name  version  data_bytes  children\nfile  3        5           4");
        let log = json!({ "children": 0, "data_bytes": 9, "log_end": 7, "name": "log", "version": 7 });
        assert_eq!(
            rows.row(&log),
            "name  version  data_bytes  children  log_end\nlog   7        9           0         7",
            "it has a field that is not named yet"
        );
        assert_eq!(rows.row(&file), "file  3        5           4         -");
    }

    #[test]
    fn data_that_is_no_text_is_told_apart() {
        assert_eq!(data(b"text"), ("data", json!("text")));
        assert_eq!(data(&[0xff, 0]), ("data_base64", json!("/wA=")));
    }
}
