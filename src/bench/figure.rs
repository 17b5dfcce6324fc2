//! Plots as SVG, written by hand: the set of charts is fixed, and the crates that draw them are larger than this file
//! or have not been kept up.

use std::fmt::Write as _;

/// Lines over two axes.
#[derive(Clone, Debug, Default)]
pub struct Figure {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line>,
    /// Where on the x axis something happened.
    pub marks: Vec<(f64, String)>,
}

#[derive(Clone, Debug, Default)]
pub struct Axis {
    pub label: String,
    /// Equal steps are equal ratios; values have to be above zero.
    pub logarithmic: bool,
}

#[derive(Clone, Debug)]
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 52.0;

/// Told apart by people who see colours differently, on white.
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f7f7f"];

impl Axis {
    /// An axis of equal steps.
    #[must_use]
    pub fn linear(label: &str) -> Self {
        Self { label: label.into(), logarithmic: false }
    }

    /// An axis of equal ratios.
    #[must_use]
    pub fn logarithmic(label: &str) -> Self {
        Self { label: label.into(), logarithmic: true }
    }
}

/// An axis with its ends, and where on it a value lies, from zero to one.
struct Scale<'a> {
    axis: &'a Axis,
    low: f64,
    high: f64,
}

impl<'a> Scale<'a> {
    fn over(axis: &'a Axis, values: impl Iterator<Item = f64> + Clone) -> Self {
        let high = values.clone().fold(f64::MIN, f64::max);
        let low = values.fold(f64::MAX, f64::min);
        let (low, high) = if axis.logarithmic { (low, high) } else { (low.min(0.0), high) };
        let high = if high > low { high } else { low + low.abs().max(1.0) };
        let (low, high) = if axis.logarithmic { (low / 1.1, high * 1.1) } else { (low, high * 1.04) };
        Self { axis, low, high }
    }

    fn place(&self, value: f64) -> f64 {
        if self.axis.logarithmic {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    fn ticks(&self) -> Vec<f64> {
        if self.axis.logarithmic {
            let steps: &[f64] = if self.high / self.low > 300.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
            let all = decades.flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
            return all.filter(|tick| (self.low..=self.high).contains(tick)).collect();
        }
        let rough = (self.high - self.low) / 6.0;
        let decade = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let first = (self.low / step).ceil() as i64;
        (first..=(self.high / step).floor() as i64).map(|count| count as f64 * step).collect()
    }
}

impl Figure {
    /// The plot as one SVG element; empty where there is nothing to draw.
    #[must_use]
    pub fn svg(&self) -> String {
        let drawable = |(x, y): &(f64, f64)| {
            x.is_finite() && y.is_finite() && (!self.x.logarithmic || *x > 0.0) && (!self.y.logarithmic || *y > 0.0)
        };
        let all: Vec<(f64, f64)> = self.lines.iter().flat_map(|line| &line.points).copied().filter(drawable).collect();
        if all.is_empty() {
            return String::new();
        }
        let marks = self.marks.iter().map(|mark| mark.0).filter(|at| !self.x.logarithmic || *at > 0.0);
        let x = Scale::over(&self.x, all.iter().map(|point| point.0).chain(marks));
        let y = Scale::over(&self.y, all.iter().map(|point| point.1));
        let at_x = |value: f64| LEFT + x.place(value) * (WIDTH - LEFT - RIGHT);
        let at_y = |value: f64| HEIGHT - BOTTOM - y.place(value) * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"12\"><rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        text(&mut svg, (WIDTH / 2.0, 22.0), "middle\" font-size=\"15", &self.title);
        for tick in x.ticks() {
            line(&mut svg, (at_x(tick), TOP), (at_x(tick), HEIGHT - BOTTOM), "#ddd");
            text(&mut svg, (at_x(tick), HEIGHT - BOTTOM + 16.0), "middle", &short(tick));
        }
        for tick in y.ticks() {
            line(&mut svg, (LEFT, at_y(tick)), (WIDTH - RIGHT, at_y(tick)), "#ddd");
            text(&mut svg, (LEFT - 6.0, at_y(tick) + 4.0), "end", &short(tick));
        }
        text(&mut svg, (f64::midpoint(LEFT, WIDTH - RIGHT), HEIGHT - 14.0), "middle", &self.x.label);
        let turned = format!("middle\" transform=\"rotate(-90 16 {0})", HEIGHT / 2.0);
        text(&mut svg, (16.0, HEIGHT / 2.0), &turned, &self.y.label);
        for (at, what) in &self.marks {
            line(&mut svg, (at_x(*at), TOP), (at_x(*at), HEIGHT - BOTTOM), "#c00");
            text(&mut svg, (at_x(*at) + 4.0, TOP + 12.0), "start\" fill=\"#c00", what);
        }
        // Names stand where lines that rise, or fall, leave room.
        let rise: f64 = self.lines.iter().filter_map(|line| line.rise(&y, drawable)).sum();
        let (names_at, names_end) = if rise > 0.0 { (LEFT + 8.0, "start") } else { (WIDTH - RIGHT - 6.0, "end") };
        for (index, of) in self.lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let dash = if index < COLOURS.len() { "" } else { " stroke-dasharray=\"6 3\"" };
            let points: Vec<_> = of.points.iter().filter(|point| drawable(point)).collect();
            let path: String = points.iter().map(|(x, y)| format!("{:.1},{:.1} ", at_x(*x), at_y(*y))).collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/>"
            );
            if points.len() <= 40 {
                for (x, y) in points {
                    let _ = writeln!(
                        svg,
                        "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                        at_x(*x),
                        at_y(*y)
                    );
                }
            }
            let row = TOP + 14.0 + index as f64 * 16.0;
            text(&mut svg, (names_at, row), &format!("{names_end}\" fill=\"{colour}"), &of.name);
        }
        svg + "</svg>\n"
    }
}

impl Line {
    /// How much higher on that axis its last point lies than its first.
    fn rise(&self, y: &Scale<'_>, drawable: impl Fn(&(f64, f64)) -> bool) -> Option<f64> {
        let mut drawn = self.points.iter().copied().filter(drawable);
        let first = drawn.next()?;
        Some(y.place(drawn.next_back()?.1) - y.place(first.1))
    }
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, what: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escaped(what));
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"/>",
        from.0, from.1, to.0, to.1
    );
}

/// A number as it fits beside a tick.
fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 1e6 => format!("{}M", super::tally::rounded(value / 1e6)),
        large if large >= 1e4 => format!("{}k", super::tally::rounded(value / 1e3)),
        _ => super::tally::rounded(value).to_string(),
    }
}

/// Text as it may stand in SVG and HTML.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let linear = Axis::linear("x");
        let scale = Scale::over(&linear, [3.0, 97.0].into_iter());
        assert_eq!(scale.ticks(), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        let logarithmic = Axis::logarithmic("y");
        let scale = Scale::over(&logarithmic, [3.0, 90.0].into_iter());
        assert_eq!(scale.ticks(), [5.0, 10.0, 20.0, 50.0]);
        assert!((scale.place(90.0 * 1.1) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_figure_draws_what_can_be_drawn() {
        let points = vec![(0.0, 0.0), (1.0, 10.0), (2.0, f64::NAN), (3.0, 100.0)];
        let lines = vec![Line { name: "a < b".into(), points }];
        let (x, y) = (Axis::linear("time"), Axis::logarithmic("us"));
        let svg = Figure { title: "one".into(), x, y, lines, marks: vec![(2.0, "kill".into())] }.svg();
        assert_eq!(svg.matches("<circle").count(), 2, "zero has no logarithm, and a hole stays one");
        assert!(svg.contains("a &lt; b") && svg.contains("kill") && !svg.contains("NaN"), "{svg}");
        assert!(Figure::default().svg().is_empty(), "nothing is drawn of nothing");
    }

    #[test]
    fn names_stand_where_the_lines_leave_room() {
        let named = |ys: [f64; 2]| {
            let lines = vec![Line { name: "of it".into(), points: vec![(0.0, ys[0]), (1.0, ys[1])] }];
            Figure { lines, ..Figure::default() }.svg()
        };
        let is_left = |svg: &str| svg.lines().any(|line| line.contains("\"start\"") && line.contains("of it"));
        assert!(is_left(&named([1.0, 9.0])) && !is_left(&named([9.0, 1.0])));
    }

    /// The columns of README's first table that are drawn.
    const DRAWN: [(usize, &str, &str); 4] = [
        (1, "writes/s", "Quorate, writes"),
        (2, "ZooKeeper", "ZooKeeper, writes"),
        (7, "reads/s", "Quorate, linearizable reads"),
        (8, "ZooKeeper", "ZooKeeper, reads of the server asked"),
    ];

    fn of_the_readme(page: &str) -> Figure {
        let table = page.lines().skip_while(|line| !line.starts_with("| connections x depth |"));
        let rows = table.take_while(|line| line.starts_with('|'));
        let rows: Vec<Vec<&str>> = rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect();
        let number = |cell: &str| cell.replace(',', "").parse::<f64>().expect("a number");
        let line = |(column, title, name): (usize, &str, &str)| {
            assert_eq!(rows[0][column], title, "the columns are as they were");
            // Below the titles is a line.
            let of = rows[2..].iter().map(|row| (row[0].split(" x ").map(number).product(), number(row[column])));
            Line { name: name.into(), points: of.collect() }
        };
        Figure {
            title: "three servers and the load on two shared cores, 1 KiB values".into(),
            x: Axis::logarithmic("operations outstanding"),
            y: Axis::logarithmic("operations/s"),
            lines: DRAWN.map(line).to_vec(),
            marks: Vec::new(),
        }
    }

    /// `QUORATE_REWRITE_GOLDEN=1 cargo test --lib the_plot_of_the_readme` draws it anew.
    #[test]
    fn the_plot_of_the_readme_is_of_its_table() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let page = fs::read_to_string(root.join("README.md")).expect("the README is there");
        assert!(page.contains("](benches/figures.svg)"), "the README shows the plot");
        let (file, drawn) = (root.join("benches/figures.svg"), of_the_readme(&page).svg());
        if std::env::var_os("QUORATE_REWRITE_GOLDEN").is_some() {
            fs::write(&file, &drawn).expect("it can be written");
        }
        let shown = fs::read_to_string(&file).expect("the plot is there");
        assert!(shown == drawn, "benches/figures.svg is not of README's first table: draw it anew as said above");
    }
}
