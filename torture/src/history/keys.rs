//! Idempotency keys that share slots of the service's index of saved answers.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

/// Slots of the index, as the service hashes keys to them. With another number, keys only cease to share slots.
const SLOTS: u64 = 1 << 16;

/// Names among which keys are found: three a slot.
const NAMES: u64 = 3 * SLOTS;

/// Keys of one slot. They are used at about the same time.
const GROUP: usize = 8;

/// The keys. Two answers that are saved in one slot at the same moment must not overwrite each other.
pub struct Keys(Vec<String>);

impl Keys {
    /// Finds slots that many names share.
    pub fn find() -> Self {
        let mut slots: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for name in (0..NAMES).map(|number| format!("key {number}")) {
            slots.entry(xxh3_64(name.as_bytes()) % SLOTS).or_default().push(name);
        }
        let groups = slots.into_values().filter(|names| names.len() >= GROUP);
        Self(groups.flat_map(|names| names.into_iter().take(GROUP)).collect())
    }

    /// The name of a key. Numbers beyond the last begin anew.
    pub fn name(&self, number: usize) -> &str {
        &self.0[self.position(number)]
    }

    /// The number of a key among those that exist.
    pub fn position(&self, number: usize) -> usize {
        number % self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_used_together_share_a_slot() {
        let keys = Keys::find();
        assert!(keys.0.len() > 1_000);
        for group in keys.0.chunks(GROUP) {
            let slots: Vec<_> = group.iter().map(|name| xxh3_64(name.as_bytes()) % SLOTS).collect();
            assert!(slots.iter().all(|slot| *slot == slots[0]), "{group:?}");
        }
    }
}
