//! A writer: it appends to its log, and rotates it in one of the ways of the field.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fastrand::Rng;

use super::compress::Form;
use super::log::{Account, Log, Old};
use super::{LOOK, Stage, TREE};

/// The longest time for which a writer does not notice that its log was rotated.
const UNAWARE: Duration = Duration::from_secs(2);

/// The longest wait for what is to be stored before a log is emptied.
const PATIENCE: Duration = Duration::from_secs(10);

/// The bytes of a piece of a slow copy, and the longest pause between two.
const PIECE: usize = 8 << 10;
const SLOW: Duration = Duration::from_millis(40);

/// The ways in which logs are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rotation {
    /// `app.log` becomes `app.log.1`, and that `app.log.2`.
    Numbered,
    /// It becomes `app.log-20261121-000001`, or `app-2026-11-21.1.log`.
    Dated,
    /// It is copied to `app.log.1`, and truncated.
    Copied,
    /// It is truncated when all of it is stored.
    Emptied,
    /// It gets another name in another directory.
    Moved,
}

const ROTATIONS: [Rotation; 5] =
    [Rotation::Numbered, Rotation::Dated, Rotation::Copied, Rotation::Emptied, Rotation::Moved];

/// The forms of old files.
const FORMS: [Option<Form>; 3] = [None, Some(Form::Gzip), Some(Form::Zstd)];

struct Writer<'a> {
    log: Log<'a>,
    path: PathBuf,
    rotation: Rotation,
    form: Option<Form>,
    /// True if a file is compressed at the rotation after its own.
    is_delayed: bool,
}

/// Writes until it is time. The number of a writer says how its log is rotated, so that all ways are tried.
///
/// # Errors
/// Errors of the operating system.
pub fn write(stage: &Stage, number: usize, mut rng: Rng) -> Result<Account> {
    let without = &stage.without;
    let form = FORMS[number / ROTATIONS.len() % FORMS.len()].filter(|_| without.has("compression"));
    let rotation = ROTATIONS[number % ROTATIONS.len()];
    let directory = match rng.u8(..4) {
        0 => String::new(),
        1 | 2 => format!("{}/", rng.u8(..6)),
        _ => format!("{}/{}/", rng.u8(..6), rng.char('a'..='c')),
    };
    let path = stage.root.join(TREE).join(format!("{directory}app-{number}.log"));
    let is_delayed = rng.bool();
    // Some begin late, with directories that were not there.
    if rng.u8(..3) == 0 {
        sleep(stage.until.saturating_duration_since(Instant::now()).mul_f64(rng.f64() / 2.0));
    }
    let mut log = Log::new(stage, number, rng);
    log.account.is_emptied = rotation == Rotation::Emptied;
    log.begin();
    Writer { log, path, rotation, form, is_delayed }.run()
}

impl Writer<'_> {
    fn run(mut self) -> Result<Account> {
        let stage = self.log.stage;
        let mut file = self.open()?;
        let mut next = self.next_rotation();
        while Instant::now() < stage.until {
            self.log.append(&file)?;
            self.log.pause(stage.pause);
            if Instant::now() >= next && stage.without.has("rotation") && !self.log.present().is_empty() {
                self.log.delete_what_is_stored()?;
                file = self.rotate(file)?;
                next = self.next_rotation();
            }
        }
        Ok(self.log.account)
    }

    fn next_rotation(&mut self) -> Instant {
        Instant::now() + self.log.stage.between_rotations.mul_f64(self.log.rng.f64())
    }

    fn open(&mut self) -> Result<File> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let name = self.log.name(&self.path);
        let file = File::options().append(true).create(true).open(&self.path);
        self.log.note(format!("{name} was opened"));
        file.with_context(|| format!("{name} cannot be opened"))
    }

    /// Rotates the log. Returns the file to which the writer appends from now on.
    fn rotate(&mut self, file: File) -> Result<File> {
        let file = match self.rotation {
            Rotation::Numbered => {
                self.shift()?;
                self.rename(file, &self.numbered(1))?
            }
            Rotation::Dated => {
                let path = self.dated();
                self.rename(file, &path)?
            }
            Rotation::Moved => {
                let (number, shelf) = (self.log.account.rotations, self.log.rng.u8(..6));
                let name = format!("moved/{shelf}/of-{}-{number}.log", self.log.account.writer);
                self.rename(file, &self.log.stage.root.join(TREE).join(name))?
            }
            Rotation::Copied => {
                self.shift()?;
                self.copy_and_truncate(file)?
            }
            Rotation::Emptied => self.empty(file)?,
        };
        self.log.account.rotations += 1;
        let index = usize::from(self.is_delayed);
        if let Some(form) = self.form
            && self.log.old.get(index).is_some_and(|old| !old.is_compressed)
        {
            self.log.compress(index, form, &file)?;
        }
        if self.log.stage.without.has("moves") && self.log.old.len() > 1 && self.log.rng.u8(..6) == 0 {
            let index = self.log.old.len() - 1;
            self.log.move_away(index)?;
        }
        Ok(file)
    }

    fn numbered(&self, number: usize) -> PathBuf {
        PathBuf::from(format!("{}.{number}", self.path.display()))
    }

    /// Moves numbered files to the next number, the oldest first.
    fn shift(&mut self) -> Result<()> {
        for index in (0..self.log.old.len()).rev() {
            let old = &self.log.old[index];
            let mut to = self.numbered(index + 2).into_os_string();
            if let Some(form) = self.form.filter(|_| old.is_compressed) {
                to.push(".");
                to.push(form.extension());
            }
            let (from, to) = (old.path.clone(), PathBuf::from(to));
            if from != to {
                self.log.rename(&from, &to)?;
                self.log.old[index].path = to;
            }
        }
        Ok(())
    }

    fn dated(&self) -> PathBuf {
        let number = self.log.account.rotations;
        match self.log.account.writer / ROTATIONS.len() % 2 {
            0 => PathBuf::from(format!("{}-20261121-{number:06}", self.path.display())),
            _ => self.path.with_file_name(format!("app-{}-2026-11-21.{number}.log", self.log.account.writer)),
        }
    }

    /// Renames the log. The writer may not notice for a while, and its new file may be there before.
    fn rename(&mut self, file: File, to: &Path) -> Result<File> {
        let from = self.path.clone();
        self.log.rename(&from, to)?;
        if self.log.rng.bool() {
            File::create(&self.path)?;
            self.log.note("the next file was created");
        }
        if self.log.rng.bool() {
            let aware = Instant::now() + UNAWARE.mul_f64(self.log.rng.f64());
            while Instant::now() < aware {
                self.log.append(&file)?;
                self.log.pause(UNAWARE / 8);
            }
            self.log.note("the writer has noticed it");
        }
        let old = self.log.end(to);
        self.log.old.insert(0, old);
        self.log.begin();
        self.open()
    }

    /// Copies the log, and truncates it. Nothing is written between the two: that would be lost, whoever ships it, which is
    /// copytruncate's own hole.
    fn copy_and_truncate(&mut self, file: File) -> Result<File> {
        let to = self.numbered(1);
        let bytes = fs::read(&self.path)?;
        let (from, name) = (self.log.name(&self.path), self.log.name(&to));
        let mut copy = File::create_new(&to)?;
        let is_slow = self.log.rng.u8(..3) == 0;
        self.log.note(format!("{name} is copied from {from}{}", if is_slow { ", slowly" } else { "" }));
        for piece in bytes.chunks(if is_slow { PIECE } else { bytes.len().max(1) }) {
            copy.write_all(piece)?;
            if is_slow {
                self.log.pause(SLOW);
            }
        }
        file.set_len(0)?;
        self.log.note(format!("{from} was truncated"));
        let old: Old = self.log.end(&to);
        self.log.old.insert(0, old);
        self.log.begin();
        Ok(file)
    }

    /// Truncates the log when all of it is stored. If that takes too long, it goes on.
    fn empty(&mut self, file: File) -> Result<File> {
        let began = Instant::now();
        let (writer, lines) = (self.log.account.writer, self.log.present());
        while !self.log.stage.store.has(writer, lines.clone()) {
            if began.elapsed() > PATIENCE {
                self.log.note("it was not truncated, because the service does not have all of it");
                return Ok(file);
            }
            sleep(LOOK);
        }
        file.set_len(0)?;
        self.log.note(format!("it was truncated, when all of it up to line {} was stored", lines.end - 1));
        self.log.begin();
        Ok(file)
    }
}
