//! Publishing beside readers that read everything, again and again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::Result;

use super::build::{Build, Place};
use super::clients::{self, singles};
use super::events;
use super::figures::Figures;
use super::scale::{CLIENTS, Scale};
use crate::large::read_until;
use crate::load::Until;

/// Readers that never pause.
const READERS: usize = 4;

/// Measures one round.
pub fn measure(build: &Build, place: Place<'_>, scale: &Scale, figures: &mut Figures) -> Result<()> {
    let service = build.start(place, &[])?;
    events::fill(&service, scale.events)?;
    let publish = |name: &str, time, turn| {
        clients::run(service.address(), CLIENTS, Until::Elapsed(time), |client| {
            singles(&format!("{name}-{turn}-{client}"))
        })
    };
    let read = AtomicU64::new(0);
    let beside_readers = |time, turn| {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..READERS {
                scope.spawn(|| read_until(service.address(), &is_over, &read));
            }
            let beside = publish("beside", time, turn);
            is_over.store(true, Ordering::Relaxed);
            beside
        })
    };
    let [alone, beside] =
        clients::in_turns(scale.time, [&|time, turn| publish("alone", time, turn), &beside_readers])?;
    let name = |what: &str| format!("readers on {}, {CLIENTS} clients {what}", place.name());
    figures.load(&name("alone"), &alone);
    let readers = format!("beside {READERS} readers");
    figures.load(&name(&readers), &beside);
    let bytes = read.load(Ordering::Relaxed) as f64 / beside.measured.elapsed.as_secs_f64();
    figures.add(&name(&format!("{readers}: what these read")), "MB/s", bytes / 1e6);
    let name = name(&format!("{readers} / alone"));
    figures.ratio(&name, beside.rate() / alone.rate());
    let p99 = beside.measured.millis(99.0) / alone.measured.millis(99.0);
    figures.ratio(&format!("{name}: p99, at most 4"), p99);
    Ok(())
}
