//! People: they change the consumer, move its place, and decide about what failed.

use fastrand::Rng;
use sekali_model::consumer::{Ask, Order, Place, Selected, Specification, Told};

use super::DEAD;
use crate::requests::identities::{PREFIX, TOPICS};

/// A person, who asks again until it is known what was done.
#[derive(Clone, Debug)]
pub struct Person {
    specification: Specification,
    /// What was asked for and not answered.
    again: Option<Ask>,
    /// The newest seq that it knows.
    newest: u64,
}

impl Person {
    /// A person who makes a consumer.
    pub fn new(random: &mut Rng) -> Self {
        let specification = Specification {
            topics: random
                .choice([vec![], vec![PREFIX.to_owned()], vec![TOPICS[0].to_owned()]])
                .unwrap_or_default(),
            order: random
                .choice([Order::Topic, Order::Topic, Order::Total, Order::None])
                .unwrap_or(Order::Topic),
            workers: 1,
            attempts: random.choice([0, 1, 2, 3, 12]).unwrap_or_default(),
            dead: DEAD.to_owned(),
        };
        let mut person = Self { specification, again: None, newest: 0 };
        person.specification.workers = person.workers(random);
        person
    }

    fn workers(&self, random: &mut Rng) -> u32 {
        if self.specification.order == Order::None { random.u32(1..5) } else { 1 }
    }

    /// Makes the consumer anew behind a copy of the store that had events up to this seq.
    pub fn restore(&self, newest: u64) -> Ask {
        Ask::Restore(self.specification.clone(), newest)
    }

    /// Makes the consumer.
    pub fn make(&self, from: Place) -> Ask {
        Ask::Make(self.specification.clone(), from)
    }

    /// The failures of which an event dies; 0 if it does not.
    pub fn attempts(&self) -> u32 {
        self.specification.attempts
    }

    /// The newest seq that it knows.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// True if it has asked for something, and does not know whether it was done.
    pub fn is_in_doubt(&self) -> bool {
        self.again.is_some()
    }

    /// What it asks for next.
    pub fn next(&mut self, random: &mut Rng) -> Ask {
        if let Some(again) = &self.again {
            return again.clone();
        }
        let seq = random.u64(..=self.newest);
        let selected = |random: &mut Rng| match random.u8(..3) {
            0 => Selected::Dead,
            1 => Selected::Parked,
            _ => Selected::Seqs(vec![seq, seq + 1, seq + 3]),
        };
        match random.u8(..12) {
            0 => Ask::Seek(Place::Start),
            1 => Ask::Seek(Place::Now),
            2 | 3 => Ask::Seek(Place::Seq(seq)),
            4 | 5 => {
                let Self { specification: now, .. } = Self::new(random);
                match random.u8(..3) {
                    0 => self.specification.topics = now.topics,
                    1 => self.specification.order = now.order,
                    _ => self.specification.attempts = now.attempts,
                }
                self.specification.workers = self.workers(random);
                Ask::Change(self.specification.clone())
            }
            6 | 7 => Ask::Retry(selected(random)),
            8 => Ask::Drop(selected(random)),
            _ => Ask::Look,
        }
    }

    /// Takes what it is told, or that it was interrupted.
    pub fn take(&mut self, ask: Ask, told: &Told) {
        if let Told::Stands { position, .. } = told {
            self.newest = self.newest.max(*position);
        }
        let is_to_be_known = matches!(ask, Ask::Make(..) | Ask::Seek(_) | Ask::Change(_));
        self.again = (is_to_be_known && *told == Told::Nothing).then_some(ask);
    }
}
