//! The settings, as `tuning/profile.toml` lists them.

use serde::Deserialize;

use super::target::{Host, Unasked, read_value};

/// Every setting, and the files that keep them over a restart of the host.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    #[serde(rename = "file")]
    pub files: Vec<KeptFile>,
    #[serde(rename = "setting")]
    pub settings: Vec<Setting>,
}

/// A file of lines that the host reads when it starts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptFile {
    pub name: String,
    pub path: String,
    /// What makes the host read it now.
    pub effect: String,
}

/// One setting.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Entry")]
pub struct Setting {
    pub name: String,
    pub subject: String,
    pub why: String,
    /// Applied only when it is named: it takes something from the host's other users.
    pub by_name: bool,
    pub kind: Kind,
}

/// What a setting is.
#[derive(Debug)]
pub enum Kind {
    /// A value of the running kernel, and a line that sets it again when the host starts.
    Value(Value),
    /// A line in one of the files.
    Line(Line),
    /// A file that is this setting's alone.
    Whole(Whole),
    /// Something that a person decides.
    Advice(Advice),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Value {
    /// May hold `*` and placeholders.
    pub path: String,
    pub wanted: String,
    #[serde(default)]
    pub accept: Accept,
    /// Other values that are as good.
    #[serde(default)]
    pub also: Vec<String>,
    pub boot: Boot,
    /// Where there is something to gain; none: everywhere.
    #[serde(default)]
    pub needed: Option<Needed>,
    /// A program that would change it again, and the setting that keeps the program from it.
    #[serde(default)]
    pub undone_by: Option<String>,
}

/// One of the files that `path` means holds a number above that.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needed {
    pub path: String,
    pub above: u64,
}

/// Which values will do.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accept {
    #[default]
    Exactly,
    /// Every number at least as large.
    AtLeast,
    /// Every number at most as large.
    AtMost,
}

/// What sets a value again when the host starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Boot {
    Sysctl,
    Udev,
    Tmpfiles,
    /// Nothing: what it is written to has another name after each start.
    Never,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub file: String,
    pub text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whole {
    pub path: String,
    content: Option<String>,
    source: Option<String>,
    pub effect: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advice {
    pub check: String,
    pub set: String,
    pub undo: String,
}

/// A setting as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    subject: String,
    why: String,
    #[serde(default)]
    by_name: bool,
    sysctl: Option<Sysctl>,
    value: Option<Value>,
    line: Option<Line>,
    whole: Option<Whole>,
    advice: Option<Advice>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sysctl {
    key: String,
    wanted: String,
    #[serde(default)]
    accept: Accept,
}

impl Profile {
    /// The profile this program was built with.
    pub fn built_in() -> Self {
        toml::from_str(PROFILE).unwrap_or_else(|error| panic!("the profile is read by a test: {error}"))
    }

    pub fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }

    pub fn file(&self, name: &str) -> &KeptFile {
        let file = self.files.iter().find(|file| file.name == name);
        file.unwrap_or_else(|| panic!("the profile names the file `{name}`; a test looks for all of them"))
    }
}

impl Setting {
    /// The line that keeps it, and the file the line goes to.
    pub fn kept(&self) -> Option<(&str, String)> {
        match &self.kind {
            Kind::Value(value) => value.kept(),
            Kind::Line(line) => Some((&line.file, line.text.clone())),
            Kind::Whole(_) | Kind::Advice(_) => None,
        }
    }
}

impl Value {
    /// Whether `found` will do.
    pub fn accepts(&self, found: &str, wanted: &str) -> bool {
        let numbers = |text: &str| text.split_whitespace().map(|word| word.parse::<i64>().ok()).collect::<Vec<_>>();
        let (have, want) = (numbers(found), numbers(wanted));
        let all = |fits: fn(i64, i64) -> bool| {
            let pairs = have.iter().zip(&want);
            have.len() == want.len()
                && pairs.into_iter().all(|(a, b)| matches!((a, b), (Some(a), Some(b)) if fits(*a, *b)))
        };
        match self.accept {
            _ if found == wanted || self.also.iter().any(|other| other == found) => true,
            Accept::Exactly => false,
            Accept::AtLeast => all(|a, b| a >= b),
            Accept::AtMost => all(|a, b| a <= b),
        }
    }

    /// The files it is about on this host; none if this kernel has no such thing, or where there is nothing to gain.
    pub fn files(&self, host: &Host) -> Result<Vec<String>, Unasked> {
        let paths = host.files(&self.path)?;
        let is_needed = match &self.needed {
            None => true,
            Some(needed) => host.files(&needed.path)?.iter().any(|path| {
                let number = read_value(&host.below(path)).ok().and_then(|number| number.parse::<u64>().ok());
                number.is_some_and(|number| number > needed.above)
            }),
        };
        Ok(if is_needed { paths } else { Vec::new() })
    }

    /// What is wanted, in words.
    pub fn wish(&self, wanted: &str) -> String {
        let others = self.also.iter().map(|other| format!(" or {other}")).collect::<String>();
        match self.accept {
            Accept::Exactly => format!("{wanted}{others}"),
            Accept::AtLeast => format!("at least {wanted}"),
            Accept::AtMost => format!("at most {wanted}"),
        }
    }

    fn kept(&self) -> Option<(&'static str, String)> {
        let Self { path, wanted, .. } = self;
        match self.boot {
            Boot::Sysctl => Some(("sysctl", format!("{} = {wanted}", self.key()))),
            Boot::Udev => {
                let fact = path.strip_prefix("/sys/block/{disk}/").expect("udev rules are for the disk's own files");
                let matched = "ACTION==\"add|change\", SUBSYSTEM==\"block\", KERNEL==\"{disk}\"";
                Some(("udev", format!("{matched}, ATTR{{{fact}}}=\"{wanted}\"")))
            }
            Boot::Tmpfiles => Some(("tmpfiles", format!("w {path} - - - - {wanted}"))),
            Boot::Never => None,
        }
    }

    fn key(&self) -> String {
        self.path.trim_start_matches("/proc/sys/").replace('/', ".")
    }
}

impl Whole {
    /// The file's text.
    pub fn content(&self) -> &str {
        match (&self.content, self.source.as_deref()) {
            (Some(content), None) => content,
            (None, Some("systemd/quorate.service")) => UNIT,
            _ => panic!("{}: a test reads the content of each file", self.path),
        }
    }
}

impl TryFrom<Entry> for Setting {
    type Error = String;
    fn try_from(entry: Entry) -> Result<Self, String> {
        let Entry { name, subject, why, by_name, sysctl, value, line, whole, advice } = entry;
        let sysctl = sysctl.map(|Sysctl { key, wanted, accept }| {
            let path = format!("/proc/sys/{}", key.replace('.', "/"));
            let (also, boot, needed, undone_by) = (Vec::new(), Boot::Sysctl, None, None);
            Kind::Value(Value { path, wanted, accept, also, boot, needed, undone_by })
        });
        let kinds =
            [sysctl, value.map(Kind::Value), line.map(Kind::Line), whole.map(Kind::Whole), advice.map(Kind::Advice)];
        let mut kinds = kinds.into_iter().flatten();
        match (kinds.next(), kinds.next()) {
            (Some(kind), None) => Ok(Self { name, subject, why, by_name, kind }),
            _ => Err(format!("`{name}` is one of sysctl, value, line, whole and advice")),
        }
    }
}

const PROFILE: &str = include_str!("../../../../tuning/profile.toml");
const UNIT: &str = include_str!("../../../../tuning/systemd/quorate.service");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_whole() {
        let profile = Profile::built_in();
        assert!(profile.settings.len() > 20);
        for (index, setting) in profile.settings.iter().enumerate() {
            let twin = profile.settings[..index].iter().find(|other| other.name == setting.name);
            assert!(twin.is_none(), "{} is there twice", setting.name);
            assert!(setting.why.len() > 10, "{} says why", setting.name);
            if let Some((file, line)) = setting.kept() {
                assert!(profile.file(file).path.starts_with("/etc/"), "{line}");
            }
            match &setting.kind {
                Kind::Value(value) => {
                    assert!(value.accepts(&value.wanted, &value.wanted), "{}", setting.name);
                    assert!(!value.accepts("something else", &value.wanted), "{}", setting.name);
                    let remedy = value.undone_by.as_deref().map(|program| profile.setting(program));
                    let is_whole = |remedy: &Setting| matches!(remedy.kind, Kind::Whole(_));
                    assert!(remedy.is_none_or(|remedy| remedy.is_some_and(is_whole)), "{}", setting.name);
                }
                Kind::Line(line) => assert!(line.text.starts_with("quorate"), "{}", setting.name),
                Kind::Whole(whole) => assert!(whole.content().starts_with('['), "{}", setting.name),
                Kind::Advice(advice) => {
                    assert!([&advice.check, &advice.set, &advice.undo].iter().all(|text| !text.is_empty()));
                }
            }
        }
    }

    #[test]
    fn a_value_is_kept_where_its_kind_belongs() {
        let profile = Profile::built_in();
        let kept = |name: &str| profile.setting(name).expect("it is there").kept().expect("it is kept").1;
        assert_eq!(kept("somaxconn"), "net.core.somaxconn = 4096");
        let rule = r#"ACTION=="add|change", SUBSYSTEM=="block", KERNEL=="{disk}", ATTR{queue/scheduler}="none""#;
        assert_eq!(kept("scheduler"), rule);
        assert_eq!(kept("huge-pages"), "w /sys/kernel/mm/transparent_hugepage/enabled - - - - madvise");
        assert!(profile.setting("interrupts").expect("it is there").kept().is_none());
    }

    #[test]
    fn values_are_compared_by_their_rule() {
        let value = |accept, also: &[&str]| Value {
            path: String::new(),
            wanted: String::new(),
            accept,
            also: also.iter().map(|text| (*text).to_owned()).collect(),
            boot: Boot::Never,
            needed: None,
            undone_by: None,
        };
        let least = value(Accept::AtLeast, &[]);
        assert!(least.accepts("4096", "4096") && least.accepts("5000", "4096") && !least.accepts("128", "4096"));
        assert!(least.accepts("4096 131072 33554432", "4096 131072 16777216"));
        assert!(!least.accepts("4096 87380 33554432", "4096 131072 16777216"), "every number counts");
        assert!(!least.accepts("4096 131072", "4096 131072 16777216"), "as many numbers");
        let most = value(Accept::AtMost, &[]);
        assert!(most.accepts("0", "1") && !most.accepts("60", "1") && !most.accepts("none", "1"));
        let exactly = value(Accept::Exactly, &["never"]);
        assert!(exactly.accepts("madvise", "madvise") && exactly.accepts("never", "madvise"));
        assert!(!exactly.accepts("always", "madvise"));
        assert_eq!(exactly.wish("madvise"), "madvise or never");
    }

    #[test]
    fn an_entry_is_of_one_kind() {
        let read =
            |text: &str| toml::from_str::<Setting>(&format!("name = \"x\"\nsubject = \"s\"\nwhy = \"w\"\n{text}"));
        assert!(read("line = { file = \"limits\", text = \"t\" }").is_ok());
        assert!(read("").is_err());
        let two = "line = { file = \"limits\", text = \"t\" }\nsysctl = { key = \"a.b\", wanted = \"1\" }";
        assert!(read(two).is_err());
        assert!(read("line = { file = \"limits\", text = \"t\", mode = 1 }").is_err(), "unknown keys are errors");
    }
}
