//! Errors of one kind.

/// The number of examples that are kept of one kind of error.
const EXAMPLES: usize = 5;

/// Errors of one kind: their number, and the first examples.
#[derive(Debug, Default)]
pub struct Wrong {
    /// The number of errors.
    pub count: u64,
    /// The first of them.
    pub examples: Vec<String>,
}

impl Wrong {
    /// Counts an error, and keeps it as an example if it is among the first.
    pub fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }

    /// The number of errors without an example.
    pub fn more(&self) -> u64 {
        self.count - self.examples.len() as u64
    }

    /// The errors against a rule, for people; nothing if there are none.
    pub fn tell(&self, rule: &str) -> Vec<String> {
        let mut told: Vec<_> = self.examples.iter().map(|example| format!("{rule}: {example}")).collect();
        if self.more() > 0 {
            told.push(format!("{rule}: and {} more", self.more()));
        }
        told
    }
}
