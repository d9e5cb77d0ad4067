//! Files that come late: they are made outside of the tree, are as old as those of a restored backup, and appear at once,
//! with all their lines.

use std::fs::{self, File, FileTimes};
use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use fastrand::Rng;

use super::compress::Form;
use super::log::{Account, Log};
use super::{Stage, TREE};

/// The age of the oldest.
const AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Writes of which one is made, at most.
const WRITES: usize = 200;

/// Brings files until it is time.
///
/// # Errors
/// Errors of the operating system.
pub fn bring(stage: &Stage, number: usize, rng: Rng) -> Result<Account> {
    let mut log = Log::new(stage, number, rng);
    let outside = stage.root.join(format!("outside-{number}"));
    log.pause(stage.between_rotations / 2);
    while Instant::now() < stage.until {
        log.begin();
        let mut text = Vec::new();
        for _ in 0..log.rng.usize(1..WRITES) {
            text.extend(log.lines());
        }
        let form = match log.rng.u8(..4) {
            0 if stage.without.has("compression") => Some(Form::Gzip),
            1 if stage.without.has("compression") => Some(Form::Zstd),
            _ => None,
        };
        let bytes = form.map_or(Ok(text.clone()), |form| form.compress(&text))?;
        let mut file = File::create_new(&outside)?;
        file.write_all(&bytes)?;
        let written = SystemTime::now() - AGE.mul_f64(log.rng.f64());
        file.set_times(FileTimes::new().set_modified(written))?;

        let extension = form.map(|form| format!(".{}", form.extension())).unwrap_or_default();
        let (name, files) = (log.rng.u8(..3), log.account.files);
        let name = match name {
            // In a directory that may not be there, beside logs, and with a name that may be that of a rotated log.
            0 => format!("late/{}/import-{files}-of-{number}.log{extension}", log.rng.u8(..4)),
            1 => format!("import-{files}-of-{number}.log{extension}"),
            // Beside the log of another, if it is there.
            _ => format!("{}/app-{}.log-20261020-{files}{extension}", log.rng.u8(..6), number - 1),
        };
        let path = stage.root.join(TREE).join(name);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::rename(&outside, &path)?;
        let (name, lines) = (log.name(&path), log.present());
        log.note(format!("{name} came late, with the lines {lines:?}"));
        let mut old = log.end(&path);
        old.is_compressed = form.is_some();
        log.old.insert(0, old);
        if stage.without.has("moves") && log.old.len() > 2 && log.rng.u8(..4) == 0 {
            let index = log.rng.usize(1..log.old.len());
            log.move_away(index)?;
        }
        log.delete_what_is_stored()?;
        log.pause(stage.between_rotations);
    }
    Ok(log.account)
}
