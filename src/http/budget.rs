//! A bound on the bytes that the requests of an instance hold at once, for one purpose.

use std::cell::Cell;
use std::rc::Rc;

/// The bytes that are held, and the most of them.
#[derive(Clone, Debug)]
pub struct Budget {
    used: Rc<Cell<usize>>,
    most: usize,
}

/// Bytes of a budget. Dropping it returns them.
#[derive(Debug)]
pub struct Share {
    bytes: usize,
    budget: Budget,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(most: usize) -> Self {
        Self { used: Rc::default(), most }
    }

    /// A share without bytes.
    pub fn share(&self) -> Share {
        Share { bytes: 0, budget: self.clone() }
    }

    /// The bytes that are held now.
    pub fn used(&self) -> usize {
        self.used.get()
    }
}

impl Share {
    /// Takes more bytes. Returns false, and takes none, if the budget has not so many left. Who is alone may take any
    /// number, so that nothing is refused for ever.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let held = self.budget.used.get();
        let used = held + bytes;
        if used > self.budget.most && held > 0 {
            return false;
        }
        self.budget.used.set(used);
        self.bytes += bytes;
        true
    }

    /// Holds so many bytes instead, whatever the budget has left.
    pub fn replace(&mut self, bytes: usize) {
        self.clear();
        self.budget.used.set(self.budget.used.get() + bytes);
        self.bytes = bytes;
    }

    /// Returns all bytes.
    pub fn clear(&mut self) {
        self.budget.used.set(self.budget.used.get() - self.bytes);
        self.bytes = 0;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_bounded_together_and_return_their_bytes() {
        let budget = Budget::new(10);
        let (mut one, mut other) = (budget.share(), budget.share());
        assert!(one.grow(6) && other.grow(4));
        assert!(!one.grow(1));
        drop(other);
        assert!(one.grow(4));
        one.clear();
        assert_eq!(budget.used(), 0);
        let mut other = budget.share();
        assert!(one.grow(11), "larger than all, but alone");
        assert!(!other.grow(1));
        other.replace(5);
        one.replace(1);
        assert_eq!(budget.used(), 6);
    }
}
