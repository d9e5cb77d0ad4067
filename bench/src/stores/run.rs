//! The measurement: builds take turns in every round.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use sekali_harness::postgres::Postgres;

use super::build::{Build, Place};
use super::figures::Figures;
use super::parts::{PARTITIONS, PARTS, Part};
use super::scale::Scale;
use crate::report::Report;

/// What is measured, on which builds.
pub struct Plan {
    /// Checkouts that are built. None means this repository.
    pub builds: Vec<PathBuf>,
    /// Seconds of each measurement.
    pub seconds: u64,
    /// Rounds, of which the median counts.
    pub rounds: usize,
    /// Parts of the names of what is measured, such as `keys` or `on sqlite`. Empty means all.
    pub only: Vec<String>,
    /// The partitions of PostgreSQL, if nothing but these is measured.
    pub partitions: Option<u64>,
    /// True to show that all of it works, with figures that mean nothing.
    pub is_small: bool,
}

/// Measures what is wanted. What fails is told at the end, after all else is measured.
pub fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let builds = match plan.builds.as_slice() {
        [] => vec![Build::own()?],
        directories => directories.iter().map(|directory| Build::of(directory)).collect::<Result<_>>()?,
    };
    for build in &builds {
        report.setting(build.name.as_deref().unwrap_or("host"), &build.host()?);
    }
    report.setting("seconds a measurement", &plan.seconds.to_string());
    report.setting("rounds", &plan.rounds.to_string());
    let partitions = plan.partitions.unwrap_or_default();
    let scale = match plan.is_small {
        true => Scale::small(partitions),
        false => Scale::of(Duration::from_secs(plan.seconds), plan.rounds, partitions),
    };
    let server = match plan.partitions.is_some() || is_any_wanted(plan, "PostgreSQL") {
        true => Some(Postgres::with(&["max_connections=500", "max_wal_size=4GB"])?),
        false => None,
    };
    if let Some(server) = &server {
        let version = server.query("postgres", "show server_version")?;
        report.setting("PostgreSQL", &format!("{version}, max_wal_size 4 GB, 500 connections"));
    }
    let postgres = server.as_ref().map(Place::Postgres);
    let wanted: Vec<(&Part, Place<'_>)> = match (plan.partitions, postgres) {
        (Some(_), Some(postgres)) => vec![(&PARTITIONS, postgres)],
        (_, postgres) => {
            let places = || [Some(Place::Sqlite), postgres].into_iter().flatten();
            let all = PARTS.iter().flat_map(|part| places().map(move |place| (part, place)));
            all.filter(|(part, place)| is_wanted(plan, part, place.name())).collect()
        }
    };
    let mut failures = Vec::new();
    for (part, place) in wanted {
        for (build, figures, failure) in measure(part, place, &builds, &scale) {
            figures.report(build.name.as_deref(), report);
            failures.extend(failure.map(|failure| format!("{} on {}: {failure:#}", part.name, place.name())));
        }
    }
    if failures.is_empty() { Ok(()) } else { bail!("what failed:\n{}", failures.join("\n")) }
}

type Outcome<'b> = (&'b Build, Figures, Option<anyhow::Error>);

fn measure<'b>(part: &Part, place: Place<'_>, builds: &'b [Build], scale: &Scale) -> Vec<Outcome<'b>> {
    let mut outcomes: Vec<Outcome<'_>> =
        builds.iter().map(|build| (build, Figures::default(), None)).collect();
    for round in 1..=if part.is_long { 1 } else { scale.rounds } {
        for (build, figures, failure) in &mut outcomes {
            let name = build.name.as_deref().unwrap_or("this build");
            println!("{} on {}, round {round}: {name}", part.name, place.name());
            if let Err(error) = (part.measure)(build, place, scale, figures) {
                println!("  failed: {error:#}");
                *failure = Some(error);
            }
        }
    }
    outcomes
}

fn is_any_wanted(plan: &Plan, place: &str) -> bool {
    PARTS.iter().any(|part| is_wanted(plan, part, place))
}

fn is_wanted(plan: &Plan, part: &Part, place: &str) -> bool {
    let name = format!("{} on {place}", part.name).to_lowercase();
    plan.only.is_empty() || plan.only.iter().any(|wanted| name.contains(&wanted.to_lowercase()))
}
