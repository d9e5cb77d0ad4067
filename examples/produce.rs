//! Publishes orders, each once, however often an attempt fails and however often this runs.
//!
//! ```sh
//! cargo run --release --example produce -- http://127.0.0.1:3000 <orders    # SEKALI_TOKEN may be set
//! {"id": 1001, "paid_at": "2026-11-21T08:00:00+07:00", "total": "12.50"}
//! ```
//!
//! An order is a line. In a project of your own: `cargo add anyhow fastrand httpdate serde_json`,
//! and `cargo add ureq --features json`.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// What Retry-After asks for: a number or a date. A proxy in between may say anything: five minutes at most.
fn asked(value: &str) -> Duration {
    let date = || httpdate::parse_http_date(value).ok()?.duration_since(SystemTime::now()).ok();
    let asked = value.parse().ok().map(Duration::from_secs).or_else(date);
    asked.unwrap_or_default().min(Duration::from_secs(300))
}

/// Tries until the event is stored, or refused for a reason that another attempt would meet again.
fn publish(agent: &ureq::Agent, url: &str, event: &Value) -> Result<&'static str> {
    let (id, token) = (event["event_id"].as_str().unwrap_or_default(), std::env::var("SEKALI_TOKEN"));
    for attempt in 0.. {
        let mut request = agent.post(format!("{url}/publish"));
        if let Ok(token) = &token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut wait = Duration::ZERO;
        let answer = request.send_json(event).and_then(|mut response| {
            let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
            wait = retry_after.map(asked).unwrap_or_default();
            Ok((response.status().as_u16(), response.body_mut().read_to_string()?))
        });
        let why = match answer {
            Ok((200, text)) => {
                let answer: Value = serde_json::from_str(&text)?;
                // A duplicate is a success: an earlier attempt was stored, and its answer was lost on the way.
                // A conflict is not repaired by sending it again: the id belongs to other content, which stays.
                return Ok(match (answer["conflicts"].as_u64(), answer["stored"].as_u64()) {
                    (Some(1), _) => "conflict",
                    (_, Some(1)) => "stored",
                    _ => "duplicate",
                });
            }
            Ok((status @ (408 | 429 | 500..), text)) => format!("{status} {text}"),
            Ok((status, text)) => bail!("{id} is refused: {status} {text}"),
            // No answer, or half of one: the event may be stored, and its id makes it safe to ask again.
            Err(error) => error.to_string(),
        };
        // Twice as long each time, so that a busy service recovers; and at random, so that producers do not come
        // together.
        wait += Duration::from_millis(200 << attempt.min(8))
            .min(Duration::from_secs(30))
            .mul_f64(fastrand::f64());
        eprintln!("{id}: again in {wait:.1?}: {why}");
        std::thread::sleep(wait);
    }
    unreachable!("the attempts have no end")
}

fn main() -> Result<()> {
    let url = std::env::args().nth(1).context("the URL of the service is missing")?;
    // Without a timeout, a connection that died silently would be waited for, for ever.
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(30)));
    let agent = config.http_status_as_error(false).build().into();
    for line in std::io::stdin().lines() {
        let order: Value = serde_json::from_str(&line?)?;
        // The id says what happened, so every attempt and every run gives it the same one. A random id would have
        // to be stored with the order before the first attempt. The time is that of the order too, and not of the
        // attempt.
        let id = format!("order-{}-paid", order["id"]);
        let event = json!({
            "topic": "orders", "event_id": id, "timestamp": order["paid_at"], "source": "shop", "payload": order,
        });
        println!("{id}: {}", publish(&agent, &url, &event)?);
    }
    Ok(())
}
