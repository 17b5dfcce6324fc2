//! Results against earlier ones, and results put together.

use std::path::PathBuf;

use quorate::bench::{Change, Results, ResultsError, Verdict, compare};
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
    let (changes, alone) = compare(&before, &after, args.threshold / 100.0);
    if changes.is_empty() {
        return Err(Failure::new(Code::RunFailed, "the two have no point in common").found(format!(
            "{} and {} points",
            before.points.len(),
            after.points.len()
        )));
    }
    let text = if crate::output::is_json() { json(&changes, alone) } else { table::changes(&changes, alone) };
    crate::print_line(&text)?;
    let worse: Vec<&Change> = changes.iter().filter(|change| change.verdict == Verdict::Worse).collect();
    let Some(worst) = worse.first() else { return Ok(()) };
    Err(Failure::new(Code::RunFailed, format!("{} of {} figures are worse", worse.len(), changes.len()))
        .found(format!("{}: {} {:.2} times what it was", worst.point, worst.figure, worst.ratio()))
        .needed(format!("within {} %, or repeats that overlap", args.threshold)))
}

pub fn merge(args: &Merge) -> Result<(), Failure> {
    let mut all = Results::default();
    for path in &args.results {
        all.merge(Results::read(path).map_err(unusable)?);
    }
    all.write(&args.out, &[]).map_err(unusable)?;
    crate::print_line(&table::of(&all))
}

pub fn unusable(error: ResultsError) -> Failure {
    let code = if matches!(error, ResultsError::Io { .. }) { Code::DiskFailed } else { Code::Usage };
    Failure::new(code, error.to_string())
}

fn json(changes: &[Change], alone: usize) -> String {
    let changes: Vec<_> = changes
        .iter()
        .map(|change| {
            serde_json::json!({
                "point": change.point, "figure": change.figure, "before": change.before, "after": change.after,
                "ratio": change.ratio(), "verdict": format!("{:?}", change.verdict).to_lowercase(),
            })
        })
        .collect();
    serde_json::json!({ "changes": changes, "points_of_one_side_only": alone }).to_string()
}
