//! Counts that are not known exactly.

use std::fmt;

use indicatif::HumanCount;

/// A count that lies between two bounds, which are equal if it is known exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The lowest possible count.
    pub least: u64,
    /// The highest possible count.
    pub most: u64,
}

impl Bounds {
    /// A count of `least`, and of up to so many `more`.
    pub fn new(least: u32, more: u32) -> Self {
        Self { least: least.into(), most: u64::from(least) + u64::from(more) }
    }

    /// True if the count may be this.
    pub fn contains(self, count: u64) -> bool {
        (self.least..=self.most).contains(&count)
    }

    /// Adds another count.
    pub fn add(&mut self, other: Self) {
        self.least += other.least;
        self.most += other.most;
    }

    /// The difference, whose bounds are as far apart as those of both together.
    pub fn minus(self, other: Self) -> Self {
        Self { least: self.least.saturating_sub(other.most), most: self.most - other.least }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", HumanCount(self.least))?;
        if self.most > self.least {
            write!(out, " to {}", HumanCount(self.most))?;
        }
        Ok(())
    }
}
