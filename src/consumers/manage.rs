//! What people do with a consumer: change it, move its place, and decide about what failed.

use serde::Deserialize;

use super::draft::Draft;
use super::outcome::Refusal;
use super::specification::{Given, Specification};
use super::state::{Claim, Kind, MOST_HELD};
use crate::store::consume::{ConsumeStore, Failure, FailureState, Which};
use crate::store::{ReadStore, Seq};

/// Failures that people choose.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selected {
    /// Those of these seqs.
    #[serde(default)]
    seqs: Option<Vec<Seq>>,
    /// Those of this state, ten thousand at a time.
    #[serde(default)]
    state: Option<FailureState>,
}

impl<S: ReadStore + ConsumeStore> Draft<'_, S> {
    /// Changes the specification. Claims of other events, or in another order, end: what they have not done comes again.
    pub(super) async fn specify(&mut self, given: &Given) -> Result<usize, Refusal> {
        let after = self.state.specification.with(given).map_err(Refusal::Invalid)?;
        let before = std::mem::replace(&mut self.state.specification, after.clone());
        let of_claims = |spec: &Specification| (spec.topics.clone(), spec.sources.clone(), spec.order);
        if of_claims(&after) != of_claims(&before) {
            // What failed comes again by itself.
            self.state.claims.retain(|claim| claim.kind == Kind::New);
            self.state.claims.iter_mut().for_each(Claim::give_back);
        }
        if after.order != before.order {
            self.move_to_other_lanes().await?;
        }
        Ok(1)
    }

    /// In another order, other events wait for each other.
    async fn move_to_other_lanes(&mut self) -> Result<(), Refusal> {
        let held = self.ground.store.failures(self.name, Which::Held(0), u32::MAX).await?;
        for failure in held {
            let lane = self.state.specification.lane(&failure.topic, failure.seq);
            self.keep(Some(&failure), Failure { lane, ..failure.clone() });
        }
        Ok(())
    }

    /// Dead and parked events come again at once. The attempts of a dead one begin anew.
    pub(super) async fn retry(&mut self, selected: &Selected) -> Result<usize, Refusal> {
        let mut changed = 0;
        let mut room = MOST_HELD - self.state.held;
        for failure in self.selected(selected).await? {
            let attempts = match failure.state {
                FailureState::Waiting => continue,
                FailureState::Dead if room <= 0 => continue,
                FailureState::Dead => {
                    room -= 1;
                    0
                }
                FailureState::Parked => failure.attempts,
            };
            let after =
                Failure { state: FailureState::Parked, due_at: self.now, attempts, ..failure.clone() };
            self.keep(Some(&failure), after);
            changed += 1;
        }
        Ok(changed)
    }

    /// Failures are taken off the list, as if they were done. What waited behind them comes next.
    pub(super) async fn drop_failures(&mut self, selected: &Selected) -> Result<usize, Refusal> {
        let dropped = self.selected(selected).await?;
        for failure in &dropped {
            self.remove(failure);
        }
        Ok(dropped.len())
    }

    async fn selected(&self, selected: &Selected) -> Result<Vec<Failure>, Refusal> {
        let which = match selected {
            Selected { seqs: Some(seqs), state: None } => Which::Of(seqs),
            Selected { seqs: None, state: Some(state) } => Which::State(*state, 0),
            _ => return Err(Refusal::Invalid("either seqs or state must be given".into())),
        };
        Ok(self.ground.store.failures(self.name, which, MOST_HELD as u32).await?)
    }
}
