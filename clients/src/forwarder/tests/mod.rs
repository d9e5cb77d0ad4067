//! Forwarders at work, in simulated time: an hour takes a moment.

mod endpoint;
mod service;

use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use sekali_common::consumers::Order;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use self::endpoint::Endpoint;
use self::service::Log;
use crate::board::{Board, Counts};
use crate::forward::{Forwarder, Stop};
use crate::outcome::{Away, Outcome};
use crate::settings::Settings;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn settings() -> Settings {
    Settings::default()
}

/// Forwards until the log is done, or for a time, and then is told to end.
async fn forward(
    log: &Log,
    endpoint: &Endpoint,
    settings: Settings,
    most: Duration,
) -> (Result<(), Stop>, Counts) {
    let board = Arc::new(Board::new("test", ProgressBar::hidden(), false));
    let mut forwarder = Forwarder::new(log.holder("one"), endpoint.clone(), settings, Arc::clone(&board));
    let (stop, stopped) = watch::channel(false);
    let stopped = async move || _ = stopped.clone().wait_for(|is_stopped| *is_stopped).await;
    let work = tokio::spawn(async move { forwarder.run(&stopped).await });
    let end = Instant::now() + most;
    while !log.is_done() && Instant::now() < end && !work.is_finished() {
        sleep((most / 10_000).max(SECOND / 10)).await;
    }
    let _ = stop.send(true);
    (work.await.unwrap(), board.counts())
}

fn answers(status: u16) -> Outcome {
    crate::outcome::of_status(status, status.to_string(), None)
}

#[tokio::test(start_paused = true)]
async fn everything_is_delivered_once_in_the_order_of_each_topic() {
    let log = Log::new(10_000, 16);
    let endpoint = Endpoint::new(|_, _| Outcome::Delivered);
    let (ended, counts) = forward(&log, &endpoint, settings(), HOUR).await;
    assert!(ended.is_ok() && log.is_done());
    assert_eq!(counts.delivered, 10_000);
    endpoint.assert_each_once(10_000);
    // 16 at a time that take 10 ms each are 1,600 a second; some of it goes to the ends of claims.
    let took = endpoint.last() - endpoint.first();
    assert!(took < SECOND * 8, "{took:?}");
}

/// The signs of an outage, each with a name.
fn outages() -> [(&'static str, Outcome); 5] {
    [
        ("refused", Outcome::Away(Away::unreached("refused"))),
        ("timeout", Outcome::Away(Away::lost("timeout"))),
        ("500", answers(500)),
        ("503", answers(503)),
        ("429", answers(429)),
    ]
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_an_hour_loses_nothing_and_costs_no_attempt() {
    for (sign, away) in outages() {
        let log = Log::new(2_000, 7);
        let (from, to) = (Instant::now() + SECOND / 5, Instant::now() + HOUR);
        let is_away = move |now| (from..to).contains(&now);
        let endpoint =
            Endpoint::new(move |_, now| if is_away(now) { away.clone() } else { Outcome::Delivered });
        let (ended, counts) = forward(&log, &endpoint, settings(), HOUR * 2).await;
        assert!(ended.is_ok() && log.is_done(), "{sign}");
        assert_eq!((counts.delivered, counts.failed, counts.claims_lost), (2_000, 0, 0), "{sign}");
        endpoint.assert_each_once(2_000);
        assert_eq!(log.attempts(), 0, "{sign}");
        // 16 that were on their way, and probes.
        assert!(endpoint.tries() < 2_000 + 40, "{sign}: {} tries", endpoint.tries());
        // The next probe is at most 5 minutes after the endpoint is back.
        assert!(endpoint.last() < to + SECOND * 302, "{sign}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_an_hour_with_one_event_costs_no_attempt() {
    for (sign, away) in outages() {
        let log = Log::new(1, 1);
        let back = Instant::now() + HOUR;
        let endpoint =
            Endpoint::new(move |_, now| if now < back { away.clone() } else { Outcome::Delivered });
        forward(&log, &endpoint, settings(), HOUR * 2).await.0.unwrap();
        endpoint.assert_each_once(1);
        assert_eq!(log.attempts(), 0, "{sign}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_days_with_nothing_else_in_the_log_costs_no_attempt() {
    for (sign, away) in outages() {
        let log = Log::new(20, 1);
        let back = Instant::now() + HOUR * 75;
        let endpoint =
            Endpoint::new(move |_, now| if now < back { away.clone() } else { Outcome::Delivered });
        forward(&log, &endpoint, settings(), HOUR * 80).await.0.unwrap();
        endpoint.assert_each_once(20);
        assert_eq!(log.attempts(), 0, "{sign}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_days_costs_an_event_that_failed_before_one_attempt_and_not_its_life() {
    for (sign, away) in outages() {
        let log = Log::new(30, 3);
        let (from, to) = (Instant::now() + SECOND * 2, Instant::now() + HOUR * 75);
        let endpoint = Endpoint::new(move |seq, now| match (from..to).contains(&now) {
            true => away.clone(),
            // Two topics have something that was refused before the outage.
            false if now < from && seq % 3 != 0 && seq > 10 => answers(422),
            false => Outcome::Delivered,
        });
        forward(&log, &endpoint, settings(), HOUR * 80).await.0.unwrap();
        endpoint.assert_each_once(30);
        assert!(log.dead().is_empty(), "{sign}");
        assert!((2..=4).contains(&log.attempts()), "{sign}: {} attempts", log.attempts());
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_sent_is_no_sign_that_the_endpoint_is_back() {
    let log = Log::new(30, 30);
    let back = Instant::now() + HOUR;
    let endpoint = Endpoint::new(move |seq, now| match seq {
        26.. => Outcome::Unsendable("no field to sign".into()),
        _ if now < back => answers(503),
        _ => Outcome::Delivered,
    });
    let (_, counts) = forward(&log, &endpoint, settings(), HOUR * 100).await;
    assert_eq!((counts.delivered, counts.outages), (25, 1));
    assert_eq!((log.attempts(), log.dead().len()), (12 * 5, 5));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_breaks_its_handler_stops_no_other_topic_and_is_dead_once() {
    for poison in [answers(500), answers(400), Outcome::Away(Away::lost("the handler crashed"))] {
        let log = Log::new(60, 3);
        let endpoint =
            Endpoint::new(move |seq, _| if seq == 7 { poison.clone() } else { Outcome::Delivered });
        let began = Instant::now();
        // Now and then another event comes, and passes.
        let more = log.clone();
        let traffic = tokio::spawn(async move {
            for _ in 0..72 {
                sleep(HOUR).await;
                more.grow(3);
            }
        });
        forward(&log, &endpoint, settings(), HOUR * 24 * 8).await.0.unwrap();
        assert!(log.is_done() && traffic.is_finished());
        assert_eq!((log.attempts(), log.dead()), (12, vec![7]));
        endpoint.assert_in_order();
        let delivered = endpoint.delivered();
        assert_eq!(delivered.len(), 59 + 3 * 72);
        // Of its topic, what came before is delivered at once, and what came after when it is dead.
        let is_behind = |seq: u64| seq > 7 && seq % 3 == 7 % 3;
        for (seq, at) in delivered.into_iter().filter(|(seq, _)| *seq <= 60) {
            let waits = at > began + HOUR;
            assert_eq!(waits, is_behind(seq), "{seq} after {:?}", at - began);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_too_busy_now_and_then_fails_no_event() {
    let log = Log::new(500, 10);
    let count = std::sync::atomic::AtomicU64::new(0);
    let endpoint = Endpoint::new(move |_, _| {
        let tries = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if tries % 20 == 19 { answers(429) } else { Outcome::Delivered }
    });
    forward(&log, &endpoint, settings(), HOUR).await.0.unwrap();
    endpoint.assert_each_once(500);
    assert_eq!(log.attempts(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_wants_nothing_ends_the_forwarder_and_what_was_done_is_committed() {
    for status in [301, 401, 403, 404, 410] {
        let log = Log::new(100, 1);
        let endpoint =
            Endpoint::new(move |seq, _| if seq > 40 { answers(status) } else { Outcome::Delivered });
        let (ended, counts) = forward(&log, &endpoint, settings(), HOUR).await;
        assert!(matches!(ended, Err(Stop::Misaddressed(reason)) if reason.contains(&status.to_string())));
        assert_eq!((counts.delivered, log.position(), log.attempts(), log.is_claimed()), (40, 40, 0, false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_signal_lets_what_is_on_its_way_finish_and_gives_back_the_rest() {
    let log = Log::new(5_000, 16);
    let endpoint = Endpoint::new(|_, _| Outcome::Delivered);
    let (ended, counts) = forward(&log, &endpoint, settings(), SECOND).await;
    assert!(ended.is_ok() && !log.is_done() && !log.is_claimed());
    assert_eq!(endpoint.delivered().len() as u64, counts.delivered);
    // The next begins where this one ended, but for what was done out of turn.
    forward(&log, &endpoint, settings(), HOUR).await.0.unwrap();
    assert!(endpoint.tries() < 5_000 + 16, "{}", endpoint.tries());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_by_a_claim_that_may_have_run_out() {
    let log = Log::new(800, 1);
    let endpoint = Endpoint::new(|_, _| Outcome::Delivered);
    let cut_off = Instant::now() + SECOND * 4;
    log.is_away(cut_off, cut_off + HOUR);
    // The claim is all there is, and takes longer than its lease.
    let slow = Settings { rate: Some(10.0), ..settings() };
    forward(&log, &endpoint, slow, HOUR * 2).await.0.unwrap();
    assert!(log.is_done());
    let during = |at: &Instant| (cut_off + SECOND * 31..cut_off + HOUR).contains(at);
    assert_eq!(endpoint.delivered().iter().filter(|(_, at)| during(at)).count(), 0);
    endpoint.assert_all(800);
}

#[tokio::test(start_paused = true)]
async fn a_forwarder_that_is_told_to_end_does_not_wait_for_a_service_that_is_away() {
    // In the middle of a claim, and when all of it is delivered.
    for rate in [Some(10.0), None] {
        let log = Log::new(1_000, 16);
        let endpoint = Endpoint::new(|_, _| Outcome::Delivered);
        let began = Instant::now();
        log.is_away(began + SECOND / 2, began + HOUR);
        forward(&log, &endpoint, Settings { rate, ..settings() }, SECOND * 5).await.0.unwrap();
        assert!(began.elapsed() < SECOND * 17, "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_breaks_its_handler_is_told_from_an_outage_by_another() {
    let log = Log::new(2, 2);
    let endpoint = Endpoint::new(|seq, _| if seq == 1 { answers(500) } else { Outcome::Delivered });
    let one = Settings { parallel: 1, ..settings() };
    forward(&log, &endpoint, one, SECOND * 4).await.0.unwrap();
    assert_eq!((endpoint.delivered().len(), log.attempts(), log.position()), (1, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_lost_claim_is_taken_up_again() {
    let log = Log::new(2_000, 4);
    let endpoint = Endpoint::new(|_, _| Outcome::Delivered);
    log.loses_claim_at(Instant::now() + SECOND * 2);
    let (ended, counts) = forward(&log, &endpoint, settings(), HOUR).await;
    assert!(ended.is_ok() && log.is_done());
    assert_eq!(counts.claims_lost, 1);
    endpoint.assert_all(2_000);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_consumer_by_another_is_followed() {
    let log = Log::new(3_000, 16);
    let changed = Instant::now() + SECOND;
    let outage = changed + SECOND * 5..changed + SECOND * 65;
    let endpoint = Endpoint::new(move |_, now| match outage.contains(&now) {
        true => answers(503),
        false => Outcome::Delivered,
    });
    log.becomes(changed, Order::Total, 3);
    let (ended, counts) = forward(&log, &endpoint, settings(), HOUR).await;
    assert!(ended.is_ok() && log.is_done());
    // By the change, and not for a lease that is shorter than its heartbeats.
    assert_eq!(counts.claims_lost, 1);
    endpoint.assert_all(3_000);
    let after = |at: &Instant| (changed + SECOND..changed + SECOND * 3).contains(at);
    let delivered = endpoint.delivered().iter().filter(|(_, at)| after(at)).count();
    assert!((1..=200).contains(&delivered), "{delivered} in two seconds, each of 10 ms");
}

#[tokio::test(start_paused = true)]
async fn a_standby_takes_over_within_the_lease() {
    let log = Log::new(1_000, 1);
    let endpoint = Endpoint::new(|_, _| Outcome::Delivered);
    log.claimed_by_another();
    let began = Instant::now();
    let (ended, counts) = forward(&log, &endpoint, settings(), HOUR).await;
    assert!(ended.is_ok() && log.is_done() && counts.delivered == 1_000);
    let waited = endpoint.first() - began;
    assert!(waited > SECOND * 29 && waited < SECOND * 36, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_kept_and_batches_are_of_one_topic() {
    let log = Log::new(300, 3);
    let endpoint = Endpoint::new(|_, _| Outcome::Delivered);
    let limited = Settings { rate: Some(10.0), ..settings() };
    forward(&log, &endpoint, limited, HOUR).await.0.unwrap();
    let took = (endpoint.last() - endpoint.first()).as_secs_f64();
    assert!((29.0..31.0).contains(&took), "{took}");

    let (log, endpoint) = (Log::new(300, 3), Endpoint::new(|_, _| Outcome::Delivered));
    forward(&log, &endpoint, Settings { batch: 50, ..settings() }, HOUR).await.0.unwrap();
    endpoint.assert_each_once(300);
    assert!(endpoint.parcels() < 100, "{}", endpoint.parcels());
}

#[tokio::test(start_paused = true)]
async fn an_order_of_all_events_stands_at_the_one_that_fails() {
    let log = Log::new(20, 4);
    let back = Instant::now() + HOUR;
    let endpoint =
        Endpoint::new(move |seq, now| if seq == 3 && now < back { answers(500) } else { Outcome::Delivered });
    forward(&log, &endpoint, Settings { order: Order::Total, ..settings() }, HOUR * 3).await.0.unwrap();
    let order: Vec<_> = endpoint.delivered().iter().map(|(seq, _)| *seq).collect();
    assert_eq!(order, (1..=20).collect::<Vec<_>>());
    assert_eq!(log.attempts(), 0);
}
