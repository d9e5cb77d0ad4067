//! What the system tells of a process: its memory, its files and its time on the processor.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The processes that a process has started, and itself.
fn family(process: u32) -> Result<Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(parent) = stat(id).and_then(|fields| fields.get(1)?.parse().ok()) {
            children.entry(parent).or_default().push(id);
        }
    }
    let mut family = vec![process];
    let mut at = 0;
    while let Some(id) = family.get(at).copied() {
        family.extend(children.remove(&id).unwrap_or_default());
        at += 1;
    }
    Ok(family)
}

/// The fields of `/proc/<pid>/stat` behind the name, the state first (`man 5 proc`).
fn stat(process: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split(' ').map(ToOwned::to_owned).collect())
}

/// Resident bytes of a process and those that it has started. What they share counts once (PSS).
pub fn memory(process: u32) -> Result<u64> {
    let share = |id: &u32| {
        // A process may end while we look.
        let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
    };
    Ok(family(process)?.iter().filter_map(share).sum())
}

/// Kills a process and those that it has started, as a crash would.
pub fn kill(process: u32) -> Result<()> {
    for id in family(process)? {
        let id = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw).context("a process id")?;
        let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL); // it may have ended
    }
    Ok(())
}

/// Seconds of processor time that a process has used, and those that it started and that have ended.
pub fn processor_seconds(process: u32) -> f64 {
    let ticks = stat(process).map(|fields| {
        let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
        (11..=14).map(ticks).sum::<f64>()
    });
    ticks.unwrap_or(0.0) / rustix::param::clock_ticks_per_second() as f64
}

/// The bytes that the files below a directory occupy.
pub fn bytes_below(path: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.blocks() * 512);
    }
    fs::read_dir(path)?.map(|entry| bytes_below(&entry?.path())).sum()
}

/// A program, where it is installed: on PATH, or in a directory of the bench's own.
pub fn program(name: &str) -> Option<PathBuf> {
    let own = sekali_harness::deployment::repository().join("target/bench/peers");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([own.join("bin"), own.join("node_modules/.bin")]);
    places.map(|place| place.join(name)).find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_used_time_and_files_have_a_size() {
        assert!(memory(std::process::id()).unwrap() > 100_000);
        assert!(processor_seconds(std::process::id()) >= 0.0);
        let directory = tempfile::tempdir().unwrap();
        let empty = bytes_below(directory.path()).unwrap();
        fs::write(directory.path().join("file"), [1; 10_000]).unwrap();
        assert!(bytes_below(directory.path()).unwrap() >= empty + 10_000);
    }

    #[test]
    fn a_family_has_children_of_children() {
        let mut shell = std::process::Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        let found = || family(shell.id()).unwrap().len();
        while found() < 2 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        kill(shell.id()).unwrap();
        assert!(!shell.wait().unwrap().success());
    }
}
