//! The heads of lanes: the failed events for which others wait.

use super::draft::Draft;
use super::outcome::Refusal;
use crate::store::consume::{ConsumeStore, Failure, FailureState, Which};
use crate::store::{ReadStore, Seq};

impl<S: ReadStore + ConsumeStore> Draft<'_, S> {
    /// The first parked and the first waiting event of each of some lanes, as the store has them, but for some.
    pub(super) async fn heads(&self, lanes: &[String], but: &[Seq]) -> Result<Vec<Failure>, Refusal> {
        if lanes.is_empty() || self.state.held() == 0 {
            return Ok(Vec::new());
        }
        let most = 2 * lanes.len() as u32;
        Ok(self.ground.store.failures(self.name, Which::Heads { lanes, but }, most).await?)
    }

    /// Where a lane has no parked event any more, the first that waits in it comes next. `but` are the events whose state
    /// the store does not know yet, or which are in a claim.
    pub(super) async fn release_lanes(&mut self, lanes: &[String], but: &[Seq]) -> Result<(), Refusal> {
        let is_parked = |failure: &&Failure| failure.state == FailureState::Parked;
        let held: Vec<_> = self.kept().filter(is_parked).map(|failure| failure.lane.clone()).collect();
        let lanes: Vec<_> = lanes.iter().filter(|lane| !held.contains(lane)).cloned().collect();
        if self.state.waiting == 0 {
            return Ok(());
        }
        let heads = self.heads(&lanes, but).await?;
        for head in heads.iter().filter(|head| head.state == FailureState::Waiting) {
            if !heads.iter().any(|other| other.lane == head.lane && other.state == FailureState::Parked) {
                let parked = Failure { state: FailureState::Parked, due_at: self.now, ..head.clone() };
                self.keep(Some(head), parked);
            }
        }
        Ok(())
    }
}
