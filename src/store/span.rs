//! Runs of seq, and the windows in which they are read.

/// The position of an event in the order in which the store took them, from 1. A restore leaves a gap, and so does an
/// identity that was forgotten.
pub type Seq = i64;

/// The order of reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// By growing seq.
    #[default]
    Ascending,
    /// By falling seq.
    Descending,
}

/// A run of seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The seq before its first.
    pub after: Seq,
    /// Its last seq.
    pub through: Seq,
}

impl Span {
    /// True if no seq lies in it.
    pub fn is_empty(self) -> bool {
        self.through <= self.after
    }

    /// The last seq of it, in the order of reading.
    pub fn last(self, order: Order) -> Seq {
        match order {
            Order::Ascending => self.through,
            Order::Descending => self.after + 1,
        }
    }

    /// The rest of it behind `last`, in the order of reading.
    pub fn beyond(self, last: Seq, order: Order) -> Self {
        match order {
            Order::Ascending => Self { after: last, ..self },
            Order::Descending => Self { through: last - 1, ..self },
        }
    }

    /// The rest of it behind a part of it, in the order of reading; nothing if the part is empty.
    pub fn behind(self, part: Self, order: Order) -> Self {
        match part.is_empty() {
            true => Self { through: self.after, ..self },
            false => self.beyond(part.last(order), order),
        }
    }

    /// The part of it before the rest of it, in the order of reading.
    pub fn before(self, rest: Self, order: Order) -> Self {
        match order {
            _ if rest.is_empty() => self,
            Order::Ascending => Self { through: rest.after, ..self },
            Order::Descending => Self { after: rest.through, ..self },
        }
    }

    /// The part of it up to `last`, in the order of reading.
    pub fn up_to(self, last: Seq, order: Order) -> Self {
        match order {
            Order::Ascending => Self { through: last, ..self },
            Order::Descending => Self { after: last - 1, ..self },
        }
    }

    /// The number of its seqs, of which some may be missing.
    pub fn len(self) -> i64 {
        self.through - self.after
    }

    /// The first seqs of it, in the order of reading.
    pub fn first(self, count: i64, order: Order) -> Self {
        let last: Seq = match order {
            Order::Ascending => self.through.min(self.after.saturating_add(count)),
            Order::Descending => (self.after + 1).max(self.through - count + 1),
        };
        self.up_to(last, order)
    }

    /// The first part of it, in the order of reading, that lies in one partition of so many seqs.
    pub fn within(self, partition: Seq, order: Order) -> Self {
        match order {
            Order::Ascending => {
                let end = ((self.after + 1) / partition + 1) * partition - 1;
                Self { through: self.through.min(end), ..self }
            }
            Order::Descending => {
                let begin = self.through / partition * partition;
                Self { after: self.after.max(begin - 1), ..self }
            }
        }
    }

    /// The partitions of so many seqs that it lies in.
    pub fn partitions(self, partition: Seq) -> Self {
        let begin = (self.after + 1) / partition * partition;
        Self { after: begin - 1, through: (self.through / partition + 1) * partition - 1 }
    }
}

/// A run of seq that is read in one step, of bounded cost, by one index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The run.
    pub span: Span,
    /// The index.
    pub index: Index,
}

/// A way to the events of a filter. What the index does not serve of the filter is checked in each event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// All events, in the order of seq.
    Seq,
    /// The events of each topic, in the order of seq.
    Topics,
    /// The events of each source, in the order of seq.
    Sources,
    /// The events with conflicts, in the order of seq: those of a filter that asks for them.
    Conflicts,
    /// The events of a short span of time, sorted by seq at each read.
    Timestamp,
}
