//! What is remembered of a content, by which it is recognised.

use serde::{Deserialize, Serialize};

use super::identity::Identity;

/// Bytes at the beginning and before the position of a file that are remembered, so that its content is recognised.
pub const MARK: u64 = 256;

/// A line that was read, to be compared with what is in its place now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub struct Line {
    /// Bytes before it.
    pub offset: u64,
    /// Its length in bytes, without its line end.
    pub bytes: usize,
    /// Its hash.
    pub hash: Identity,
}

impl Line {
    /// The first line of a content, or as much of it as there is among its first bytes; `None` if there is less yet.
    pub fn first(head: &[u8]) -> Option<Self> {
        let end = head.iter().position(|&byte| byte == b'\n').map(|end| end + 1);
        let end = end.or_else(|| (head.len() as u64 >= MARK).then_some(head.len()))?;
        Some(Self::new(0, &head[..end]))
    }

    /// These bytes, without their line end, at `offset`.
    pub fn new(offset: u64, bytes: &[u8]) -> Self {
        Self { offset, bytes: bytes.len(), hash: Identity::hash(bytes) }
    }
}

/// The evidence of the content that was read, by which the same content is recognised elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Lines, or other runs of bytes, in the order of their places.
    pub lines: Vec<Line>,
    /// The number of bytes that were read.
    pub length: u64,
}
