//! What clients and servers say to each other inside frames, on record: one value of each sort, with its bytes.
//!
//! A file has, for each sort, what it is, the value in words, and the bytes. They are read as they stand, so that bytes that a
//! client of today sends, or takes, mean the same for ever; the values drawn by the round trips only tell which sorts there are.
#![allow(clippy::disallowed_methods, reason = "golden files are read from disk")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;

use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;

/// Draws of each; the rarest sort comes far more often than once in so many.
const DRAWS: usize = 20_000;

/// The sort of a value: its name, and where that only says what it is wrapped in, the name of what is inside.
fn sort_of(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    let is_name = |word: &&str| word.starts_with(|letter: char| letter.is_ascii_uppercase());
    let names = text.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(is_name);
    let mut sort = Vec::new();
    for name in names {
        sort.push(name);
        let wraps = matches!(name, "Ok" | "Err") || name == "Multi" && !text.contains("[]");
        if !wraps {
            break;
        }
    }
    sort.join(" ")
}

/// One way of speaking, held against its file.
fn on_record<T: Debug + PartialEq>(
    file: &str,
    drawn: impl Strategy<Value = T>,
    encode: impl Fn(&T, &mut BytesMut),
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
) {
    let mut runner = TestRunner::deterministic();
    let mut found: BTreeMap<String, (T, Bytes)> = BTreeMap::new();
    for _ in 0..DRAWS {
        let value = drawn.new_tree(&mut runner).expect("nothing is filtered").current();
        let bytes = encoded(|out| encode(&value, out));
        let kept = found.entry(sort_of(&value));
        kept.and_modify(|kept| {
            // Long enough to show its fields.
            if kept.1.len() < 24 && bytes.len() > kept.1.len() {
                *kept = (decode(&bytes).expect("just written"), bytes.clone());
            }
        })
        .or_insert((value, bytes));
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wire").join(file);
    if std::env::var_os("QUORATE_GOLDEN").is_some_and(|value| value == "rewrite") {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut text = String::from(
            "# Rewritten by a test run with QUORATE_GOLDEN=rewrite; a change here changes the protocol.\n",
        );
        for (sort, (value, bytes)) in &found {
            text += &format!("\n# {sort}\n{value:?}\n{}\n", hex(bytes));
        }
        std::fs::write(&path, text).expect("the golden file can be written");
    }
    let text = std::fs::read_to_string(&path).expect("the golden file is there");
    let mut recorded = Vec::new();
    for entry in text.split("\n\n").skip(1) {
        let [sort, words, hex] = *entry.trim().lines().collect::<Vec<_>>() else { panic!("{file}: {entry}") };
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        let value = decode(&bytes).unwrap_or_else(|error| panic!("{file}: {sort}: {error}"));
        assert_eq!(format!("{value:?}"), words, "{file}: {sort} means something else now");
        assert_eq!(encoded(|out| encode(&value, out)), bytes, "{file}: {sort} is written otherwise now");
        recorded.push(sort.trim_start_matches("# ").to_owned());
    }
    let sorts: Vec<String> = found.into_keys().collect();
    assert_eq!(recorded, sorts, "{file} has every sort; for a new one run with QUORATE_GOLDEN=rewrite");
}

#[test]
fn operations_have_the_bytes_on_record() {
    on_record("operations.txt", operation(), |operation, out| operation.encode(out), Operation::decode);
}

#[test]
fn questions_have_the_bytes_on_record() {
    on_record("reads.txt", read(), |read, out| read.encode(out), Read::decode);
}

#[test]
fn outcomes_have_the_bytes_on_record() {
    on_record("outcomes.txt", outcome(), encode_outcome, decode_outcome);
}

#[test]
fn answers_have_the_bytes_on_record() {
    let answers = prop_oneof![answer().prop_map(Ok), refusal().prop_map(Err)];
    on_record("answers.txt", answers, encode_read_outcome, decode_read_outcome);
}
