//! What a consumer is: the events that it is given, and how.

use serde::{Deserialize, Serialize};

use super::place::Place;
use crate::event::{Source, Topic, TopicPattern};
use crate::store::{Filter, Seq};

/// The most workers of a consumer.
pub const MOST_WORKERS: u32 = 16;
/// Bounds of a lease in seconds.
pub const LEASES: std::ops::RangeInclusive<u32> = 1..=3600;
/// The most attempts, beyond which there is only 0 for no end.
pub const MOST_ATTEMPTS: u32 = 1000;
/// What the topics of dead events begin with.
const DEAD_TOPICS: &str = "dead.";
/// The most topics, and sources.
const MOST_NAMES: usize = 100;
/// Bytes of all names together: all consumers are listed in one answer.
const MOST_BYTES: usize = 4096;

/// Which events have to wait for one that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// All later ones.
    Total,
    /// The later ones of its topic.
    Topic,
    /// None.
    None,
}

/// What a consumer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Specification {
    /// Topics, or prefixes of them that end in `.*`; none for all.
    pub topics: Vec<String>,
    /// Sources; none for all, also for events without one.
    pub sources: Vec<String>,
    /// Which events wait for one that failed.
    pub order: Order,
    /// Claims at a time.
    pub workers: u32,
    /// Seconds until a claim runs out, unless a claim says otherwise.
    pub lease: u32,
    /// Failures after which an event is dead; 0 for no end.
    pub attempts: u32,
    /// The topic of the events that tell of dead ones.
    pub dead: String,
}

/// Fields of a specification that a client gives; the others stay.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    topics: Option<Vec<String>>,
    sources: Option<Vec<String>>,
    /// Where a new consumer begins.
    #[serde(default)]
    pub from: Option<Place>,
    order: Option<Order>,
    workers: Option<u32>,
    lease: Option<u32>,
    attempts: Option<u32>,
    dead: Option<String>,
}

impl Specification {
    /// That of a new consumer.
    pub fn of(name: &str) -> Self {
        Self {
            topics: Vec::new(),
            sources: Vec::new(),
            order: Order::Topic,
            workers: 1,
            lease: 30,
            attempts: 12,
            dead: format!("dead.{name}"),
        }
    }

    /// This one with the fields that were given.
    ///
    /// # Errors
    /// The rule that a field breaks.
    pub fn with(&self, given: &Given) -> Result<Self, String> {
        let with = Self {
            topics: given.topics.clone().unwrap_or_else(|| self.topics.clone()),
            sources: given.sources.clone().unwrap_or_else(|| self.sources.clone()),
            order: given.order.unwrap_or(self.order),
            workers: given.workers.unwrap_or(self.workers),
            lease: given.lease.unwrap_or(self.lease),
            attempts: given.attempts.unwrap_or(self.attempts),
            dead: given.dead.clone().unwrap_or_else(|| self.dead.clone()),
        };
        with.check()?;
        Ok(with)
    }

    fn check(&self) -> Result<(), String> {
        if self.topics.len() > MOST_NAMES || self.sources.len() > MOST_NAMES {
            return Err(format!("topics and sources have up to {MOST_NAMES} each"));
        }
        for topic in &self.topics {
            TopicPattern::parse(topic.as_str()).map_err(|rule| format!("a topic {rule}"))?;
        }
        for source in &self.sources {
            Source::parse(source.as_str()).map_err(|rule| format!("a source {rule}"))?;
        }
        if !(1..=MOST_WORKERS).contains(&self.workers) {
            return Err(format!("workers must be 1 to {MOST_WORKERS}"));
        }
        if self.workers > 1 && self.order != Order::None {
            return Err("several workers keep no order: workers above 1 need \"order\":\"none\"".into());
        }
        if !LEASES.contains(&self.lease) {
            return Err(format!("lease must be {} to {} seconds", LEASES.start(), LEASES.end()));
        }
        if self.attempts > MOST_ATTEMPTS {
            return Err(format!("attempts must be up to {MOST_ATTEMPTS}, or 0 for no end"));
        }
        Topic::parse(self.dead.as_str()).map_err(|rule| format!("dead {rule}"))?;
        if !self.dead.starts_with(DEAD_TOPICS) {
            return Err("dead must begin with dead., so that readers write to no other topic".into());
        }
        let names = self.topics.iter().chain(&self.sources).chain([&self.dead]);
        if names.map(String::len).sum::<usize>() > MOST_BYTES {
            return Err(format!("topics and sources have up to {MOST_BYTES} bytes together"));
        }
        Ok(())
    }

    /// The topics that it means.
    pub fn patterns(&self) -> Vec<TopicPattern> {
        let mut patterns = Vec::new();
        for topic in &self.topics {
            if let Ok(pattern) = TopicPattern::parse(topic.as_str()) {
                pattern.add_to(&mut patterns);
            }
        }
        patterns
    }

    /// The condition on its events.
    pub fn filter(&self) -> Filter {
        let mut sources: Vec<Source> = Vec::new();
        for source in self.sources.iter().filter_map(|source| Source::parse(source.as_str()).ok()) {
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        Filter { topics: self.patterns(), sources, ..Filter::default() }
    }

    /// True for the topics of dead events, unless it names them, and its own exactly: a consumer of everything would be
    /// given what tells of its failures, and two of them what tells of each other's, without an end.
    pub fn leaves_out(&self, topic: &str) -> bool {
        match topic == self.dead {
            true => !self.topics.contains(&self.dead),
            false => self.topics.is_empty() && topic.starts_with(DEAD_TOPICS),
        }
    }

    /// The events that wait for each other, by the name of their lane.
    pub fn lane(&self, topic: &str, seq: Seq) -> String {
        match self.order {
            Order::Total => String::new(),
            Order::Topic => topic.to_owned(),
            Order::None => seq.to_string(),
        }
    }
}
