//! Settings of the environment and of flags, laid over the file.

use super::{Code, Failure};

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
const SECTIONS: [&str; 4] = ["server", "paxos", "journal", "session"];

impl Override {
    /// A flag's setting.
    #[must_use]
    pub fn flag(flag: &str, section: &str, key: &str, text: impl Into<String>) -> Self {
        Self { origin: flag.into(), section: section.into(), key: key.into(), text: text.into() }
    }

    /// The settings among `variables`: those named `QUORATE_SECTION_KEY`, in the order of their names.
    #[must_use]
    pub fn from_variables(variables: impl Iterator<Item = (String, String)>) -> Vec<Self> {
        let mut found: Vec<Self> = variables
            .filter_map(|(name, text)| {
                let (section, key) = name.strip_prefix("QUORATE_")?.split_once('_')?;
                let section = SECTIONS.iter().find(|known| known.eq_ignore_ascii_case(section))?;
                Some(Self { section: (*section).into(), key: key.to_ascii_lowercase(), text, origin: name })
            })
            .collect();
        found.sort_by(|a, b| a.origin.cmp(&b.origin));
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
