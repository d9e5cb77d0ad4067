//! The parts of the measurement.

use anyhow::Result;

use super::build::{Build, Place};
use super::figures::Figures;
use super::scale::Scale;
use super::{bytes, erasure, keys, partitions, readers, retention, topics};

/// Something that is measured.
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// True if it takes so long that it has rounds of its own, or one.
    pub is_long: bool,
    /// Measures it once.
    pub measure: fn(&Build, Place<'_>, &Scale, &mut Figures) -> Result<()>,
}

/// What is measured on both stores.
pub const PARTS: [Part; 6] = [
    Part { name: "keys", is_long: false, measure: keys::measure },
    Part { name: "topics", is_long: false, measure: topics::measure },
    Part { name: "erasure", is_long: false, measure: erasure::measure },
    Part { name: "readers", is_long: false, measure: readers::measure },
    Part { name: "bytes", is_long: true, measure: bytes::measure },
    Part { name: "retention", is_long: true, measure: retention::measure },
];

/// What is measured on PostgreSQL.
pub const PARTITIONS: Part = Part { name: "partitions", is_long: true, measure: partitions::measure };
