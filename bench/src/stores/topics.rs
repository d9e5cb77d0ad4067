//! Single events over a few topics beside single events over many, all of which have been published to before.

use anyhow::{Result, ensure};

use super::build::{Build, Place, Service};
use super::clients;
use super::figures::Figures;
use super::scale::{BATCH, CLIENTS, Scale};
use crate::http;
use crate::load::Until;
use crate::workload::PAYLOAD;

/// The topics of the store that has few.
const FEW: u64 = 20;

/// Measures one round.
pub fn measure(build: &Build, place: Place<'_>, scale: &Scale, figures: &mut Figures) -> Result<()> {
    let variables = [("max_topics", "100000")];
    let start = |topics| -> Result<Service<'_>> {
        let service = build.start(place, &variables)?;
        // The same number of events, whatever the topics are.
        warm(&service, topics, 2 * scale.topics)?;
        Ok(service)
    };
    let run = |service: &Service<'_>, topics, time, turn| {
        clients::run(service.address(), CLIENTS, Until::Elapsed(time), |client| {
            singles(&format!("{turn}-{client}"), topics)
        })
    };
    let (of_few, of_many) = (start(FEW)?, start(scale.topics)?);
    let [few, many] = clients::in_turns(
        scale.time,
        [&|time, turn| run(&of_few, FEW, time, turn), &|time, turn| run(&of_many, scale.topics, time, turn)],
    )?;
    let name = |topics| format!("topics on {}, single events over {topics}", place.name());
    figures.load(&name(FEW), &few);
    figures.load(&name(scale.topics), &many);
    let name = format!("topics on {}, single events over {} / {FEW}", place.name(), scale.topics);
    figures.compare(&name, ", at least 0.8", &many, &few);
    Ok(())
}

/// Publishes so many events, to one topic after the other.
fn warm(service: &Service<'_>, topics: u64, events: u64) -> Result<()> {
    let filler = |_| {
        let mut n = 0;
        move |request: &mut Vec<u8>| {
            let batch: Vec<_> = (n..n + BATCH).map(|n| event(n % topics, &format!("warm-{n}"))).collect();
            n += BATCH;
            http::write(request, "POST", "/publish", "", format!("[{}]", batch.join(",")).as_bytes());
        }
    };
    let warmed = clients::run(service.address(), 1, Until::Requests(events / BATCH), filler)?;
    ensure!(warmed.failed == 0, "the topics were not made: {}", warmed.failure);
    Ok(())
}

/// A client of single events, each to one of so many topics. No other of this store has the same name.
fn singles(name: &str, topics: u64) -> impl FnMut(&mut Vec<u8>) + use<> {
    let name = name.to_owned();
    let mut random = fastrand::Rng::new();
    let mut n = 0;
    move |request| {
        n += 1;
        let event = event(random.u64(..topics), &format!("single-{name}-{n:012}"));
        http::write(request, "POST", "/publish", "", event.as_bytes());
    }
}

fn event(topic: u64, id: &str) -> String {
    format!(r#"{{"topic":"customer-{topic:06}","event_id":"{id}","source":"bench","payload":{PAYLOAD}}}"#)
}
