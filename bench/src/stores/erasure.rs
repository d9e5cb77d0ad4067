//! Erasing a hundred events that are scattered over a store: how long it takes, and how long publishers wait meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::build::{Build, Place, Service};
use super::clients::{self, Load, singles};
use super::events::{self, RARE_SOURCES};
use super::figures::Figures;
use super::scale::{CLIENTS, RARE, Scale};
use crate::load::Until;
use crate::report::median;

/// Measures one round.
pub fn measure(build: &Build, place: Place<'_>, scale: &Scale, figures: &mut Figures) -> Result<()> {
    let service = build.start(place, &[])?;
    events::fill(&service, scale.events)?;
    let (mut quiet, mut busy, mut beside, mut alone) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut rate = None;
    for rare in 0..RARE_SOURCES / 2 {
        let load = publish(&service, scale, &format!("quiet-{rare}"))?;
        quiet.push(load.measured.millis(100.0));
        let (load, took) = std::thread::scope(|scope| -> Result<(Load, Duration)> {
            let erasing = scope.spawn(|| {
                std::thread::sleep(window(scale) / 3);
                erase(&service, rare)
            });
            let load = publish(&service, scale, &format!("busy-{rare}"))?;
            let took = erasing.join().ok().context("the eraser panicked")??;
            Ok((load, took))
        })?;
        busy.push(load.measured.millis(100.0));
        beside.push(millis(took));
        rate = Some(load);
    }
    for rare in RARE_SOURCES / 2..RARE_SOURCES {
        alone.push(millis(erase(&service, rare)?));
    }
    let name = |what: &str| format!("erasure on {}, {what}", place.name());
    let [quiet, busy, beside, alone] = [quiet, busy, beside, alone].map(median);
    if let Some(load) = rate {
        figures.load(&name("publishing while 100 scattered events are erased"), &load);
    }
    figures.add(&name("longest wait of a publish, nothing erased"), "ms", quiet);
    figures.add(&name("longest wait of a publish, 100 scattered events erased"), "ms", busy);
    figures.add(&name("DELETE of 100 scattered events, 64 clients publish"), "ms", beside);
    figures.add(&name("DELETE of 100 scattered events, nothing else"), "ms", alone);
    figures.ratio(&name("longest wait, erasing / not"), busy / quiet);
    Ok(())
}

/// A time in which one erasure fits several times.
fn window(scale: &Scale) -> Duration {
    scale.time.min(Duration::from_secs(2))
}

fn publish(service: &Service<'_>, scale: &Scale, name: &str) -> Result<Load> {
    clients::run(service.address(), CLIENTS, Until::Elapsed(window(scale)), |client| {
        singles(&format!("{name}-{client}"))
    })
}

/// Erases the events of a rare source.
fn erase(service: &Service<'_>, rare: u64) -> Result<Duration> {
    let began = Instant::now();
    let erased = service.erase(&format!("/events?source=rare-{rare}"))?;
    let took = began.elapsed();
    ensure!(erased == RARE, "{erased} events were erased");
    Ok(took)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
