//! The places of consumers in the store. Its clock is that of the simulation, so that days pass in a moment.

use std::collections::BTreeMap;

use sekali::event::TopicPattern;
use sekali::store::consume::{Change, ConsumeStore, Failure, FailureState, Moment, Stored, Which};
use sekali::store::{Layout, Seq, Span, StoreError};

use super::{SimStore, State};

/// A consumer, and its failures.
#[derive(Default)]
pub struct Place {
    version: i64,
    state: String,
    failures: BTreeMap<Seq, Failure>,
}

impl State {
    fn moment(&self) -> Moment {
        Moment::try_from(self.sim.now().as_millis()).unwrap_or(Moment::MAX)
    }

    /// Makes a change, all of it or nothing.
    fn change(&self, name: &str, change: &Change) -> bool {
        let mut places = self.places.borrow_mut();
        let Some(place) = places.get_mut(name).filter(|place| place.version == change.version) else {
            return false;
        };
        place.version += 1;
        place.state.clone_from(&change.state);
        place.failures.retain(|seq, _| !change.clears && !change.removed.contains(seq));
        place.failures.extend(change.kept.iter().map(|failure| (failure.seq, failure.clone())));
        self.store(&change.dead.iter().collect::<Vec<_>>());
        true
    }
}

impl ConsumeStore for SimStore {
    async fn consumers(&self) -> Result<(Vec<Stored>, Moment), StoreError> {
        let places = self.places.borrow();
        let stored = |(name, place): (&String, &Place)| Stored {
            name: name.clone(),
            version: place.version,
            state: place.state.clone(),
        };
        Ok((places.iter().map(stored).collect(), self.moment()))
    }

    async fn consumer(&self, name: &str) -> Result<(Option<Stored>, Moment), StoreError> {
        self.hesitate().await?;
        let (all, now) = self.consumers().await?;
        Ok((all.into_iter().find(|stored| stored.name == name), now))
    }

    async fn create_consumer(&self, name: &str, state: &str, _: u32) -> Result<bool, StoreError> {
        self.hesitate().await?;
        let mut places = self.places.borrow_mut();
        let is_new = !places.contains_key(name);
        places.entry(name.into()).or_insert_with(|| Place { state: state.into(), ..Place::default() });
        Ok(is_new)
    }

    async fn change_consumer(&self, name: &str, change: &Change) -> Result<bool, StoreError> {
        self.hesitate().await?;
        let is_changed = self.change(name, change);
        // Done, and nobody knows.
        self.hesitate().await?;
        Ok(is_changed)
    }

    async fn delete_consumer(&self, name: &str) -> Result<bool, StoreError> {
        self.hesitate().await?;
        Ok(self.places.borrow_mut().remove(name).is_some())
    }

    async fn failures(&self, name: &str, which: Which<'_>, most: u32) -> Result<Vec<Failure>, StoreError> {
        self.hesitate().await?;
        let places = self.places.borrow();
        let Some(place) = places.get(name) else { return Ok(vec![]) };
        let is_held = |failure: &Failure| failure.state != FailureState::Dead;
        let is_head = |failure: &Failure, but: &[Seq]| {
            let is_before = |other: &Failure| {
                (&other.lane, other.state) == (&failure.lane, failure.state)
                    && other.seq < failure.seq
                    && !but.contains(&other.seq)
            };
            is_held(failure) && !but.contains(&failure.seq) && !place.failures.values().any(is_before)
        };
        let is_wanted = |failure: &Failure| match which {
            Which::Parked { but } => failure.state == FailureState::Parked && !but.contains(&failure.seq),
            Which::Waiting(lanes) => failure.state == FailureState::Waiting && lanes.contains(&failure.lane),
            Which::Heads { lanes, but } => lanes.contains(&failure.lane) && is_head(failure, but),
            Which::Of(seqs) => seqs.contains(&failure.seq),
            Which::In(span) => failure.seq > span.after && failure.seq <= span.through,
            Which::Held(after) => is_held(failure) && failure.seq > after,
            Which::Behind(after) => failure.seq > after,
            Which::State(state, after) => failure.state == state && failure.seq > after,
        };
        let mut found: Vec<_> =
            place.failures.values().filter(|failure| is_wanted(failure)).cloned().collect();
        if matches!(which, Which::Parked { .. }) {
            found.sort_by_key(|failure| (failure.due_at, failure.seq));
        }
        found.truncate(most as usize);
        Ok(found)
    }

    async fn event_of(&self, seq: Seq) -> Result<Option<String>, StoreError> {
        self.hesitate().await?;
        Ok((seq >= 1 && seq <= self.last_seq()).then(|| self.text(seq, Layout::Lines)))
    }

    async fn erased(&self, _: &[TopicPattern], _: Span) -> Result<i64, StoreError> {
        Ok(0)
    }
}
