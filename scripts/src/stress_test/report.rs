//! What was measured and what was verified, for people and for machines.

use console::style;
use indicatif::HumanCount;
use sekali_scripts::api::Stats;
use sekali_scripts::terminal::count;
use serde_json::{Value, json};

use crate::chaos::Kills;
use crate::cli::{Cli, Size};
use crate::ledger::{Ledger, Requests};
use crate::verify::{Check, Verdict};
use crate::workload::Workload;

/// The percentiles of latencies that are told.
const PERCENTILES: [(&str, f64); 5] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("max", 100.0)];

/// How wide the longest bar is.
const WIDTH: f64 = 40.0;

/// All there is to tell.
pub struct Report<'a> {
    pub cli: &'a Cli,
    pub size: Size,
    pub seed: u64,
    pub service: &'a Stats,
    pub workload: &'a Workload,
    pub ledger: &'a Ledger,
    pub kills: Option<&'a Kills>,
    pub verdict: &'a Verdict,
}

impl Report<'_> {
    /// Whether everything was as promised.
    pub fn is_passed(&self) -> bool {
        self.verdict.checks.iter().all(|check| check.wrong.is_empty())
    }

    /// For people.
    pub fn print(&self) {
        let requests = &self.ledger.requests;
        let deliveries = self.answered();
        let rate = deliveries as f64 / requests.elapsed.as_secs_f64();
        println!(
            "{} in {:.2?}: {} a second",
            style(count(deliveries, "delivery").replace("deliverys", "deliveries")).bold(),
            requests.elapsed,
            style(HumanCount(rate as u64)).bold(),
        );
        print_latencies(requests);
        println!(
            "retries   {} of {}: {} found nobody, {} lost their answer, {} were refused for the moment",
            HumanCount(requests.unreachable + requests.lost + requests.refused),
            count(requests.answered, "request"),
            HumanCount(requests.unreachable),
            HumanCount(requests.lost),
            HumanCount(requests.refused),
        );
        if let Some(kills) = self.kills {
            println!("kills     {}, each followed by a restart", HumanCount(kills.count));
        }
        println!();
        self.verdict.checks.iter().for_each(print_check);
        println!();
        if self.verdict.other_traffic > 0 {
            println!(
                "{} the server had other traffic meanwhile: {} in topics that are not of this run",
                style("note:").yellow().bold(),
                count(self.verdict.other_traffic, "delivery").replace("deliverys", "deliveries"),
            );
        }
        let failed = self.verdict.checks.iter().filter(|check| !check.wrong.is_empty()).count();
        match failed {
            0 => println!("{}", style("passed: every event is stored exactly once").green().bold()),
            _ => println!(
                "{}",
                style(format!("FAILED: {failed} of {}", count(self.verdict.checks.len() as u64, "check")))
                    .red()
                    .bold()
            ),
        }
    }

    /// For machines: durations in seconds, latencies in milliseconds.
    pub fn to_json(&self) -> Value {
        let requests = &self.ledger.requests;
        let seconds = requests.elapsed.as_secs_f64();
        let latency =
            |(name, percentile): (&str, f64)| (name.to_owned(), Value::from(millis(requests, percentile)));
        let check = |check: &Check| json!({"name": check.name, "passed": check.wrong.is_empty(), "found": check.found, "wrong": check.wrong});
        json!({
            "passed": self.is_passed(),
            "url": self.cli.url,
            "version": self.service.version,
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
        self.ledger.outcomes.iter().filter(|outcome| outcome.answer.is_some()).count() as u64
    }
}

fn millis(requests: &Requests, percentile: f64) -> f64 {
    requests.latencies.value_at_percentile(percentile) as f64 / 1000.0
}

fn print_latencies(requests: &Requests) {
    let longest = millis(requests, 100.0).max(0.001);
    for (index, (name, percentile)) in PERCENTILES.into_iter().enumerate() {
        let millis = millis(requests, percentile);
        let title = if index == 0 { "latency" } else { "" };
        let bar = "▇".repeat((millis / longest * WIDTH).ceil() as usize);
        println!("{title:<9} {name:<6}{millis:>9.2} ms  {}", style(bar).cyan());
    }
}

fn print_check(check: &Check) {
    let is_passed = check.wrong.is_empty();
    let mark = if is_passed { style("ok    ").green() } else { style("FAILED").red().bold() };
    println!("{mark}  {:<44}{}", check.name, check.found);
    for wrong in &check.wrong {
        println!("        {}", style(wrong).red());
    }
}
