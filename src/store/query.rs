//! A query: what is asked of a database, for which purpose, and of which of its servers.

use super::Seq;
use super::database::{Row, Value};

/// The purpose of a read. Reads of one purpose wait for each other, and for no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An answer, which may take any time.
    Answer,
    /// A small page for followers.
    Follow,
    /// A probe of an index or of the end of the store, which is always short.
    Probe,
}

/// A query.
#[derive(Clone, Copy)]
pub struct Query<'q> {
    /// Its purpose.
    pub purpose: Purpose,
    /// Its text.
    pub text: &'q str,
    /// Its parameters.
    pub parameters: &'q [Value],
    /// The seq that its server has to know, if not 0. Then its answer has the newest seq of the server in its last column.
    pub through: Seq,
}

impl<'q> Query<'q> {
    /// A query of any server.
    pub fn new(purpose: Purpose, text: &'q str, parameters: &'q [Value]) -> Self {
        Self { purpose, text, parameters, through: 0 }
    }

    /// True if an answer is of a server that knows the seq.
    pub fn is_answered_by(&self, rows: &[Row]) -> bool {
        self.through == 0
            || rows.first().is_none_or(|row| match row.0.last() {
                Some(Value::Integer(newest)) => *newest >= self.through,
                _ => false,
            })
    }
}
