//! An event as the model has it.

use crate::Bounds;
use sekali_common::api::EventStatus;

/// A register that the first of its deliveries sets, once, to one of several payloads, which are numbered.
#[derive(Clone, Copy, Debug)]
pub struct Register<const PAYLOADS: usize> {
    /// Deliveries that were answered, by payload.
    answered: [u32; PAYLOADS],
    /// Attempts that may have been carried out, by payload.
    lost: [u32; PAYLOADS],
    /// Deliveries that were answered as stored.
    stored: u32,
    /// Deliveries whose answer does not tell its status.
    untold: u32,
}

impl<const PAYLOADS: usize> Default for Register<PAYLOADS> {
    fn default() -> Self {
        Self { answered: [0; PAYLOADS], lost: [0; PAYLOADS], stored: 0, untold: 0 }
    }
}

impl<const PAYLOADS: usize> Register<PAYLOADS> {
    /// Adds a delivery that was answered, with its status if the answer tells it.
    pub fn answer(&mut self, payload: usize, status: Option<EventStatus>) {
        self.answered[payload] += 1;
        match status {
            Some(EventStatus::Stored) => self.stored += 1,
            Some(EventStatus::Duplicate | EventStatus::Conflict) => {}
            None => self.untold += 1,
        }
    }

    /// Adds attempts that may have been carried out.
    pub fn lose(&mut self, payload: usize, attempts: u32) {
        self.lost[payload] += attempts;
    }

    /// All deliveries.
    pub fn deliveries(&self) -> Bounds {
        Bounds::new(self.answered.iter().sum(), self.lost.iter().sum())
    }

    /// Deliveries that stored the event: one, if there was any delivery.
    pub fn unique(&self) -> Bounds {
        let Bounds { least, most } = self.deliveries();
        Bounds { least: least.min(1), most: most.min(1) }
    }

    /// Deliveries with another payload than the stored one.
    pub fn conflicts(&self, stored: usize) -> Bounds {
        let others = |counts: &[u32; PAYLOADS]| counts.iter().sum::<u32>() - counts[stored];
        Bounds::new(others(&self.answered), others(&self.lost))
    }

    /// The number of deliveries that were answered as stored.
    pub fn storers(&self) -> u32 {
        self.stored
    }

    /// True if the answers name one delivery that stored the event, or leave room for one.
    pub fn is_set_once(&self) -> bool {
        let is_answered = self.deliveries().least > 0;
        // A lost attempt may be the one that stored it.
        let may_be_none = !is_answered || self.untold > 0 || self.lost.iter().any(|&lost| lost > 0);
        self.stored == 1 || (self.stored == 0 && may_be_none)
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
        unset.lose(1, 1);
        assert!(unset.is_set_once());
    }

    #[test]
    fn lost_attempts_widen_the_bounds() {
        let mut register = register(&[(0, Some(Stored)), (1, Some(Conflict)), (1, Some(Conflict))]);
        register.lose(0, 2);
        assert_eq!(register.deliveries(), Bounds { least: 3, most: 5 });
        assert_eq!(register.conflicts(0), Bounds { least: 2, most: 2 });
        assert_eq!(register.conflicts(1), Bounds { least: 1, most: 3 });
        assert_eq!(register.unique(), Bounds { least: 1, most: 1 });
    }
}
