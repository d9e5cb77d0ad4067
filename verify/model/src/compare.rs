//! Compares the answers and the events that were read back with their registers.

use crate::{Register, Stored, Wrong};

/// The errors of answers, and of events that were read back or should have been.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Events that were answered as stored by several deliveries, or by none.
    pub unset: Wrong,
    /// Events of which an answer names a conflict that is none, or does not name one.
    pub misnamed: Wrong,
    /// Events that were acknowledged and not read.
    pub missing: Wrong,
    /// Events with other counts than their deliveries: also those that were refused or never sent.
    pub miscounted: Wrong,
    /// Events with another `seq` than was answered.
    pub moved: Wrong,
    /// Events with a lower `seq` than one that was acknowledged before they were sent.
    pub behind: Wrong,
}

/// The seqs that answers showed to the clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The lowest and the highest that were answered for the event itself, which must be the same.
    pub own: Option<(u64, u64)>,
    /// The highest that was acknowledged before the event was first sent.
    pub floor: Option<u64>,
}

impl Comparison {
    /// Looks at the answers to the deliveries of an event, wherever it is now. `name` names it.
    pub fn compare_answers<const PAYLOADS: usize>(
        &mut self,
        register: &Register<PAYLOADS>,
        name: impl Fn() -> String,
    ) {
        if !register.is_set_once() {
            self.unset.add(|| format!("{} was answered as stored {} times", name(), register.storers()));
        }
    }

    /// Compares an event with its deliveries.
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
        let (mut deliveries, conflicts) = (register.deliveries(), register.conflicts(stored.payload));
        deliveries.least = deliveries.least.max(1);
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
        if !register.names_conflicts(stored.payload) {
            let payload = stored.payload;
            self.misnamed.add(|| format!("{} is stored with payload {payload}: {register:?}", name()));
        }
    }

    fn compare_seq(&mut self, seq: u64, seen: Seen, name: impl Fn() -> String) {
        if let Some(floor) = seen.floor.filter(|floor| seq <= *floor) {
            self.behind
                .add(|| format!("{} has seq {seq}, but {floor} was acknowledged before it was sent", name()));
        }
        if let Some((lowest, highest)) = seen.own.filter(|own| *own != (seq, seq)) {
            self.moved.add(|| format!("{} has seq {seq} and was answered {lowest} and {highest}", name()));
        }
    }

    /// The rules that were looked at, by name, and the errors against each.
    pub fn rules(&self) -> [(&'static str, &Wrong); 6] {
        [
            ("an event is stored by one delivery", &self.unset),
            ("conflicts are named, and nothing else is", &self.misnamed),
            ("each event that was answered is stored", &self.missing),
            ("each event counts its deliveries", &self.miscounted),
            ("each event has the seq that was answered", &self.moved),
            ("no event is stored behind an acknowledged one", &self.behind),
        ]
    }
}
