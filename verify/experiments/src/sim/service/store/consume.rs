//! The places of consumers in the store. Its clock is that of the simulation, so that days pass in a moment.

use std::collections::{BTreeMap, BTreeSet};

use sekali::event::TopicPattern;
use sekali::store::consume::{Change, ConsumeStore, Failure, FailureState, Moment, Stored, Which};
use sekali::store::{Layout, ReadStore, Seq, Span, StoreError};

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
        place.version = change.new_version;
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

    async fn change_consumer(&self, name: &str, change: &Change) -> Result<Option<Span>, StoreError> {
        self.hesitate().await?;
        let is_changed = self.change(name, change);
        // Done, and nobody knows.
        self.hesitate().await?;
        if is_changed { self.readable().await.map(Some) } else { Ok(None) }
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
        let lowest = |lane: &str, but: &[Seq]| {
            let of_lane = place.failures.values().filter(|other| is_held(other) && other.lane == lane);
            of_lane.map(|other| other.seq).find(|seq| !but.contains(seq))
        };
        let told = |failure: &Failure| {
            let state = match failure.state {
                FailureState::Dead => FailureState::Dead,
                _ if lowest(&failure.lane, &[]) == Some(failure.seq) => FailureState::Parked,
                _ => FailureState::Waiting,
            };
            Failure { state, ..failure.clone() }
        };
        let is_wanted = |failure: &Failure| match which {
            Which::Heads { but } => failure.state == FailureState::Parked && !but.contains(&failure.seq),
            Which::Lanes(lanes) => is_held(failure) && lanes.contains(&failure.lane),
            Which::Lowest { lanes, but } => {
                lanes.contains(&failure.lane) && lowest(&failure.lane, but) == Some(failure.seq)
            }
            Which::Of(seqs) => seqs.contains(&failure.seq),
            Which::Held(after) => is_held(failure) && failure.seq > after,
            Which::Behind(after) => failure.seq > after,
            Which::State(state, after) => failure.state == state && failure.seq > after,
        };
        let mut found: Vec<_> = place.failures.values().map(told).filter(is_wanted).collect();
        if matches!(which, Which::Heads { .. }) {
            found.sort_by_key(|failure| (failure.due_at, failure.seq));
        }
        if matches!(which, Which::Lanes(_)) {
            let rank = |one: &Failure| {
                found.iter().filter(|other| other.lane == one.lane && other.seq < one.seq).count()
            };
            let mut ranked: Vec<_> = found.iter().map(|one| (rank(one), one.clone())).collect();
            ranked.sort_by_key(|(rank, one)| (*rank, one.seq));
            found = ranked.into_iter().map(|(_, one)| one).collect();
        }
        found.truncate(most as usize);
        Ok(found)
    }

    async fn lanes(&self, name: &str) -> Result<i64, StoreError> {
        self.hesitate().await?;
        let places = self.places.borrow();
        let held = places.get(name).into_iter().flat_map(|place| place.failures.values());
        let lanes = held.filter(|failure| failure.state != FailureState::Dead).map(|failure| &failure.lane);
        Ok(lanes.collect::<BTreeSet<_>>().len() as i64)
    }

    async fn events_of(&self, seqs: &[Seq]) -> Result<Vec<String>, StoreError> {
        self.hesitate().await?;
        let known: BTreeSet<_> = seqs.iter().filter(|seq| **seq >= 1 && **seq <= self.last_seq()).collect();
        Ok(known.into_iter().map(|seq| self.text(*seq, Layout::Lines)).collect())
    }

    async fn erased(&self, _: &[TopicPattern], _: Span) -> Result<i64, StoreError> {
        Ok(0)
    }
}
