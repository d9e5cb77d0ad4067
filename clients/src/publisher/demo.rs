//! A simulation of a few producers that deliver as real ones do: some events twice, some late.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use fastrand::Rng;
use indicatif::{HumanCount, MultiProgress, ProgressBar};
use sekali_clients::terminal::{bar, count};
use sekali_common::api::{EventResult, EventStatus};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::cli::Demo;
use crate::input::{Chunk, Chunks, Origin, Position, Text};

/// The topics of the simulation.
const TOPICS: [&str; 3] = ["sensors", "weblog", "payments"];

/// The longest delay of a delivery, in events.
const LATENESS: u64 = 50;

/// The maximum number of events in a chunk.
const AT_ONCE: u64 = 20_000;

/// The time between two chunks.
const STEP: Duration = Duration::from_millis(20);

/// Starts the thread that simulates, in place of the one that reads. The events come as lines.
pub fn simulate(demo: &Demo) -> Chunks {
    let (sender, chunks) = mpsc::channel(2);
    let (rate, duration) = (demo.rate.unwrap_or(50.0), demo.duration);
    let mut world = World::new(demo.duplicates.unwrap_or(0.2), demo.reorder.unwrap_or(0.1));
    let origin = Arc::new(Origin::stream(Path::new("demo"), "demo"));
    std::thread::spawn(move || {
        let began = Instant::now();
        let mut start = Position::default();
        while duration.is_none_or(|duration| began.elapsed() < duration) {
            let due = (began.elapsed().as_secs_f64() * rate) as u64;
            let due = due.min(world.events + AT_ONCE); // after a pause it catches up, in several chunks
            let chunk = world.piece_until(due, &origin, start);
            start = chunk.end;
            if sender.blocking_send(Ok(chunk)).is_err() {
                return;
            }
            std::thread::sleep(STEP);
        }
    });
    chunks
}

/// Sensors, a web server and payments.
struct World {
    random: Rng,
    /// The run's part in event_ids, different in each run.
    run: String,
    duplicates: f64,
    reorder: f64,
    /// The number of events so far.
    events: u64,
    /// The temperature at each sensor.
    celsius: [f64; 5],
    /// Late deliveries, each with the number of the event that it arrives with.
    late: Vec<(u64, String)>,
}

impl World {
    fn new(duplicates: f64, reorder: f64) -> Self {
        let mut random = Rng::new();
        let run = format!("{:06x}", random.u32(..1 << 24));
        Self { random, run, duplicates, reorder, events: 0, celsius: [20.0; 5], late: Vec::new() }
    }

    /// The deliveries until event number `due`, as lines that begin at `start`.
    fn piece_until(&mut self, due: u64, origin: &Arc<Origin>, start: Position) -> Chunk {
        let mut lines = Vec::new();
        let mut end = start;
        while self.events < due {
            for line in self.next() {
                lines.extend_from_slice(line.as_bytes());
                lines.push(b'\n');
                end.lines += 1;
            }
        }
        end.offset += lines.len() as u64;
        Chunk { origin: Arc::clone(origin), start, end, text: Text::Lines(lines) }
    }

    /// The next deliveries: the next event unless it is late, and earlier ones that were.
    fn next(&mut self) -> Vec<String> {
        self.events += 1;
        let event = self.event().to_string();
        let mut arrived: Vec<_> =
            self.late.extract_if(.., |(due, _)| *due <= self.events).map(|(_, late)| late).collect();
        if self.random.f64() < self.duplicates {
            let due = self.events + self.random.u64(1..=LATENESS);
            self.late.push((due, event.clone()));
        }
        if self.random.f64() < self.reorder {
            let due = self.events + self.random.u64(1..=LATENESS);
            self.late.push((due, event));
        } else {
            arrived.push(event);
        }
        arrived
    }

    fn event(&mut self) -> Value {
        let (random, number) = (&mut self.random, self.events);
        let (topic, source, payload) = match random.u32(..10) {
            0..5 => {
                let sensor = random.usize(..self.celsius.len());
                let celsius = &mut self.celsius[sensor];
                *celsius += random.f64() - 0.5;
                let payload =
                    json!({"celsius": (*celsius * 100.0).round() / 100.0, "battery": random.u32(20..=100)});
                ("sensors", format!("sensor-{sensor}"), payload)
            }
            5..9 => {
                let path = ["/", "/cart", "/checkout", "/items/17", "/search?q=tea"][random.usize(..5)];
                let status = [200, 200, 200, 200, 304, 404, 500][random.usize(..7)];
                (
                    "weblog",
                    "web-1".into(),
                    json!({"method": "GET", "path": path, "status": status, "ms": random.u32(1..400)}),
                )
            }
            _ => {
                let amount = format!("{}.{:02}", random.u32(1..200), random.u32(..100));
                (
                    "payments",
                    "shop".into(),
                    json!({"order": random.u32(10_000..99_999), "amount": amount, "currency": "EUR"}),
                )
            }
        };
        json!({
            "topic": topic,
            "event_id": format!("{topic}-{}-{number}", self.run),
            "timestamp": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
            "source": source,
            "payload": payload,
        })
    }
}

/// A line on the screen for each topic, with the outcomes of its events.
pub struct Board {
    rows: Vec<Row>,
}

struct Row {
    topic: &'static str,
    bar: ProgressBar,
    stored: u64,
    duplicates: u64,
}

impl Board {
    /// A board in `area`, where it remains when it is dropped.
    pub fn new(area: &MultiProgress) -> Self {
        let row = |topic| {
            let bar = bar(area, None, "  {prefix:<9} {msg}");
            bar.set_prefix(topic);
            Row { topic, bar, stored: 0, duplicates: 0 }
        };
        Self { rows: TOPICS.map(row).into() }
    }

    /// Adds the outcomes of these events.
    pub fn show(&mut self, results: &[EventResult]) {
        for row in &mut self.rows {
            let mut last = None;
            for result in results.iter().filter(|result| result.topic == row.topic) {
                match result.status {
                    EventStatus::Stored => row.stored += 1,
                    EventStatus::Duplicate | EventStatus::Conflict => row.duplicates += 1,
                }
                last = Some(result);
            }
            if let Some(last) = last {
                let (stored, duplicates) =
                    (HumanCount(row.stored).to_string(), count(row.duplicates, "duplicate"));
                row.bar.set_message(format!(
                    "{stored:>9} stored {duplicates:>18}   seq {} {}",
                    last.seq, last.event_id
                ));
            }
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.rows.iter().for_each(|row| row.bar.abandon());
    }
}
