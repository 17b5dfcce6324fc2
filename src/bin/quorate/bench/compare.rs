//! Results against earlier ones, and results put together.

use std::path::PathBuf;

use quorate::bench::{Change, Comparison, REPEATS_MIN, Results, ResultsError, Verdict, compare};
use quorate::server::{Code, Failure};

use super::table;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  quorate bench compare before after\n  quorate bench compare --threshold 10 before after"
)]
pub struct Compare {
    /// A folder of results, or its result.json: how it was
    before: PathBuf,
    /// How it is
    after: PathBuf,
    /// What may get worse unnoticed, in percent; beyond that a change counts if no two repeats of the sides overlap
    #[arg(long, default_value_t = 5.0)]
    threshold: f64,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate bench report quorate-results zookeeper-results --out both")]
pub struct Merge {
    /// Folders of results; the first system met is the one the others are held against
    #[arg(required = true)]
    results: Vec<PathBuf>,
    /// Where to put result.json, points.csv, plots and report.html
    #[arg(long)]
    out: PathBuf,
}

pub fn run(args: &Compare) -> Result<(), Failure> {
    let before = Results::read(&args.before).map_err(unusable)?;
    let after = Results::read(&args.after).map_err(unusable)?;
    for difference in before.differences(&after) {
        crate::tell(format_args!("not measured alike, {difference}"));
    }
    let found = compare(&before, &after, args.threshold / 100.0);
    if found.changes.is_empty() && found.missing.is_empty() {
        return Err(Failure::new(Code::RunFailed, "the two have no point in common").found(format!(
            "{} and {} points",
            before.points.len(),
            after.points.len()
        )));
    }
    crate::print_line(&if crate::output::is_json() { json(&found) } else { table::changes(&found) })?;
    judge(&found, args.threshold)
}

/// A figure that is worse fails, and so does one that is gone or does not count any more; where none can be judged that is
/// no sign that all is well.
fn judge(found: &Comparison, threshold: f64) -> Result<(), Failure> {
    let worse: Vec<&Change> = found.with(Verdict::Worse).collect();
    if let Some(worst) = worse.first() {
        return Err(Failure::new(
            Code::RunFailed,
            format!("{} of {} figures are worse", worse.len(), found.changes.len()),
        )
        .found(format!("{}: {} {:.2} times what it was", worst.point, worst.figure, worst.ratio()))
        .needed(format!("within {threshold} %, or repeats that overlap")));
    }
    if let Some(first) = found.missing.first() {
        let what = format!("{} points were not measured again", found.missing.len());
        return Err(Failure::new(Code::RunFailed, what).found(first.clone()));
    }
    if let Some(first) = found.invalid.first() {
        let what = format!("{} points do not count any more", found.invalid.len());
        return Err(Failure::new(Code::RunFailed, what).found(first.clone()));
    }
    if found.with(Verdict::NotJudged).count() == found.changes.len() {
        return Err(Failure::new(Code::RunFailed, "no figure could be judged")
            .found(format!("fewer than {REPEATS_MIN} repeats of each"))
            .why("how far repeats lie apart says what is noise")
            .fix(format!("measure with --repeat {REPEATS_MIN}")));
    }
    Ok(())
}

pub fn merge(args: &Merge) -> Result<(), Failure> {
    let mut all = Results::default();
    for path in &args.results {
        all.merge(Results::read(path).map_err(unusable)?);
    }
    all.write(&args.out, &[]).map_err(unusable)?;
    for difference in &all.mixed {
        crate::tell(format_args!("not measured alike, {difference}"));
    }
    crate::print_line(&table::of(&all))
}

pub fn unusable(error: ResultsError) -> Failure {
    let code = if matches!(error, ResultsError::Io { .. }) { Code::DiskFailed } else { Code::Usage };
    Failure::new(code, error.to_string())
}

fn json(found: &Comparison) -> String {
    let changes: Vec<_> = found
        .changes
        .iter()
        .map(|change| {
            let verdict = match change.verdict {
                Verdict::Better => "better",
                Verdict::Same => "same",
                Verdict::Worse => "worse",
                Verdict::NotJudged => "not judged",
            };
            serde_json::json!({
                "point": change.point, "figure": change.figure, "before": change.before, "after": change.after,
                "ratio": change.ratio(), "verdict": verdict,
            })
        })
        .collect();
    let Comparison { missing, added, invalid, .. } = found;
    serde_json::json!({ "changes": changes, "missing": missing, "added": added, "invalid": invalid }).to_string()
}
