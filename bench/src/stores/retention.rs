//! A store that keeps a number of newest events, at full load and after it: how far it is behind, and what that costs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::build::{Build, Place, Service};
use super::clients::{self, Load, batches, singles};
use super::figures::Figures;
use super::scale::{CLIENTS, Scale};
use crate::load::Until;

/// The time of which the arrivals may be in the store beyond what it keeps.
const ALLOWED: Duration = Duration::from_secs(10);

/// The time between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Measures it, by batches and by single events.
pub fn measure(build: &Build, place: Place<'_>, scale: &Scale, figures: &mut Figures) -> Result<()> {
    for kind in [Kind::Batches, Kind::Singles] {
        let name = |what: &str| format!("retention on {}, {}, {what}", place.name(), kind.name());
        let without = {
            let service = build.start(place, &[])?;
            kind.publish(&service, scale.time * 10)?
        };
        let kept = scale.kept.to_string();
        let service = build.start(place, &[("retention_events", &kept)])?;
        let began = Instant::now();
        let is_over = AtomicBool::new(false);
        let (with, looks) = std::thread::scope(|scope| -> Result<(Load, Vec<Look>)> {
            let watcher = scope.spawn(|| watch(&service, began, &is_over));
            let with = kind.publish(&service, scale.time * 10);
            is_over.store(true, Ordering::Relaxed);
            let looks = watcher.join().ok().context("the watcher panicked")??;
            Ok((with?, looks))
        })?;
        let at_end = look(&service, began)?;
        std::thread::sleep(scale.time * 15 / 2);
        let later = look(&service, began)?;

        figures.load(&name("no retention"), &without);
        figures.load(&name("retention at work"), &with);
        figures.add(&name("accepted by the end of the load"), "events", at_end.stored as f64);
        figures.add(&name("expired by the end of the load"), "events", at_end.expired as f64);
        let surplus = looks.iter().map(|look| look.surplus(scale.kept)).fold(0.0, f64::max);
        figures.add(&name("greatest surplus during the load"), "events", surplus);
        figures.add(&name("on disk after the load and its rest"), "MB", service.bytes()? / 1e6);
        figures.ratio(
            &name("greatest surplus / arrivals of ten seconds, at most 1"),
            greatest_share(&looks, scale.kept),
        );
        figures.ratio(
            &name("kept 30 s after 40 s of load / bound, at most 1.2"),
            later.readable() as f64 / scale.kept as f64,
        );
        figures.compare(&name("with retention / without"), ", at least 0.5", &with, &without);
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Kind {
    Batches,
    Singles,
}

/// Clients of batches, and the events of each.
const BATCH_CLIENTS: usize = 8;
const BATCH: usize = 1000;

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Batches => "batches of 1,000",
            Self::Singles => "single events",
        }
    }

    fn publish(self, service: &Service<'_>, time: Duration) -> Result<Load> {
        let (address, until) = (service.address(), Until::Elapsed(time));
        match self {
            Self::Singles => {
                clients::run(address, CLIENTS, until, |client| singles(&format!("single-{client}")))
            }
            Self::Batches => clients::run(address, BATCH_CLIENTS, until, |client| {
                batches(&format!("batch-{client}"), BATCH)
            }),
        }
    }
}

/// What /stats told at a time.
#[derive(Clone, Copy)]
struct Look {
    at: Duration,
    stored: u64,
    expired: u64,
}

impl Look {
    fn readable(self) -> u64 {
        self.stored - self.expired
    }

    /// The events beyond those that are kept.
    fn surplus(self, kept: u64) -> f64 {
        self.readable().saturating_sub(kept) as f64
    }
}

/// The greatest surplus as a share of what had arrived within ten seconds before. Earlier looks are left out: then all
/// arrivals are within ten seconds.
fn greatest_share(looks: &[Look], kept: u64) -> f64 {
    let share = |look: &Look| {
        let begin = look.at.checked_sub(ALLOWED)?;
        let before = looks.iter().rev().find(|earlier| earlier.at <= begin)?;
        Some(look.surplus(kept) / (look.stored - before.stored).max(1) as f64)
    };
    looks.iter().filter_map(share).fold(0.0, f64::max)
}

fn look(service: &Service<'_>, began: Instant) -> Result<Look> {
    let stats = service.stats()?;
    let count = |name: &str| stats[name].as_u64().with_context(|| format!("/stats has no {name}"));
    Ok(Look { at: began.elapsed(), stored: count("unique_processed")?, expired: count("expired")? })
}

fn watch(service: &Service<'_>, began: Instant, is_over: &AtomicBool) -> Result<Vec<Look>> {
    let mut looks = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        looks.push(look(service, began)?);
        std::thread::sleep(LOOK);
    }
    Ok(looks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_surplus_is_compared_with_the_arrivals_of_the_ten_seconds_before() {
        let look = |at, stored, expired| Look { at: Duration::from_secs(at), stored, expired };
        // A thousand a second; nothing expires before the twentieth second.
        let looks: Vec<_> = (0..=20).map(|at| look(at, at * 1000, 0)).collect();
        assert!((greatest_share(&looks, 100) - 1.99).abs() < 1e-9);
        let kept_up: Vec<_> = (0..=20).map(|at| look(at, at * 1000, at * 1000)).collect();
        assert!(greatest_share(&kept_up, 100) < 1e-9);
        assert!(greatest_share(&looks[..5], 100) < 1e-9, "ten seconds have not passed");
    }
}
