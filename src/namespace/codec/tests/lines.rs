//! Golden lines: one for each variant of each enum that is written as a tag, so that no two can change places unnoticed.
//!
//! ```text
//! FaultCode::Version: 5143024a050000000000000000000000feac8180944713af 0200000000
//! ```
//!
//! That is, what it is, and how it is written, spaces for the eye. A file only ever grows: `QUORATE_GOLDEN=rewrite` adds the
//! lines that are not there yet to its end, and touches no other, since programs of earlier releases go on sending and
//! reading those bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::PathBuf;

/// An enum that is told by a tag; [`tagged`] makes one of it.
pub(crate) trait Tagged {
    const NAME: &'static str;
    const VARIANTS: &'static [&'static str];

    /// Which of them it is.
    fn variant(&self) -> &'static str;
}

/// Names the variants of enums, all of them: a new one does not compile before it is named. Then give it an example where the
/// others have theirs, and run the test with `QUORATE_GOLDEN=rewrite`.
macro_rules! tagged {
    ($($name:ident { $($variant:ident),+ $(,)? })+) => {$(
        impl $crate::namespace::codec::tests::lines::Tagged for $name {
            const NAME: &'static str = stringify!($name);
            const VARIANTS: &'static [&'static str] = &[$(stringify!($variant)),+];

            fn variant(&self) -> &'static str {
                match self { $(Self::$variant { .. } => stringify!($variant)),+ }
            }
        }
    )+};
}
pub(crate) use tagged;

/// Fails if a variant has no example.
#[track_caller]
pub(crate) fn all_have_examples<E: Tagged>(examples: &[E]) {
    let shown: BTreeSet<&str> = examples.iter().map(E::variant).collect();
    let lacking: Vec<&&str> = E::VARIANTS.iter().filter(|variant| !shown.contains(**variant)).collect();
    assert!(
        lacking.is_empty(),
        "{} has no example of {lacking:?}: give one where the others are, and run the test with QUORATE_GOLDEN=rewrite",
        E::NAME
    );
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The lines of one file, as they are written today.
pub(crate) struct Lines {
    file: &'static str,
    found: Vec<(String, String)>,
}

impl Lines {
    /// Of the file of that name among those of the wire.
    pub(crate) fn of(file: &'static str) -> Self {
        Self { file, found: Vec::new() }
    }

    /// The line of that name.
    #[track_caller]
    pub(crate) fn add(&mut self, name: impl Into<String>, text: String) {
        let name = name.into();
        assert!(!name.contains(": "), "`{name}` ends where its bytes begin");
        assert!(self.text_of(&name).is_none(), "{name} has two lines: give the second a name of its own");
        self.found.push((name, text));
    }

    /// A line for each variant; `write` says how one is written.
    #[track_caller]
    pub(crate) fn each<E: Tagged, const N: usize>(&mut self, examples: [E; N], write: impl Fn(E) -> String) {
        all_have_examples(&examples);
        let mut variants: BTreeMap<String, &str> = BTreeMap::new();
        for example in examples {
            let variant = example.variant();
            let text = write(example);
            self.add(format!("{}::{variant}", E::NAME), text.clone());
            if let Some(twin) = variants.insert(text, variant) {
                panic!(
                    "{}::{twin} and {}::{variant} have the same bytes: give one of them another tag",
                    E::NAME,
                    E::NAME
                );
            }
        }
    }

    /// Holds the lines against the file.
    #[track_caller]
    pub(crate) fn hold(self) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wire").join(self.file);
        let mut text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => HEAD.to_owned(),
            Err(error) => panic!("{}: {error}", path.display()),
        };
        let missing = self.missing(&text);
        let rewrite = std::env::var_os("QUORATE_GOLDEN").is_some_and(|value| value == "rewrite");
        if rewrite && !missing.is_empty() {
            text.push_str(if text.ends_with('\n') { "" } else { "\n" });
            text.push_str(&missing);
            std::fs::write(&path, &text).expect("the golden file can be written");
        }
        let complaints = self.complaints(&text);
        assert!(complaints.is_empty(), "{}:\n{}", self.file, complaints.join("\n"));
    }

    fn text_of(&self, name: &str) -> Option<&str> {
        self.found.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
    }

    /// What is to be added to a file that holds `text`.
    fn missing(&self, text: &str) -> String {
        let known: BTreeSet<&str> = recorded(text).map(|(name, _)| name).collect();
        let missing = self.found.iter().filter(|(name, _)| !known.contains(name.as_str()));
        missing.map(|(name, text)| format!("{name}: {text}\n")).collect()
    }

    /// What is wrong with a file that holds `text`.
    fn complaints(&self, text: &str) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut known = BTreeSet::new();
        for (name, on_record) in recorded(text) {
            if !known.insert(name) {
                complaints.push(format!("{name} is on record twice: remove the line that was added last"));
            }
            match self.text_of(name) {
                None => complaints.push(format!("{name} is written no more, and older programs still say it: keep it")),
                Some(found) if found != on_record => complaints.push(format!(
                    "{name} has other bytes now, which older programs take for something else: a new meaning is a new \
                     variant\n  on record {on_record}\n  found     {found}"
                )),
                Some(_) => {}
            }
        }
        let new = self.found.iter().filter(|(name, _)| !known.contains(name.as_str()));
        complaints.extend(new.map(|(name, _)| format!("{name} is not on record: QUORATE_GOLDEN=rewrite adds it")));
        complaints
    }
}

/// Each line's name, and what follows it.
fn recorded(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(": ").unwrap_or((line, "")))
}

const HEAD: &str = "# A test run with QUORATE_GOLDEN=rewrite adds what is new.\n\
                    # A line that is here stays as it is: it is the protocol.\n\n";

/// Something to be written in some way.
#[derive(Clone, Copy)]
enum Colour {
    Red,
    Green,
}

tagged! { Colour { Red, Green } }

fn colours(write: impl Fn(Colour) -> String) -> Lines {
    let mut lines = Lines::of("colours.txt");
    lines.each([Colour::Red, Colour::Green], write);
    lines
}

#[test]
fn a_file_is_only_added_to() {
    let one = |colour: Colour| format!("{:02x}", colour as u8);
    assert_eq!(colours(one).missing(HEAD), "Colour::Red: 00\nColour::Green: 01\n");
    assert_eq!(colours(one).missing("Colour::Green: 07\n"), "Colour::Red: 00\n", "a line that is there is left alone");
    assert!(colours(one).complaints("# Colours\n\nColour::Green: 01\nColour::Red: 00\n").is_empty());
}

#[test]
fn a_line_that_changes_goes_missing_or_stands_alone_is_complained_about() {
    let one = |colour: Colour| format!("{:02x}", colour as u8);
    let complaint = |text: &str| match &colours(one).complaints(text)[..] {
        [complaint] => complaint.clone(),
        other => panic!("one complaint, not {other:?}"),
    };
    assert!(complaint("Colour::Red: 01\nColour::Green: 01\n").contains("Colour::Red has other bytes now"));
    assert!(complaint("Colour::Red: 00\n").contains("Colour::Green is not on record: QUORATE_GOLDEN=rewrite"));
    let whole = "Colour::Red: 00\nColour::Green: 01\n";
    assert!(complaint(&format!("{whole}Colour::Blue: 02\n")).contains("Colour::Blue is written no more"));
    assert!(complaint(&format!("{whole}Colour::Red: 00\n")).contains("Colour::Red is on record twice"));
    let swapped = "Colour::Red: 01\nColour::Green: 00\n";
    assert_eq!(colours(one).complaints(swapped).len(), 2, "two that changed places");
}

#[test]
#[should_panic(expected = "Colour::Red and Colour::Green have the same bytes")]
fn two_variants_with_the_same_bytes_are_refused() {
    colours(|_| "00".to_owned());
}

#[test]
#[should_panic(expected = "Colour has no example of [\"Green\"]: give one where the others are")]
fn a_variant_without_an_example_is_refused() {
    all_have_examples(&[Colour::Red]);
}
