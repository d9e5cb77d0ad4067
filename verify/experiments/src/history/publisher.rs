//! Clients that publish.

use std::thread;
use std::time::Instant;

use fastrand::Rng;

use super::client::{Client, Failure};
use super::record::{Answer, History, NEVER, Outcome, Publish, Span};
use super::stage::{PAUSE, Stage};
use crate::requests::{MOMENTS_OF_A_KEY, Request};

/// Publishes random requests, every second with a key, one after another and now and then two at once, until the stage
/// ends. Where there are several hosts, each gets its requests in turn, so a key is replayed to another than the first.
pub fn run(stage: &Stage, seed: u64) -> History {
    let client = Client::new(&stage.addresses);
    let mut rng = Rng::with_seed(seed);
    let mut history = History::default();
    for moment in 0.. {
        if stage.is_over() {
            break;
        }
        let (key, request) = choose(stage, &mut rng, moment);
        if rng.u8(..20) == 0 {
            let send = || publish(stage, &Client::new(&stage.addresses), key.clone(), request.clone());
            history.publishes.extend(thread::scope(|scope| {
                let twin = scope.spawn(send);
                [Some(send()), twin.join().ok()].into_iter().flatten().collect::<Vec<_>>()
            }));
        } else {
            history.publishes.push(publish(stage, &client, key, request));
        }
        let is_unsent = history.publishes.last().is_some_and(|publish| publish.outcome == Outcome::Unsent);
        thread::sleep(if is_unsent { PAUSE } else { stage.cast.rest });
    }
    history
}

/// The next request, with a key that others use, too, or without one.
fn choose(stage: &Stage, rng: &mut Rng, moment: usize) -> (Option<String>, Request) {
    if stage.has_floods && rng.u8(..100) == 0 {
        return (None, Request::flood(rng));
    }
    if rng.bool() {
        return (None, Request::random(rng, moment));
    }
    let key = (moment / MOMENTS_OF_A_KEY).saturating_sub(rng.usize(..4));
    let variant = [0, 0, 0, 0, 0, 0, 0, 1, 1, 2][rng.usize(..10)];
    (Some(format!("key {key}")), Request::keyed(stage.seed, key, variant))
}

/// Publishes a request.
pub fn publish(stage: &Stage, client: &Client, key: Option<String>, request: Request) -> Publish {
    let mut headers: Vec<_> = request.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    headers.extend(key.as_deref().map(|key| ("idempotency-key", key)));
    let (began, start) = (stage.clock.tick(), Instant::now());
    let answer = client.send("POST", request.path, &headers, &request.body);
    let (ended, took) = (stage.clock.tick(), start.elapsed());
    let outcome = match answer {
        Ok(answer) if answer.is_complete => Outcome::Answered(Answer {
            status: answer.status,
            is_replayed: answer.header("idempotent-replayed") == Some("true"),
            names_retry: answer.header("retry-after").is_some(),
            body: answer.text(),
        }),
        Ok(_) => Outcome::Lost("the answer broke off".into()),
        Err(Failure::Unsent) => Outcome::Unsent,
        Err(Failure::Lost(cause)) => Outcome::Lost(cause),
        Err(Failure::Late(cause)) => Outcome::Late(cause),
    };
    let ended = if matches!(outcome, Outcome::Answered(_)) { ended } else { NEVER };
    Publish { span: Span { began, ended }, key, request, outcome, took }
}
