//! `scripts/torture`: repeats all experiments with growing seeds until the time is over, and prints a table.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use sekali_torture::{EXPERIMENTS, Effort, Experiment, Tally};

/// Tries to make Sekali lose an event: crashes, faults, hostile clients and random histories.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Time after which no further round begins.
    #[arg(long = "for", value_name = "DURATION", default_value = "30m", value_parser = humantime::parse_duration)]
    duration: Duration,

    /// Seed of the first round; each further round adds one. A round with the same seed makes the same choices.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Runs only this experiment; may repeat.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// Runs the short form of each experiment.
    #[arg(long)]
    short: bool,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let experiments = chosen(&options.only)?;
    let effort = if options.short { Effort::Short } else { Effort::Long };
    let mut seed = options.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let began = Instant::now();
    let mut tallies = vec![(Tally::default(), Duration::ZERO); experiments.len()];
    let mut rounds = 0;
    while rounds == 0 || began.elapsed() < options.duration {
        rounds += 1;
        for (experiment, (tally, time)) in experiments.iter().zip(&mut tallies) {
            let start = Instant::now();
            let result = (experiment.run)(seed, effort).unwrap_or_else(|error| {
                let mut result = Tally::default();
                result.violated(format!("it could not be carried out: {error:#}"));
                result
            });
            *time += start.elapsed();
            for violation in &result.violations {
                eprintln!("torture: {} --seed {seed}: {violation}", experiment.name);
            }
            tally.add(result);
        }
        let broken: usize = tallies.iter().map(|(tally, _)| tally.violations.len()).sum();
        eprintln!("torture: round {rounds}, seed {seed}: {broken} promises broken so far");
        seed += 1;
    }
    print(&experiments, &tallies);
    let is_broken = tallies.iter().any(|(tally, _)| !tally.violations.is_empty());
    Ok(if is_broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn chosen(names: &[String]) -> Result<Vec<&'static Experiment>> {
    for name in names {
        let known: Vec<_> = EXPERIMENTS.iter().map(|experiment| experiment.name).collect();
        ensure!(
            known.contains(&name.as_str()),
            "no experiment is called {name:?}: there are {}",
            known.join(", ")
        );
    }
    let is_chosen =
        |experiment: &&Experiment| names.is_empty() || names.iter().any(|name| name == experiment.name);
    Ok(EXPERIMENTS.iter().filter(is_chosen).collect())
}

/// Prints the table, in Markdown.
fn print(experiments: &[&Experiment], tallies: &[(Tally, Duration)]) {
    println!("| experiment | trials | acknowledged deliveries | promises broken | time |");
    println!("|---|---|---|---|---|");
    for (experiment, (tally, time)) in experiments.iter().zip(tallies) {
        println!(
            "| {} | {} {} | {} | {} | {} |",
            experiment.name,
            tally.trials,
            experiment.trials,
            tally.acknowledged,
            tally.violations.len(),
            humantime::format_duration(Duration::from_secs(time.as_secs())),
        );
    }
}
