//! The ledger of long runs, which only scripts/long-run writes: that it is well formed, and that the README quotes it.
//!
//! A line is one run of a suite: `seeds` and `events` are those that it came through, `faults` the misfortunes that struck in
//! them (not the chances by the way), `violations` whether a seed broke a rule, which ends the run. Of a run that ended so the
//! three numbers are those at its last whole fifty seeds. A suite's seeds since its last violation are counted over all commits.

use std::path::Path;

/// The seeds of a suite since its last violation.
fn seeds_since_violation(ledger: &str, suite: &str) -> u64 {
    let mut seeds = 0;
    for line in ledger.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [_, _, of, ran, _, _, violations, _] = fields[..] else { panic!("`{line}` has not eight fields") };
        assert!(["short", "long"].contains(&of), "`{line}` is of no suite");
        let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("`{text}` in `{line}` is no number"));
        if of == suite {
            seeds = if number(violations) > 0 { 0 } else { seeds + number(ran) };
        }
    }
    seeds
}

/// Without a violation in so many seeds, at most one in a third of them breaks a rule, with 95 % confidence.
fn bound(seeds: u64) -> String {
    if seeds < 3 { "none yet".to_owned() } else { format!("1 in {}", seeds / 3) }
}

#[test]
fn the_readme_quotes_the_ledger() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).expect("it is there");
    let ledger = read("tests/ledger.tsv");
    let head = "date\tcommit\tsuite\tseeds\tevents\tfaults\tviolations\tcpu_s";
    assert_eq!(ledger.lines().next(), Some(head));
    let (short, long) = (seeds_since_violation(&ledger, "short"), seeds_since_violation(&ledger, "long"));
    let quoted = format!(
        "Since the last violation of each suite in [the ledger](tests/ledger.tsv): {short} short seeds of the simulator (95 % bound: {}) \
         and {long} long ones ({}).",
        bound(short),
        bound(long)
    );
    let page = read("README.md");
    assert!(page.contains(&quoted), "the README says: {quoted}");
}

#[test]
fn a_violation_begins_the_count_anew() {
    let ledger = "head\nd\tc\tshort\t100\t1\t1\t0\t1\nd\tc\tlong\t7\t1\t1\t0\t1\nd\tc\tshort\t50\t1\t1\t1\t1\nd\tc\tshort\t9\t1\t1\t0\t1";
    assert_eq!((seeds_since_violation(ledger, "short"), seeds_since_violation(ledger, "long")), (9, 7));
    assert_eq!((bound(9), bound(2)), ("1 in 3".to_owned(), "none yet".to_owned()));
}
