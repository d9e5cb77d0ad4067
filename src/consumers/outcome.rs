//! What comes of a step.

use std::time::Duration;

use super::state::{Claim, Skipped};
use crate::store::consume::Moment;
use crate::store::{Filter, Seq, StoreError};

/// What a step did.
#[derive(Debug)]
pub enum Done {
    /// Events were given out.
    Claimed(Claimed),
    /// There are none of this filter; the next failed one comes again after so long, if there is one.
    Nothing(Option<Duration>, Filter),
    /// The consumer stands here.
    Stands(Standing),
    /// So many failures were changed.
    Changed(usize),
}

/// The reason for which a step was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such consumer.
    Unknown,
    /// All claims are out.
    Claimed {
        /// Who has them, and when they run out.
        holders: Vec<(String, Moment)>,
        /// Seconds until the first of them runs out.
        seconds: u32,
    },
    /// The claim is not live.
    ClaimLost {
        /// Where the consumer stands.
        position: Seq,
    },
    /// A field breaks a rule.
    Invalid(String),
    /// A seq was never given.
    Ahead {
        /// The newest one.
        last_seq: Seq,
    },
    /// There are too many consumers.
    TooMany,
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What came of a step.
pub type Outcome = Result<Done, Refusal>;

/// Events that were given out.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The claim.
    pub claim: Claim,
    /// What is missing in its range.
    pub skipped: Skipped,
    /// Its events, each as a JSON object.
    pub events: Vec<String>,
}

/// Where a consumer stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Up to this seq, every event was given out and is done, or has failed.
    pub position: Seq,
    /// Nothing at or below this seq comes again.
    pub settled: Seq,
    /// Events behind the position.
    pub lag: i64,
}
