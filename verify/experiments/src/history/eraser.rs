//! A client that erases events, one by one and by filters.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use fastrand::Rng;
use serde_json::Value;

use super::client::{Client, Failure};
use super::reader::query;
use super::record::{Erasure, History, NEVER, Selection, Span};
use super::stage::Stage;
use crate::requests::format::encoded;
use crate::requests::identities::{IDENTITIES, TOPICS, event_id, topic};

/// The pause between two requests: a few of the events go by them.
const REST: Duration = Duration::from_millis(40);

/// The token of those who may erase.
pub const TOKEN: &str = "boss";

/// Erases at random until the stage ends.
pub fn run(stage: &Stage, seed: u64) -> History {
    let client = Client::new(&stage.addresses);
    let mut rng = Rng::with_seed(seed);
    let mut history = History::default();
    for moment in 0.. {
        if stage.is_over() {
            break;
        }
        let identity = rng.usize(..=10 * moment) % IDENTITIES;
        let selection = match rng.u8(..3) {
            0 => Selection {
                topics: vec![rng.usize(..TOPICS.len())],
                times: Some((identity, identity + rng.usize(1..30))),
                ..Selection::default()
            },
            _ => Selection { identity: Some(identity), ..Selection::default() },
        };
        if let Err(fault) = erase(stage, &client, selection, &mut history) {
            history.faults.push(format!("{fault:#}"));
        }
        thread::sleep(REST);
    }
    history
}

/// Erases the events of a selection, which has a topic or one identity.
pub fn erase(stage: &Stage, client: &Client, selection: Selection, history: &mut History) -> Result<()> {
    let path = match selection.identity {
        Some(identity) => format!("/events/{}/{}", encoded(topic(identity)), encoded(&event_id(identity))),
        None => format!("/events?{}", query(&selection).trim_end_matches('&')),
    };
    let token = format!("Bearer {TOKEN}");
    let began = stage.clock.tick();
    let answer = client.send("DELETE", &path, &[("authorization", &token)], b"");
    let span = Span { began, ended: stage.clock.tick() };
    let is_whole = match &answer {
        Err(Failure::Unsent) => return Ok(()),
        // It may be done, in part at least.
        Err(Failure::Lost(_) | Failure::Late(_)) => false,
        Ok(answer) => match (answer.status, selection.identity) {
            (204, Some(_)) => true,
            (404, Some(identity)) => {
                history.strangers.push((span, identity));
                return Ok(());
            }
            (200, None) if answer.is_complete => {
                let body: Value = serde_json::from_slice(&answer.body)?;
                body["has_more"] == false
            }
            (200 | 503, _) => false,
            (status, _) => {
                ensure!(
                    status == 500 && stage.losses.database,
                    "DELETE {path} -> {status} {}",
                    answer.text()
                );
                false
            }
        },
    };
    let span = if answer.is_ok() { span } else { Span { ended: NEVER, ..span } };
    history.erasures.push(Erasure { span, selection, is_whole });
    Ok(())
}
