//! Settings of the environment and of flags, laid over the file.

use std::ffi::OsString;
use std::path::Path;

use super::{Code, Config, Failure, misread, nearest};

/// One setting from the environment or the command line: `section.key`, and its text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Override {
    /// Where it comes from, for messages: a variable's or a flag's name.
    pub origin: String,
    /// `paxos`
    pub section: String,
    /// `lease`
    pub key: String,
    /// `300ms`
    pub text: String,
}

/// The sections a setting can be laid over, as they are spelt in variables.
const SECTIONS: [&str; 6] = ["server", "paxos", "journal", "session", "acl", "throttle"];

/// What else the names of our variables go on with: the command line's, those it sets for others, and the tests'.
const OTHERS: [&str; 19] = [
    "AUTH",
    "CELL",
    "CONFIG",
    "DEV",
    "ENDPOINTS",
    "FUZZ",
    "GOLDEN",
    "HANDLE",
    "LOCK",
    "LOG",
    "OUTPUT",
    "PATH",
    "RESUME",
    "REWRITE",
    "SEED",
    "SIM",
    "TIMEOUT",
    "TRACE",
    "UNSAFE",
];

impl Override {
    /// A flag's setting.
    #[must_use]
    pub fn flag(flag: &str, section: &str, key: &str, text: impl Into<String>) -> Self {
        Self { origin: flag.into(), section: section.into(), key: key.into(), text: text.into() }
    }

    /// The settings among `variables`: those named `QUORATE_SECTION_KEY`, in the order of their names.
    ///
    /// # Errors
    ///
    /// One whose name is nearly a setting's was meant to have an effect, and would have none. (One that merely begins like
    /// ours is somebody else's: see [`Self::strangers`].) A setting's value that is no text means nothing.
    pub fn from_variables(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<Self>, Failure> {
        let mut found = Vec::new();
        for (name, text) in variables {
            // A name that is no text is none of ours.
            let Some(rest) = name.to_str().and_then(|name| name.strip_prefix("QUORATE_")) else { continue };
            let name = format!("QUORATE_{rest}");
            let (section, key) = rest.split_once('_').unwrap_or((rest, ""));
            if OTHERS.contains(&section) {
                continue;
            }
            let Some(known) = SECTIONS.iter().find(|known| known.eq_ignore_ascii_case(section)) else {
                match unknown_variable(&name, section, key) {
                    Some(failure) => return Err(failure),
                    None => continue,
                }
            };
            let (section, key) = ((*known).to_owned(), key.to_ascii_lowercase());
            let text = text.into_string().map_err(|bytes| {
                Failure::new(Code::ConfigInvalid, format!("the variable {name} is no text"))
                    .found(bytes.to_string_lossy())
                    .needed("UTF-8, as in the file")
                    .fix(format!("set {name} anew, or unset it"))
            })?;
            found.push(Self { origin: name, section, key, text });
        }
        found.sort_by(|a, b| a.origin.cmp(&b.origin));
        Ok(found)
    }

    /// The names of variables that begin like ours and mean nothing to us, in order.
    #[must_use]
    pub fn strangers(variables: impl Iterator<Item = (OsString, OsString)>) -> Vec<String> {
        let is_strange = |name: &String| {
            name.strip_prefix("QUORATE_").is_some_and(|rest| {
                let section = rest.split_once('_').map_or(rest, |(section, _)| section);
                !OTHERS.contains(&section) && !SECTIONS.iter().any(|known| known.eq_ignore_ascii_case(section))
            })
        };
        let mut found: Vec<String> =
            variables.filter_map(|(name, _)| name.into_string().ok()).filter(is_strange).collect();
        found.sort();
        found
    }

    pub(super) fn lay_over(&self, table: &mut toml::Table) -> Result<(), Failure> {
        let section = table.entry(self.section.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let Some(section) = section.as_table_mut() else {
            return Err(Failure::new(Code::ConfigInvalid, format!("[{}] is no table", self.section)));
        };
        // A number, a truth value or a list is written as in the file; all else is a text.
        let value = toml::from_str::<toml::Table>(&format!("value = {}", self.text))
            .ok()
            .and_then(|mut parsed| parsed.remove("value"))
            .unwrap_or_else(|| toml::Value::String(self.text.clone()));
        section.insert(self.key.clone(), value);
        Ok(())
    }
}

/// What a variable was meant to be, if it can be told.
fn unknown_variable(name: &str, section: &str, key: &str) -> Option<Failure> {
    let failure = Failure::new(Code::ConfigInvalid, format!("there is no setting for the variable {name}"))
        .needed("QUORATE_SECTION_KEY, like QUORATE_PAXOS_LEASE, or a variable that `quorate COMMAND --help` names");
    let sections = SECTIONS.map(str::to_ascii_uppercase);
    let known = sections.iter().map(String::as_str).chain(OTHERS);
    let known = nearest(section, known)?;
    let meant = if key.is_empty() { format!("QUORATE_{known}") } else { format!("QUORATE_{known}_{key}") };
    Some(failure.fix(format!("did you mean `{meant}`?")))
}

/// One setting as it is in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// `paxos.lease`
    pub name: String,
    /// As it is written in a file.
    pub value: String,
    /// `default`, the file's name, or the variable or flag that had the last word.
    pub origin: String,
}

impl Config {
    /// Every setting of this configuration, which was read from `path` with `overrides`, and where each comes from.
    pub fn settings(&self, path: &Path, overrides: &[Override]) -> Result<Vec<Setting>, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::io(Code::ConfigUnreadable, "read the configuration", path, &error))?;
        let file = path.display().to_string();
        let written: toml::Table = toml::from_str(&text).map_err(|error| misread(&file, &error))?;
        Ok(self.settings_from(&written, &file, overrides))
    }

    fn settings_from(&self, written: &toml::Table, file: &str, overrides: &[Override]) -> Vec<Setting> {
        let table =
            toml::Table::try_from(self.in_full()).expect("a configuration is tables of texts, numbers and lists");
        let mut found = Vec::new();
        for (section, value) in &table {
            if let Some(replicas) = value.as_array() {
                for replica in replicas.iter().filter_map(toml::Value::as_table) {
                    let id = replica.get("id").map(ToString::to_string).unwrap_or_default();
                    let own = written.get(section).and_then(toml::Value::as_array).into_iter().flatten();
                    let own = own.filter(|own| own.get("id") == replica.get("id")).collect::<Vec<_>>();
                    let keys = replica.iter().filter(|(key, _)| *key != "id");
                    found.extend(keys.map(|(key, value)| {
                        let in_file = own.iter().any(|own| own.get(key).is_some());
                        let origin = if in_file { file } else { "default" };
                        Setting {
                            name: format!("{section}.{id}.{key}"),
                            value: value.to_string(),
                            origin: origin.to_owned(),
                        }
                    }));
                }
            }
            for (key, value) in value.as_table().into_iter().flatten() {
                let laid = overrides.iter().rev().find(|laid| laid.section == *section && laid.key == *key);
                let in_file = || written.get(section).and_then(|section| section.get(key)).map(|_| file.to_owned());
                let origin = laid.map(|laid| laid.origin.clone()).or_else(in_file);
                found.push(Setting {
                    name: format!("{section}.{key}"),
                    value: value.to_string(),
                    origin: origin.unwrap_or_else(|| "default".to_owned()),
                });
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn a_variable_that_is_no_text_matters_only_if_it_is_a_setting() {
        let bytes = || OsString::from_vec(vec![b'x', 0xff]);
        let foreign = [(OsString::from("LESS"), bytes()), (bytes(), bytes()), ("QUORATE_WEATHER".into(), bytes())];
        let ours = ("QUORATE_JOURNAL_MAX".into(), "8GiB".into());
        let variables = foreign.into_iter().chain([ours]);
        let read = Override::from_variables(variables.clone()).expect("somebody else's stops nothing");
        assert_eq!(read, [Override::flag("QUORATE_JOURNAL_MAX", "journal", "max", "8GiB")]);
        assert_eq!(Override::strangers(variables), ["QUORATE_WEATHER"]);
        let wrong = Override::from_variables([("QUORATE_JOURNAL_MAX".into(), bytes())].into_iter()).unwrap_err();
        assert_eq!(wrong.code(), Code::ConfigInvalid);
        assert!(wrong.report().contains("the variable QUORATE_JOURNAL_MAX is no text"), "{}", wrong.report());
    }

    #[test]
    fn what_the_command_line_reads_is_no_stranger() {
        let variables = ["OUTPUT", "HANDLE", "HANDLE_PATH", "PATH", "ENDPOINTS", "LOG"];
        let variables = variables.map(|name| (format!("QUORATE_{name}").into(), "x".into()));
        assert_eq!(Override::from_variables(variables.clone().into_iter()), Ok(Vec::new()));
        assert_eq!(Override::strangers(variables.into_iter()), Vec::<String>::new());
    }

    #[test]
    fn each_setting_says_where_it_comes_from() {
        let text = "[cell]\nid = \"5d3c0f6c1c0a4a3d8d1f0d5f5b0e7a11\"\n[[replica]]\nid = 1\nclient = \"a:1\"\npeer = \"a:2\"\n\
                    [paxos]\nlease = \"300ms\"\nmargin = \"6ms\"\n";
        let overrides = [
            Override::flag("QUORATE_PAXOS_LEASE", "paxos", "lease", "400ms"),
            Override::flag("--set paxos.lease=500ms", "paxos", "lease", "500ms"),
        ];
        let config = Config::parse(text, "cell.toml", &overrides).expect("it is sound");
        let written = toml::from_str(text).expect("it is TOML");
        let settings = config.settings_from(&written, "cell.toml", &overrides);
        let find = |name: &str| {
            let setting = settings.iter().find(|setting| setting.name == name).expect(name);
            (setting.value.clone(), setting.origin.clone())
        };
        let is = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
        assert_eq!(find("paxos.lease"), is("\"500ms\"", "--set paxos.lease=500ms"), "the last word counts");
        assert_eq!(find("paxos.margin"), is("\"6ms\"", "cell.toml"));
        assert_eq!(find("paxos.election_max"), is("\"750ms\"", "default"), "worked out from the lease");
        assert_eq!(find("replica.1.client"), is("\"a:1\"", "cell.toml"));
        assert_eq!(find("replica.1.advertise"), is("\"a:1\"", "default"), "the address it listens on");
        assert_eq!(find("journal.keep_for_lagging"), is("\"2GiB\"", "default"), "worked out from the maximum");
        assert_eq!(find("session.timeout_min"), is("\"2s\"", "default"));
    }
}
