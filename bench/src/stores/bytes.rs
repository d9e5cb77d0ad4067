//! Bytes on disk an event, with its indexes and its identity.

use anyhow::{Context, Result, ensure};

use super::build::{Build, Place, Service};
use super::clients::{self, batches};
use super::events;
use super::figures::Figures;
use super::scale::{BATCH, Scale};
use crate::load::Until;

/// Clients that publish what is all alike, as those of the other measurements do.
const PUBLISHERS: u64 = 8;

/// Measures it, with events that are all alike but for their ids, and with events as producers make them.
pub fn measure(build: &Build, place: Place<'_>, scale: &Scale, figures: &mut Figures) -> Result<()> {
    let alike = build.start(place, &[])?;
    let each = Until::Requests(scale.events / BATCH / PUBLISHERS);
    let filled = clients::run(alike.address(), PUBLISHERS as usize, each, |client| {
        batches(&format!("client-{client}"), BATCH as usize)
    })?;
    ensure!(filled.failed == 0, "the store was not filled: {}", filled.failure);
    let name = |what: &str| format!("bytes on {}, {what}", place.name());
    weigh(&alike, &name("one topic, source and timestamp"), figures)?;
    drop(alike);
    let differing = build.start(place, &[])?;
    events::fill(&differing, scale.events)?;
    weigh(&differing, &name("twenty topics, each its timestamp, half of them with a source"), figures)
}

fn weigh(service: &Service<'_>, name: &str, figures: &mut Figures) -> Result<()> {
    service.settle()?;
    let stored = service.stats()?["unique_processed"].as_u64().context("/stats has no number")? as f64;
    let goal = if service.database.is_some() { ", at most 470" } else { "" };
    figures.add(&format!("{name}{goal}"), "bytes an event", service.bytes()? / stored);
    if let Some(database) = &service.database {
        let identities = database.number("select pg_total_relation_size('sekali.identities')")?;
        figures.add(&format!("{name}: of them the identity"), "bytes an event", identities / stored);
    }
    Ok(())
}
