//! The rejects file: lines that cannot be stored, kept so that they can be corrected.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

/// The treatment of an invalid line or row.
pub enum Rejects {
    /// The first one ends the program.
    Stop,
    /// It is reported, up to a number of them. This many were.
    Told(u64),
    /// It is written to a file.
    ToFile(RejectsFile),
}

/// A file of rejected lines, one JSON object each. It is created with the first one.
pub struct RejectsFile {
    path: PathBuf,
    file: Option<File>,
}

/// A line that was not stored.
#[derive(Serialize)]
struct Reject<'a> {
    place: &'a str,
    reason: &'a str,
    line: &'a str,
}

impl RejectsFile {
    /// A rejects file at `path`; an existing one is appended to.
    pub fn new(path: &Path) -> Self {
        Self { path: path.into(), file: None }
    }

    /// Appends a line.
    pub fn write(&mut self, place: &str, reason: &str, line: &str) -> Result<()> {
        let mut text = serde_json::to_vec(&Reject { place, reason, line })?;
        text.push(b'\n');
        self.open()?.write_all(&text).with_context(|| format!("{} cannot be written", self.path.display()))
    }

    fn open(&mut self) -> Result<&mut File> {
        if self.file.is_none() {
            let file = File::options().create(true).append(true).open(&self.path);
            self.file = Some(file.with_context(|| format!("{} cannot be written", self.path.display()))?);
        }
        self.file.as_mut().context("the file is open")
    }
}
