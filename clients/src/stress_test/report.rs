//! The report of measurements and checks, for people and for machines.

use console::style;
use indicatif::HumanCount;
use sekali_clients::terminal::count;
use serde_json::{Value, json};

use crate::chaos::Kills;
use crate::cli::{Cli, Size};
use crate::record::{Record, Requests};
use crate::verify::{Check, Verdict};
use crate::workload::Workload;

/// The percentiles of latencies in the report.
const PERCENTILES: [(&str, f64); 5] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("max", 100.0)];

/// The width of the longest bar, in characters.
const WIDTH: f64 = 40.0;

/// The content of the report.
pub struct Report<'a> {
    pub cli: &'a Cli,
    pub size: Size,
    pub seed: u64,
    /// True if a signal ended the load early.
    pub is_interrupted: bool,
    pub workload: &'a Workload,
    pub record: &'a Record,
    pub kills: Option<&'a Kills>,
    pub verdict: &'a Verdict,
}

impl Report<'_> {
    /// True if all checks passed.
    pub fn is_passed(&self) -> bool {
        self.verdict.checks.iter().all(|check| check.wrong.is_empty())
    }

    /// The report for people.
    pub fn to_text(&self) -> String {
        let requests = &self.record.requests;
        let rate = self.answered() as f64 / requests.elapsed.as_secs_f64();
        let mut lines = vec![format!(
            "{} in {:.2?}: {} a second",
            style(deliveries(self.answered())).bold(),
            requests.elapsed,
            style(HumanCount(rate as u64)).bold(),
        )];
        lines.extend(latencies(requests));
        lines.push(format!(
            "retries   {} of {}: {} found nobody, {} lost their answer, {} were refused for the moment",
            HumanCount(requests.unreachable + requests.lost + requests.refused),
            count(requests.answered, "request"),
            HumanCount(requests.unreachable),
            HumanCount(requests.lost),
            HumanCount(requests.refused),
        ));
        if let Some(kills) = self.kills {
            lines.push(format!("kills     {}, each followed by a restart", HumanCount(kills.count)));
        }
        lines.push(String::new());
        lines.extend(self.verdict.checks.iter().flat_map(check));
        lines.push(String::new());
        if self.verdict.other_traffic > 0 {
            lines.push(format!(
                "{} the server had other traffic meanwhile: {} in topics of others",
                style("note:").yellow().bold(),
                deliveries(self.verdict.other_traffic),
            ));
        }
        lines.push(self.conclusion());
        lines.join("\n") + "\n"
    }

    fn conclusion(&self) -> String {
        let checks = &self.verdict.checks;
        match checks.iter().filter(|check| !check.wrong.is_empty()).count() {
            0 if self.is_interrupted => {
                let text = "interrupted: every event that was sent is stored exactly once";
                style(text).green().bold().to_string()
            }
            0 => style("passed: every event is stored exactly once").green().bold().to_string(),
            failed => style(format!("FAILED: {failed} of {} checks", checks.len())).red().bold().to_string(),
        }
    }

    /// The report for machines: durations in seconds, latencies in milliseconds.
    pub fn to_json(&self) -> Value {
        let requests = &self.record.requests;
        let seconds = requests.elapsed.as_secs_f64();
        let latency =
            |(name, percentile): (&str, f64)| (name.to_owned(), Value::from(millis(requests, percentile)));
        let check = |check: &Check| json!({"name": check.name, "passed": check.wrong.is_empty(), "found": check.found, "wrong": check.wrong});
        json!({
            "passed": self.is_passed(),
            "interrupted": self.is_interrupted,
            "url": self.cli.url,
            "version": self.verdict.after.version,
            "run": self.workload.run,
            "seed": self.seed,
            "events": self.workload.events,
            "deliveries": self.answered(),
            "clients": self.cli.clients,
            "batch": self.size.batch,
            "seconds": seconds,
            "deliveries_per_second": self.answered() as f64 / seconds,
            "requests": requests.answered,
            "latency_ms": PERCENTILES.map(latency).into_iter().collect::<serde_json::Map<_, _>>(),
            "retries": {"unreachable": requests.unreachable, "lost": requests.lost, "refused": requests.refused},
            "kills": self.kills.map(|kills| kills.count),
            "other_traffic": self.verdict.other_traffic,
            "checks": self.verdict.checks.iter().map(check).collect::<Vec<_>>(),
        })
    }

    fn answered(&self) -> u64 {
        self.record.ledger.acknowledged()
    }
}

fn millis(requests: &Requests, percentile: f64) -> f64 {
    requests.latencies.value_at_percentile(percentile) as f64 / 1000.0
}

fn latencies(requests: &Requests) -> impl Iterator<Item = String> {
    let longest = millis(requests, 100.0).max(0.001);
    PERCENTILES.into_iter().enumerate().map(move |(index, (name, percentile))| {
        let millis = millis(requests, percentile);
        let title = if index == 0 { "latency" } else { "" };
        let bar = "▇".repeat((millis / longest * WIDTH).ceil() as usize);
        format!("{title:<9} {name:<6}{millis:>9.2} ms  {}", style(bar).cyan())
    })
}

fn check(check: &Check) -> Vec<String> {
    let is_passed = check.wrong.is_empty();
    let mark = if is_passed { style("ok    ").green() } else { style("FAILED").red().bold() };
    let mut lines = vec![format!("{mark}  {:<44}{}", check.name, check.found).trim_end().to_owned()];
    lines.extend(check.wrong.iter().map(|wrong| format!("        {}", style(wrong).red())));
    lines
}

fn deliveries(number: u64) -> String {
    format!("{} {}", HumanCount(number), if number == 1 { "delivery" } else { "deliveries" })
}
