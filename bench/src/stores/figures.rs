//! What was measured: each figure several times, of which the median counts.

use crate::report::Report;
use crate::report::median;

use super::clients::Load;

/// Figures in the order in which they came first.
#[derive(Default)]
pub struct Figures(Vec<Figure>);

struct Figure {
    name: String,
    /// `None` for a ratio.
    unit: Option<&'static str>,
    values: Vec<f64>,
}

impl Figures {
    /// Adds a value to a figure.
    pub fn add(&mut self, name: &str, unit: &'static str, value: f64) {
        self.push(name, Some(unit), value);
    }

    /// Adds a value to a ratio of two figures of the same round.
    pub fn ratio(&mut self, name: &str, value: f64) {
        self.push(name, None, value);
    }

    /// Adds the rate of what succeeded, the latencies, and what failed.
    pub fn load(&mut self, name: &str, load: &Load) {
        self.add(name, "requests/s", load.rate());
        self.add(name, "p50 ms", load.measured.millis(50.0));
        self.add(name, "p99 ms", load.measured.millis(99.0));
        if load.failed > 0 {
            self.add(name, "failed", load.failed as f64);
            println!("  {name}: {} requests failed; {}", load.failed, load.failure);
        }
    }

    /// Adds the ratio of two rates, and of their p99.
    pub fn compare(&mut self, name: &str, goal: &str, this: &Load, that: &Load) {
        self.ratio(&format!("{name}{goal}"), this.rate() / that.rate());
        self.ratio(&format!("{name}: p99"), this.measured.millis(99.0) / that.measured.millis(99.0));
    }

    /// Adds the medians to a report. Each name has the name of the build at its end, if there are several.
    pub fn report(self, build: Option<&str>, report: &mut Report) {
        for Figure { name, unit, values } in self.0 {
            let name = build.map_or(name.clone(), |build| format!("{name} [{build}]"));
            match unit {
                Some(unit) => report.row(&name, unit, median(values)),
                None => report.ratio(&name, median(values)),
            }
        }
    }

    fn push(&mut self, name: &str, unit: Option<&'static str>, value: f64) {
        println!("  {name}: {value:.3} {}", unit.unwrap_or_default());
        match self.0.iter_mut().find(|figure| figure.name == name && figure.unit == unit) {
            Some(figure) => figure.values.push(value),
            None => self.0.push(Figure { name: name.to_owned(), unit, values: vec![value] }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_rounds_counts_and_names_its_build() {
        let mut figures = Figures::default();
        for value in [30.0, 10.0, 20.0] {
            figures.add("writes", "events/s", value);
            figures.ratio("writes / reads", value / 10.0);
        }
        let mut report = Report::default();
        figures.report(Some("old"), &mut report);
        let text = report.markdown().unwrap();
        assert!(text.contains("| writes [old] | 20.00 | events/s |"), "{text}");
        assert!(text.contains("| writes / reads [old] | 2.00 |"), "{text}");
    }
}
