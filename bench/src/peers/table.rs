//! The report: what was measured of each peer, and the ratios that the project promises.

use std::fmt::Write;
use std::time::Duration;

use anyhow::Result;

use super::chart::{self, Bar};
use super::peer::{Load, Rates};
use super::results::{BATCH, BATCH_CLIENTS, CLIENTS, Plan, RANDOM_CLIENTS, Results};
use super::sekali;
use crate::report::{figure, machine};

/// Prints the tables and writes peers.md and peers.svg.
///
/// # Errors
/// Errors of files.
pub fn write(plan: &Plan, results: &[Results], native: &[f64], took: Duration) -> Result<()> {
    let report = Report { plan, results, native: median(native.to_vec()) };
    let text = report.markdown(took)?;
    print!("{text}");
    std::fs::create_dir_all(&plan.output)?;
    std::fs::write(plan.output.join("peers.md"), text)?;
    std::fs::write(plan.output.join("peers.svg"), chart::svg(&report.bars()))?;
    println!("written: {}", plan.output.join("peers.{md,svg}").display());
    Ok(())
}

struct Report<'a> {
    plan: &'a Plan,
    results: &'a [Results],
    /// Rows a second of SQLite alone, in batches.
    native: f64,
}

impl Report<'_> {
    fn markdown(&self, took: Duration) -> Result<String> {
        let mut text = String::new();
        for (name, value) in machine()? {
            writeln!(text, "- {name}: {value}")?;
        }
        writeln!(
            text,
            "- {} rounds of {} s a figure, the median counts; {} min in all",
            self.plan.rounds,
            self.plan.seconds,
            took.as_secs() / 60
        )?;
        self.ratios(&mut text)?;
        self.singles(&mut text)?;
        self.batches(&mut text)?;
        self.costs(&mut text)?;
        writeln!(text)?;
        for results in self.stores() {
            writeln!(text, "- {}: {}.", results.name, results.configuration)?;
        }
        Ok(text)
    }

    fn stores(&self) -> impl Iterator<Item = &Results> {
        self.results.iter().filter(|results| !results.is_echo)
    }

    fn load(&self, clients: usize, batch: usize, random: bool) -> Load {
        Load { clients, batch, random, duration: Duration::from_secs(self.plan.seconds) }
    }

    fn single(&self, results: &Results, clients: usize, random: bool) -> Option<Rates> {
        results.rates.get(&self.load(clients, 1, random)).map(|rates| of_rounds(rates))
    }

    fn batch(&self, results: &Results, random: bool) -> Option<Rates> {
        results.rates.get(&self.load(BATCH_CLIENTS, BATCH, random)).map(|rates| of_rounds(rates))
    }

    /// Single events: a row for each number of clients and order of ids.
    fn singles(&self, text: &mut String) -> Result<()> {
        writeln!(text, "\n| events a second, p50 and p99 in ms | {} |", self.names(|_| true))?;
        writeln!(text, "|---|{}", "---:|".repeat(self.results.len()))?;
        let ordered = CLIENTS.map(|clients| (clients, false));
        for (clients, random) in ordered.into_iter().chain([(RANDOM_CLIENTS, true)]) {
            let cell = |results| match self.single(results, clients, random) {
                Some(rates) => format!("{} ({:.1}, {:.1})", figure(rates.events), rates.p50, rates.p99),
                None => "–".into(),
            };
            let cells: Vec<_> = self.results.iter().map(cell).collect();
            let ids = if random { ", random ids" } else { "" };
            writeln!(text, "| {clients} clients{ids} | {} |", cells.join(" | "))?;
        }
        Ok(())
    }

    fn batches(&self, text: &mut String) -> Result<()> {
        writeln!(
            text,
            "\n| events a second in batches of {BATCH} | {} |",
            self.names(|results| !results.is_echo)
        )?;
        writeln!(text, "|---|{}", "---:|".repeat(self.stores().count()))?;
        for random in [false, true] {
            let cell =
                |results| self.batch(results, random).map_or("–".into(), |rates| figure(rates.events));
            let cells: Vec<String> = self.stores().map(cell).collect();
            let ids = if random { "random ids" } else { "ids in order" };
            writeln!(text, "| {BATCH_CLIENTS} clients, {ids} | {} |", cells.join(" | "))?;
        }
        Ok(())
    }

    /// What each costs, and what it promises.
    fn costs(&self, text: &mut String) -> Result<()> {
        writeln!(
            text,
            "\n| | memory at 256 clients | bytes on disk an event, in order / random | remembers an id | kill -9: acknowledged, of them lost | clients' share of a core |"
        )?;
        writeln!(text, "|---|---:|---:|---|---:|---:|")?;
        for results in self.stores() {
            let [ordered, random] =
                results.bytes.map(|bytes| bytes.map_or("–".into(), |bytes| format!("{bytes:.0}")));
            let lost = results.aftermath.map_or("–".into(), |aftermath| {
                let lost = aftermath.stored_again.max(aftermath.acknowledged - aftermath.remembered);
                format!("{}, {lost}", figure(aftermath.acknowledged as f64))
            });
            writeln!(
                text,
                "| {} | {} MB | {ordered} / {random} | {} | {lost} | {:.2} |",
                results.name,
                results.memory / 1_000_000,
                results.memory_of_ids,
                results.client
            )?;
        }
        Ok(())
    }

    fn names(&self, wanted: impl Fn(&Results) -> bool) -> String {
        let names =
            self.results.iter().filter(|results| wanted(results)).map(|results| results.name.as_str());
        names.collect::<Vec<_>>().join(" | ")
    }

    /// The ratios that the project promises.
    fn ratios(&self, text: &mut String) -> Result<()> {
        let find = |part: &str| self.results.iter().find(|results| results.name.starts_with(part));
        let own = self.results.iter().find(|results| results.name == "Sekali");
        let (spin, postgres, redis) = (find("Sekali on Spin"), find("PostgreSQL"), find("Redis"));
        let echo = self.results.iter().find(|results| results.is_echo);
        let rate = |results: Option<&Results>, clients, random| {
            results.and_then(|results| self.single(results, clients, random)).map(|rates| rates.events)
        };
        let batch = |results: Option<&Results>| results.and_then(|results| self.batch(results, false));
        let ratio = |ours: Option<f64>, theirs: Option<f64>| Some(ours? / theirs?);
        let p99 = |clients| spin.and_then(|spin| self.single(spin, clients, false)).map(|rates| rates.p99);
        let events = |rates: Option<Rates>| rates.map(|rates| rates.events);
        let rows = [
            (
                "64 clients / PostgreSQL, 64 clients",
                "1.3",
                ratio(rate(own, 64, false), rate(postgres, 64, false)),
            ),
            (
                "the same with random ids on both sides",
                "1.1",
                ratio(rate(own, 64, true), rate(postgres, 64, true)),
            ),
            (
                "64 clients / an echo on the same host",
                "0.80",
                ratio(rate(own, 64, false), rate(echo, 64, false)),
            ),
            (
                "64 clients / Redis, appendfsync always",
                "0.5",
                ratio(rate(own, 64, false), rate(redis, 64, false)),
            ),
            ("1 client / PostgreSQL, 1 client", "0.6", ratio(rate(own, 1, false), rate(postgres, 1, false))),
            ("batches of 1,000 / SQLite alone", "0.75", ratio(events(batch(own)), Some(self.native))),
            ("Spin, 64 clients / Sekali's host", "0.4", ratio(rate(spin, 64, false), rate(own, 64, false))),
            ("Spin, 64 clients: p99 in ms", "at most 40", p99(64)),
            (
                "Spin, 256 clients / Sekali's host",
                "0.35",
                ratio(rate(spin, 256, false), rate(own, 256, false)),
            ),
            ("Spin, 256 clients: p99 in ms", "at most 120", p99(256)),
            ("Spin, 1 client / Sekali's host", "0.85", ratio(rate(spin, 1, false), rate(own, 1, false))),
            ("Spin, batches / Sekali's host", "0.8", ratio(events(batch(spin)), events(batch(own)))),
            ("Spin: memory at 256 clients, MB", "at most 300", spin.map(|spin| spin.memory as f64 / 1e6)),
            ("component, MB", "at most 1", Some(sekali::component_bytes()? as f64 / 1e6)),
        ];
        writeln!(text, "\n| | measured | goal |\n|---|---:|---:|")?;
        for (name, goal, value) in rows {
            let value = value.map_or("–".into(), |value| format!("{value:.2}"));
            writeln!(text, "| {name} | {value} | {goal} |")?;
        }
        Ok(())
    }

    fn bars(&self) -> Vec<Bar> {
        let bar = |results: &Results| {
            let ordered = self.single(results, 64, false)?;
            let random = self.single(results, RANDOM_CLIENTS, true)?;
            Some(Bar {
                name: results.name.clone(),
                is_ours: results.name.starts_with("Sekali"),
                ordered: ordered.events,
                random: random.events,
                p99: ordered.p99,
            })
        };
        self.stores().filter_map(bar).collect()
    }
}

/// The median of each figure over the rounds.
fn of_rounds(rates: &[Rates]) -> Rates {
    let median = |figure: fn(&Rates) -> f64| median(rates.iter().map(figure).collect());
    Rates {
        events: median(|rates| rates.events),
        p50: median(|rates| rates.p50),
        p99: median(|rates| rates.p99),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_rounds_is_of_each_figure() {
        let rates = [(1.0, 9.0), (3.0, 2.0), (2.0, 5.0)];
        let rates = rates.map(|(events, p99)| Rates { events, p99, p50: 1.0 });
        let of_all = of_rounds(&rates);
        assert_eq!((of_all.events, of_all.p99), (2.0, 5.0));
        assert_eq!(median(vec![]), 0.0);
    }
}
