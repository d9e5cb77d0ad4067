//! The results: printed as they come, and written as JSON and Markdown.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::load::Measured;

/// The results of a run, in the order of measurement.
#[derive(Default, Serialize)]
pub struct Report {
    settings: Vec<(String, String)>,
    rows: Vec<Row>,
    ratios: Vec<Ratio>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    value: f64,
    unit: String,
}

#[derive(Serialize)]
struct Ratio {
    name: String,
    value: f64,
}

impl Report {
    /// An empty report that begins with this machine.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn on_this_machine() -> Result<Self> {
        let mut report = Self::default();
        for (name, value) in machine()? {
            report.setting(name, &value);
        }
        Ok(report)
    }

    /// Adds a condition of the whole run.
    pub fn setting(&mut self, name: &str, value: &str) {
        println!("{name}: {value}");
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Adds a figure.
    pub fn row(&mut self, name: &str, unit: &str, value: f64) {
        println!("{name:<60} {:>12} {unit}", figure(value));
        self.rows.push(Row { name: name.to_owned(), value, unit: unit.to_owned() });
    }

    /// Adds the rate and the latencies of requests.
    pub fn requests(&mut self, name: &str, measured: &Measured) {
        self.row(name, "requests/s", measured.rate());
        for (unit, percentile) in [("p50 ms", 50.0), ("p99 ms", 99.0), ("max ms", 100.0)] {
            self.row(name, unit, measured.millis(percentile));
        }
    }

    /// Adds a ratio of two figures of the same run. Unlike the figures, it depends little on the machine.
    pub fn ratio(&mut self, name: &str, value: f64) {
        println!("{:<60} {:>12}", format!("= {name}"), ratio(value));
        self.ratios.push(Ratio { name: name.to_owned(), value });
    }

    /// Writes bench.json and bench.md.
    pub fn write(&self, directory: &Path) -> Result<()> {
        std::fs::create_dir_all(directory)?;
        std::fs::write(directory.join("bench.json"), serde_json::to_string_pretty(self)?)?;
        std::fs::write(directory.join("bench.md"), self.markdown()?)?;
        println!("written: {}", directory.join("bench.{json,md}").display());
        Ok(())
    }

    /// The results as Markdown.
    pub fn markdown(&self) -> Result<String> {
        let mut text = String::new();
        for (name, value) in &self.settings {
            writeln!(text, "- {name}: {value}")?;
        }
        writeln!(text, "\n| ratio | |\n|---|---:|")?;
        for Ratio { name, value } in &self.ratios {
            writeln!(text, "| {name} | {} |", ratio(*value))?;
        }
        writeln!(text, "\n| measured | | |\n|---|---:|---|")?;
        for Row { name, value, unit } in &self.rows {
            writeln!(text, "| {name} | {} | {unit} |", figure(*value))?;
        }
        Ok(text)
    }
}

/// The machine of a measurement.
///
/// # Errors
/// When the system does not tell.
pub fn machine() -> Result<[(&'static str, String); 2]> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = std::thread::available_parallelism()?;
    Ok([("cpu", model.trim_start_matches([' ', '\t', ':']).to_owned()), ("cores", cores.to_string())])
}

/// Formats a ratio: with two decimals, and with four below a tenth.
fn ratio(value: f64) -> String {
    if value < 0.1 { format!("{value:.4}") } else { format!("{value:.2}") }
}

/// Formats a figure: with two decimals below 100, and above as a whole number with separated thousands.
pub fn figure(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The median of some values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
