//! The calls of a consumer's clients, as they are sent and answered.

use serde_json::{Value, json};

/// A moment of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Its place among all moments: what ended before another began has a lower one.
    pub place: u64,
    /// Milliseconds since 1970, by the clock of the store.
    pub clock: i64,
}

/// A call of a client.
#[derive(Clone, Debug)]
pub struct Call {
    /// The moment before it was sent.
    pub began: Moment,
    /// The moment after its answer came, or its client gave up.
    pub ended: Moment,
    /// What it asks for.
    pub ask: Ask,
    /// What it was told.
    pub told: Told,
}

/// What a call asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Events.
    Claim {
        /// Who asks.
        holder: String,
        /// The most events.
        limit: u32,
        /// Seconds of the claim.
        lease: u32,
        /// Seconds to wait for events.
        wait: u32,
    },
    /// To take note of what became of the events of a claim.
    Commit {
        /// The claim.
        token: String,
        /// The last event that was done or failed.
        upto: Option<u64>,
        /// Those that failed.
        failed: Vec<Failed>,
        /// True if the rest is given back.
        release: bool,
    },
    /// To make a consumer that begins somewhere.
    Make(Specification, Place),
    /// To change what it is.
    Change(Specification),
    /// To make it anew, or to change what it is, behind a copy that took the place of the store meanwhile: what happened
    /// before may be lost. This seq is as high as that of any event that the copy had.
    Restore(Specification, u64),
    /// To go on elsewhere.
    Seek(Place),
    /// To give failed events out again at once.
    Retry(Selected),
    /// To take failed events for done.
    Drop(Selected),
    /// Where it stands.
    Look,
    /// Nothing: the store may have lost claims that it had answered, as one that lost power may.
    Upheaval,
}

/// An event that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The event.
    pub seq: u64,
    /// Seconds until it comes again, if not by the schedule.
    pub retry_in: Option<u32>,
    /// True if it is not to come again.
    pub dead: bool,
}

/// What a consumer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Specification {
    /// Topics, or prefixes that end in `.*`; none for all.
    pub topics: Vec<String>,
    /// Which events wait for one that failed.
    pub order: Order,
    /// Claims at a time.
    pub workers: u32,
    /// Failures after which an event is dead; 0 for no end.
    pub attempts: u32,
    /// The topic of those that tell of dead ones.
    pub dead: String,
}

/// Which events wait for one that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// All later ones.
    Total,
    /// The later ones of its topic.
    Topic,
    /// None.
    None,
}

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before the first event.
    Start,
    /// Behind the newest.
    Now,
    /// Behind this one.
    Seq(u64),
}

/// Failed events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selected {
    /// These.
    Seqs(Vec<u64>),
    /// Those that do not come again by themselves.
    Dead,
    /// Those that do.
    Parked,
}

/// What a call was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing, or that nobody knows: it may have been done, or will soon be.
    Nothing,
    /// That it was not done, for this problem.
    Refused(String),
    /// Events.
    Given(Given),
    /// That there are no events.
    None,
    /// Where the consumer stands.
    Stands {
        /// All events up to it were given out, and are done or have failed.
        position: u64,
        /// Nothing up to it comes again.
        settled: u64,
        /// Events that have to come yet, where it says so: those behind the position, parked ones and waiting ones.
        left: Option<u64>,
    },
    /// So many failed events were changed.
    Changed(u64),
}

/// A claim as it was given out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Its token.
    pub token: String,
    /// True if its events have failed before, or waited for one that did.
    pub is_retry: bool,
    /// The seq before its first.
    pub from: u64,
    /// Its last seq.
    pub to: u64,
    /// The moment at which it runs out.
    pub expires_at: i64,
    /// Its events.
    pub seqs: Vec<u64>,
}

impl Specification {
    /// True if an event of this topic is given out. What tells of a consumer's own failures is left out, unless it is named.
    pub fn has(&self, topic: &str) -> bool {
        let matches = |known: &String| match known.strip_suffix('*') {
            Some(prefix) if prefix.ends_with('.') => topic.starts_with(prefix),
            _ => known == topic,
        };
        if self.topics.is_empty() { topic != self.dead } else { self.topics.iter().any(matches) }
    }

    fn to_json(&self) -> Value {
        let order = match self.order {
            Order::Total => "total",
            Order::Topic => "topic",
            Order::None => "none",
        };
        json!({
            "topics": self.topics, "order": order, "workers": self.workers, "attempts": self.attempts,
            "dead": self.dead,
        })
    }
}

impl Place {
    fn to_json(self) -> Value {
        match self {
            Self::Start => json!("start"),
            Self::Now => json!("now"),
            Self::Seq(seq) => json!(seq),
        }
    }
}

impl Selected {
    fn to_json(&self) -> Value {
        match self {
            Self::Seqs(seqs) => json!({"seqs": seqs}),
            Self::Dead => json!({"state": "dead"}),
            Self::Parked => json!({"state": "parked"}),
        }
    }
}

impl Ask {
    /// The request of a consumer of this name: method, path and body.
    pub fn request(&self, name: &str) -> (&'static str, String, String) {
        let (step, body) = match self {
            Self::Restore(specification, _) => {
                return Self::Make(specification.clone(), Place::Start).request(name);
            }
            Self::Make(specification, from) => {
                let mut body = specification.to_json();
                body["from"] = from.to_json();
                return ("PUT", format!("/consumers/{name}"), body.to_string());
            }
            Self::Change(specification) => {
                return ("PUT", format!("/consumers/{name}"), specification.to_json().to_string());
            }
            Self::Look | Self::Upheaval => return ("GET", format!("/consumers/{name}"), String::new()),
            Self::Claim { holder, limit, lease, wait } => {
                ("claim", json!({"holder": holder, "limit": limit, "lease": lease, "wait": wait}))
            }
            Self::Commit { token, upto, failed, release } => {
                let failed = failed.iter().copied().map(Failed::to_json).collect::<Vec<_>>();
                let mut body = json!({"claim": token, "failed": failed, "release": release});
                if let Some(upto) = upto {
                    body["upto"] = json!(upto);
                }
                ("commit", body)
            }
            Self::Seek(to) => ("seek", json!({"to": to.to_json()})),
            Self::Retry(selected) => ("retry", selected.to_json()),
            Self::Drop(selected) => ("drop", selected.to_json()),
        };
        ("POST", format!("/consumers/{name}/{step}"), body.to_string())
    }

    /// What an answer tells. `clock` reads a time of the answer: RFC 3339 into milliseconds since 1970.
    pub fn read(&self, status: u16, body: &str, clock: impl Fn(&str) -> Option<i64>) -> Told {
        let json: Value = serde_json::from_str(body).unwrap_or_default();
        let told = match (status, self) {
            (204, _) => Some(Told::None),
            (500.., _) => Some(Told::Nothing),
            (400.., _) => {
                let problem = json["type"].as_str().unwrap_or_default().trim_start_matches("/problems/");
                Some(Told::Refused(problem.to_owned()))
            }
            (_, Self::Claim { .. }) => Given::read(&json, clock).map(Told::Given),
            (_, Self::Retry(_) | Self::Drop(_)) => json["changed"].as_u64().map(Told::Changed),
            _ => standing(&json),
        };
        // Nothing that the service says is no answer.
        told.unwrap_or_else(|| Told::Refused(format!("answered {status} {body}")))
    }
}

fn standing(json: &Value) -> Option<Told> {
    let left = ["lag", "parked", "waiting"].map(|name| json[name].as_u64());
    Some(Told::Stands {
        position: json["position"].as_u64()?,
        settled: json["settled"].as_u64()?,
        left: left.into_iter().try_fold(0, |sum, part| Some(sum + part?)),
    })
}

impl Failed {
    fn to_json(self) -> Value {
        let Self { seq, retry_in, dead } = self;
        json!({"seq": seq, "retry_in": retry_in, "dead": dead, "reason": "it was to fail"})
    }
}

impl Given {
    fn read(json: &Value, clock: impl Fn(&str) -> Option<i64>) -> Option<Self> {
        Some(Self {
            token: json["claim"].as_str()?.to_owned(),
            is_retry: json["kind"] == "retry",
            from: json["from"].as_u64()?,
            to: json["to"].as_u64()?,
            expires_at: clock(json["expires_at"].as_str()?)?,
            seqs: json["events"]
                .as_array()?
                .iter()
                .map(|event| event["seq"].as_u64())
                .collect::<Option<_>>()?,
        })
    }
}
