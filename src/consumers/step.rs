//! The steps of a consumer.

use super::claim::Wanted;
use super::commit::Commit;
use super::draft::Draft;
use super::manage::Selected;
use super::outcome::{Done, Outcome};
use super::place::Place;
use super::specification::Given;
use crate::store::ReadStore;
use crate::store::consume::ConsumeStore;

/// A step of a consumer. Each may be repeated: what was done already changes nothing.
#[derive(Clone, Debug)]
pub enum Step {
    /// Events are given out.
    Claim(Wanted),
    /// Events were done, or have failed.
    Commit(Commit),
    /// It is changed where this says so.
    Specify(Given),
    /// It goes on elsewhere.
    Seek(Place),
    /// Failed events come again at once.
    Retry(Selected),
    /// Failed events are done.
    Drop(Selected),
}

impl Step {
    /// The events that it asks for.
    pub fn limit(&self) -> u32 {
        match self {
            Self::Claim(wanted) => wanted.limit,
            _ => 0,
        }
    }
}

impl<S: ReadStore + ConsumeStore> Draft<'_, S> {
    /// Decides a step. One that is refused leaves nothing behind.
    pub async fn take(&mut self, step: &Step) -> Outcome {
        let before = self.state.clone();
        let outcome = self.decide(step).await;
        if outcome.is_err() {
            self.take_back(before);
        }
        self.is_claim &= matches!(step, Step::Claim(_));
        outcome
    }

    async fn decide(&mut self, step: &Step) -> Outcome {
        match step {
            Step::Claim(wanted) => self.claim(wanted).await,
            Step::Commit(commit) => self.commit(commit).await,
            Step::Specify(given) => self.specify(given).await.map(Done::Changed),
            Step::Seek(to) => {
                let next = self.ground.place(to).await?;
                self.clears = true;
                self.state.begin_anew(self.now, next);
                Ok(Done::Changed(0))
            }
            Step::Retry(selected) => self.retry(selected).await.map(Done::Changed),
            Step::Drop(selected) => self.drop_failures(selected).await.map(Done::Changed),
        }
    }
}
