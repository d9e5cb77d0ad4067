//! An event as the model has it.

use crate::Bounds;
use sekali_common::api::EventStatus;

/// The statuses that an answer may tell of a delivery, and that it may tell none.
const STATUSES: usize = 4;

/// A register that the first of its deliveries sets, once, to one of several payloads, which are numbered.
#[derive(Clone, Copy, Debug)]
pub struct Register<const PAYLOADS: usize> {
    /// Deliveries that were answered, by payload and by the status that the answer tells.
    answered: [[u32; STATUSES]; PAYLOADS],
    /// Attempts that may have been carried out, by payload.
    lost: [u32; PAYLOADS],
}

impl<const PAYLOADS: usize> Default for Register<PAYLOADS> {
    fn default() -> Self {
        Self { answered: [[0; STATUSES]; PAYLOADS], lost: [0; PAYLOADS] }
    }
}

impl<const PAYLOADS: usize> Register<PAYLOADS> {
    /// Adds a delivery that was answered, with its status if the answer tells it.
    pub fn answer(&mut self, payload: usize, status: Option<EventStatus>) {
        self.answered[payload][place(status)] += 1;
    }

    /// Adds an attempt that may have been carried out.
    pub fn lose(&mut self, payload: usize) {
        self.lost[payload] += 1;
    }

    /// Adds the deliveries of another client.
    pub fn add(&mut self, other: &Self) {
        let counts = self.answered.as_flattened_mut().iter_mut().chain(&mut self.lost);
        for (count, more) in counts.zip(other.answered.as_flattened().iter().chain(&other.lost)) {
            *count += more;
        }
    }

    /// All deliveries.
    pub fn deliveries(&self) -> Bounds {
        Bounds::new(self.answered.as_flattened().iter().sum(), self.lost.iter().sum())
    }

    /// Deliveries that stored the event: one, if there was any delivery.
    pub fn unique(&self) -> Bounds {
        let Bounds { least, most } = self.deliveries();
        Bounds { least: least.min(1), most: most.min(1) }
    }

    /// Deliveries with another payload than the stored one.
    pub fn conflicts(&self, stored: usize) -> Bounds {
        let mut others = *self;
        others.answered[stored] = [0; STATUSES];
        others.lost[stored] = 0;
        others.deliveries()
    }

    /// The number of deliveries that were answered as stored.
    pub fn storers(&self) -> u32 {
        self.told(Some(EventStatus::Stored))
    }

    /// True if the answers name one delivery that stored the event, or leave room for one.
    pub fn is_set_once(&self) -> bool {
        let is_answered = self.deliveries().least > 0;
        // A lost attempt may be the one that stored it.
        let may_be_none = !is_answered || self.told(None) > 0 || self.lost.iter().any(|&lost| lost > 0);
        self.storers() == 1 || (self.storers() == 0 && may_be_none)
    }

    /// True if the answers name the deliveries as conflicts that have another payload than the stored one, and no others.
    /// The payload decides: the retry of a lost attempt may find its own event stored, which is no conflict.
    pub fn names_conflicts(&self, stored: usize) -> bool {
        let is_right = |(payload, told): (usize, &[u32; STATUSES])| {
            let [as_stored, as_duplicate, as_conflict, _] = *told;
            if payload == stored { as_conflict == 0 } else { as_stored + as_duplicate == 0 }
        };
        self.answered.iter().enumerate().all(is_right)
    }

    fn told(&self, status: Option<EventStatus>) -> u32 {
        self.answered.iter().map(|told| told[place(status)]).sum()
    }
}

fn place(status: Option<EventStatus>) -> usize {
    match status {
        Some(EventStatus::Stored) => 0,
        Some(EventStatus::Duplicate) => 1,
        Some(EventStatus::Conflict) => 2,
        None => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EventStatus::{Conflict, Duplicate, Stored};

    fn register(answers: &[(usize, Option<EventStatus>)]) -> Register<2> {
        let mut register = Register::default();
        for &(payload, status) in answers {
            register.answer(payload, status);
        }
        register
    }

    #[test]
    fn it_is_set_by_one_delivery_unless_an_unknown_one_explains_that_there_is_none() {
        assert!(register(&[]).is_set_once());
        assert!(register(&[(0, Some(Stored)), (1, Some(Conflict))]).is_set_once());
        assert!(!register(&[(0, Some(Stored)), (1, Some(Stored))]).is_set_once());
        assert!(register(&[(0, Some(Duplicate)), (0, None)]).is_set_once());
        let mut unset = register(&[(0, Some(Duplicate))]);
        assert!(!unset.is_set_once());
        unset.lose(1);
        assert!(unset.is_set_once());
    }

    #[test]
    fn lost_attempts_widen_the_bounds() {
        let mut register = register(&[(0, Some(Stored)), (1, Some(Conflict)), (1, Some(Conflict))]);
        register.lose(0);
        register.lose(0);
        assert_eq!(register.deliveries(), Bounds { least: 3, most: 5 });
        assert_eq!(register.conflicts(0), Bounds { least: 2, most: 2 });
        assert_eq!(register.conflicts(1), Bounds { least: 1, most: 3 });
        assert_eq!(register.unique(), Bounds { least: 1, most: 1 });
    }

    #[test]
    fn the_stored_payload_tells_which_answers_name_conflicts() {
        let answered = register(&[(0, Some(Stored)), (1, Some(Conflict)), (0, Some(Duplicate)), (1, None)]);
        assert!(answered.names_conflicts(0));
        assert!(!answered.names_conflicts(1));
        assert!(!register(&[(1, Some(Duplicate))]).names_conflicts(0));
        assert!(!register(&[(0, Some(Conflict))]).names_conflicts(0));
    }
}
