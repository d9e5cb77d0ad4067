//! Compares events that were read back with their registers.

use crate::{Register, Stored, Wrong};

/// The errors of events that were read back, or should have been.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Events that were acknowledged and not read.
    pub missing: Wrong,
    /// Events with other counts than their deliveries.
    pub miscounted: Wrong,
    /// Events with another `seq` than was answered.
    pub moved: Wrong,
    /// Events with a lower `seq` than one that was acknowledged before they were sent.
    pub behind: Wrong,
}

/// The seqs that answers showed to the clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The seq of the event itself, if it was answered.
    pub own: Option<u64>,
    /// The highest that was acknowledged before the event was first sent.
    pub floor: Option<u64>,
}

impl Comparison {
    /// Compares one event, which `name` names.
    pub fn compare<const PAYLOADS: usize>(
        &mut self,
        register: &Register<PAYLOADS>,
        stored: Option<&Stored>,
        seen: Seen,
        name: impl Fn() -> String,
    ) {
        match stored {
            Some(stored) => {
                self.compare_counts(register, stored, &name);
                self.compare_seq(stored.seq, seen, &name);
            }
            None if register.deliveries().least > 0 => self.missing.add(|| format!("{} is missing", name())),
            None => {}
        }
    }

    fn compare_counts<const PAYLOADS: usize>(
        &mut self,
        register: &Register<PAYLOADS>,
        stored: &Stored,
        name: impl Fn() -> String,
    ) {
        let (deliveries, conflicts) = (register.deliveries(), register.conflicts(stored.payload));
        if !deliveries.contains(stored.deliveries) || !conflicts.contains(stored.conflicts) {
            self.miscounted.add(|| {
                format!(
                    "{} has {} deliveries and {} conflicts instead of {deliveries} and {conflicts}",
                    name(),
                    stored.deliveries,
                    stored.conflicts
                )
            });
        }
    }

    fn compare_seq(&mut self, seq: u64, seen: Seen, name: impl Fn() -> String) {
        if let Some(floor) = seen.floor.filter(|floor| seq <= *floor) {
            self.behind
                .add(|| format!("{} has seq {seq}, but {floor} was acknowledged before it was sent", name()));
        }
        if let Some(answered) = seen.own.filter(|answered| *answered != seq) {
            self.moved.add(|| format!("{} has seq {seq} and was answered {answered}", name()));
        }
    }
}
