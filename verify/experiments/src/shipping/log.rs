//! The files of one log: which lines they hold, and what happened to them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fastrand::Rng;

use super::line::Line;
use super::{Stage, relative};

/// Files of a log that are kept, and the time for which one has to be stored and left alone before it may be deleted: a
/// publisher that was killed as it was stored cannot know whether a file that is gone had more lines.
const KEPT: usize = 4;
const REST: Duration = Duration::from_secs(8);

/// The bytes behind the beginning of a line, and of one line in [`LONG_ONE_IN`].
const BYTES: usize = 120;
const LONG: usize = 100 << 10;
const LONG_ONE_IN: u32 = 400;

/// The longest time for which the end of a line is missing.
const TORN: Duration = Duration::from_millis(300);

/// All that is to be known of a log afterwards.
#[derive(Default)]
pub struct Account {
    /// The number of its writer.
    pub writer: usize,
    /// Of each numbered line when it was written, and into which file of the log, counted from 1.
    pub lines: Vec<(Duration, u64)>,
    /// How often the writer's line without a number was written.
    pub again: u64,
    /// The first numbered line of each file that begins with the header.
    pub headers: Vec<usize>,
    /// What happened, and when.
    pub history: Vec<(Duration, String)>,
    /// All names of its files, relative to the directory of the experiment.
    pub names: BTreeSet<String>,
    /// True if nobody can know whether its truncations lost a line.
    pub is_emptied: bool,
    /// True if files of it were deleted, when all of them was stored.
    pub has_deleted: bool,
    /// The number of contents that its files had.
    pub files: u64,
    /// How often something happened.
    pub rotations: u64,
    pub compressions: u64,
    pub moves: u64,
    pub deletions: u64,
}

impl Account {
    /// The number of its lines.
    pub fn total(&self) -> u64 {
        self.lines.len() as u64 + self.repeated()
    }

    /// The number of its lines that are also elsewhere.
    pub fn repeated(&self) -> u64 {
        self.again + self.headers.len() as u64
    }
}

/// A file that gets no further line.
pub struct Old {
    /// Its path.
    pub path: PathBuf,
    /// Its numbered lines.
    pub lines: Range<usize>,
    /// True if it was compressed.
    pub is_compressed: bool,
    /// When something happened to it last.
    changed: Instant,
    /// Since when it is known to be stored.
    stored: Option<Instant>,
}

/// A log that is written.
pub struct Log<'a> {
    /// What is to be known.
    pub account: Account,
    /// What all share.
    pub stage: &'a Stage,
    /// Its choices.
    pub rng: Rng,
    /// Its old files under names with numbers or dates, the newest first.
    pub old: Vec<Old>,
    /// Its old files in other places.
    moved: Vec<Old>,
    /// True if its files begin with the header.
    has_header: bool,
    /// The first numbered line of the present content.
    begin: usize,
}

impl<'a> Log<'a> {
    /// A log without files.
    pub fn new(stage: &'a Stage, writer: usize, mut rng: Rng) -> Self {
        let has_header = rng.bool() && stage.without.has("headers");
        let account = Account { writer, ..Account::default() };
        Self { account, stage, rng, old: Vec::new(), moved: Vec::new(), has_header, begin: 0 }
    }

    /// Notes what happened.
    pub fn note(&mut self, what: impl Into<String>) {
        self.account.history.push((self.stage.began.elapsed(), what.into()));
    }

    /// A path as the history names it, which is noted as one of the log's.
    pub fn name(&mut self, path: &Path) -> String {
        let name = relative(&self.stage.root, path).to_owned();
        self.account.names.insert(name.clone());
        name
    }

    /// A pause of up to this time.
    pub fn pause(&mut self, longest: Duration) {
        sleep(longest.mul_f64(self.rng.f64()));
    }

    /// A new content begins.
    pub fn begin(&mut self) {
        self.begin = self.account.lines.len();
        self.account.files += 1;
    }

    /// The content that has begun, as a file that gets no further line.
    pub fn end(&self, path: &Path) -> Old {
        let lines = self.begin..self.account.lines.len();
        Old { path: path.into(), lines, is_compressed: false, changed: Instant::now(), stored: None }
    }

    /// The numbered lines of the present content.
    pub fn present(&self) -> Range<usize> {
        self.begin..self.account.lines.len()
    }

    /// Appends some lines, in one write or in two.
    ///
    /// # Errors
    /// Errors of the operating system, here and below.
    pub fn append(&mut self, mut file: &File) -> Result<()> {
        let is_first = self.present().is_empty();
        let mut lines = self.lines();
        // A log that holds nothing but a header which others have, too, cannot be told from its successor by whoever was
        // away as it was truncated. So the header comes with the line behind it, as by a writer with a buffer.
        if !is_first && self.rng.u8(..8) == 0 {
            let last =
                lines[..lines.len() - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let rest = lines.split_off(self.rng.usize(last + 1..lines.len()));
            file.write_all(&lines)?;
            self.pause(TORN);
            lines = rest;
        }
        file.write_all(&lines).context("a log cannot be written")
    }

    /// Some lines. The first behind the header and the last have numbers, so that what begins or ends with them is known.
    pub fn lines(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        let is_first = self.present().is_empty();
        if is_first && self.has_header {
            self.account.headers.push(self.account.lines.len());
            push(&mut text, Line::Header, 0);
        }
        if is_first {
            self.push_numbered(&mut text, BYTES);
        }
        for _ in 0..self.rng.usize(..5) {
            match self.rng.u8(..12) {
                0 => {
                    self.account.again += 1;
                    push(&mut text, Line::Again(self.account.writer), 0);
                }
                _ => self.push_numbered(&mut text, BYTES),
            }
        }
        let bytes = if !is_first && self.rng.u32(..LONG_ONE_IN) == 0 { LONG } else { BYTES };
        self.push_numbered(&mut text, bytes);
        text
    }

    fn push_numbered(&mut self, text: &mut Vec<u8>, longest: usize) {
        let line = Line::Numbered(self.account.writer, self.account.lines.len());
        self.account.lines.push((self.stage.began.elapsed(), self.account.files));
        let bytes = if longest == LONG { LONG } else { self.rng.usize(..longest) };
        push(text, line, bytes);
    }

    /// Renames an old file, and notes it.
    pub fn rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        if let Some(directory) = to.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::rename(from, to).with_context(|| format!("{} cannot be renamed", from.display()))?;
        let (from, to) = (self.name(from), self.name(to));
        self.note(format!("{from} was renamed to {to}"));
        Ok(())
    }

    /// Moves an old file to another name in another directory.
    pub fn move_away(&mut self, index: usize) -> Result<()> {
        let mut old = self.old.remove(index);
        let name = old.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // The extension of a compressed file stays.
        let (stem, extension) = match name.rsplit_once('.').filter(|_| old.is_compressed) {
            Some((_, extension)) => (&name[..name.len() - extension.len() - 1], format!(".{extension}")),
            None => (name.as_str(), String::new()),
        };
        let (shelf, number) = (self.rng.u8(..6), self.account.moves);
        let to = format!("archive/{shelf}/{}.log.kept-{number}{extension}", stem.replace('.', "-"));
        let to = self.stage.root.join(super::TREE).join(to);
        self.rename(&old.path, &to)?;
        self.account.moves += 1;
        (old.path, old.changed) = (to, Instant::now());
        self.moved.push(old);
        Ok(())
    }

    /// Deletes old files of which nobody needs anything any more.
    pub fn delete_what_is_stored(&mut self) -> Result<()> {
        let is_in_excess = self.old.len() + self.moved.len() > KEPT;
        for old in self.old.iter_mut().chain(&mut self.moved).filter(|old| old.stored.is_none()) {
            let is_stored = self.stage.store.has(self.account.writer, old.lines.clone());
            old.stored = is_stored.then(Instant::now);
        }
        let may_go = |old: &mut Old| {
            let is_at_rest = |since: Instant| since.elapsed() > REST;
            is_at_rest(old.changed) && old.stored.is_some_and(is_at_rest)
        };
        if is_in_excess {
            // The oldest is the last.
            let gone = self.moved.extract_if(.., may_go).chain(self.old.pop_if(may_go));
            let gone: Vec<_> = gone.collect();
            for old in gone {
                fs::remove_file(&old.path)?;
                let name = self.name(&old.path);
                self.account.has_deleted = true;
                self.note(format!("{name} was deleted, which was stored for long"));
                self.account.deletions += 1;
            }
        }
        Ok(())
    }
}

impl Old {
    /// Something happened to it.
    pub fn touch(&mut self) {
        self.changed = Instant::now();
    }
}

fn push(text: &mut Vec<u8>, line: Line, bytes: usize) {
    text.extend_from_slice(line.text(bytes).as_bytes());
    text.push(b'\n');
}
