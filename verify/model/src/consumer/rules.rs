//! The rules of a consumer.

use crate::Wrong;

/// What was broken of each promise.
#[derive(Debug, Default)]
pub struct Rules {
    pub(super) skipped: Wrong,
    pub(super) repeated: Wrong,
    pub(super) shared: Wrong,
    pub(super) passed: Wrong,
    pub(super) left: Wrong,
    pub(super) lost: Wrong,
    pub(super) misplaced: Wrong,
    pub(super) foreign: Wrong,
    pub(super) dead: Wrong,
}

impl Rules {
    /// All rules, by name, and the errors against each.
    pub fn rules(&self) -> [(&'static str, &Wrong); 9] {
        [
            ("each event is done in the end", &self.skipped),
            ("what was done does not come again", &self.repeated),
            ("no event is given to two at once, and no more claims than there are workers", &self.shared),
            ("no event passes one that it has to wait for", &self.passed),
            ("a claim that ran out comes again, whole and first", &self.left),
            ("a claim that was lost is not committed", &self.lost),
            ("the place goes forward, and passes over nothing", &self.misplaced),
            ("a claim has the events of its range and topics", &self.foreign),
            ("each event that dies is stored as dead once", &self.dead),
        ]
    }
}
