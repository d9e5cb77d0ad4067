//! A file system in memory: its files as running programs see them, and beside them the image that a power cut leaves
//! something of.
//!
//! `image` is what the disk holds, `fault` the calls that fail, `locks` what the connections to a file share, and
//! `sharing` the calls for that.

pub mod fault;
pub mod image;
pub mod locks;
mod sharing;

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use rusqlite::ffi;

use self::fault::{Call, Fault, Faults};
use self::image::{Change, FileId, Image};
use self::locks::{Handle, Locks};

/// The result of a call: SQLite's code where it failed.
pub type Result<T> = std::result::Result<T, i32>;

/// A disk, and the programs that have files open on it. Results are as SQLite expects them of a file system
/// (<https://sqlite.org/c3ref/io_methods.html>).
pub struct Disk(Mutex<State>);

struct State {
    image: Image,
    /// The directory and the files, as running programs see them.
    names: BTreeMap<String, FileId>,
    contents: BTreeMap<FileId, Vec<u8>>,
    locks: BTreeMap<FileId, Locks>,
    handles: BTreeMap<Handle, Open>,
    /// The last file or handle.
    last: u64,
    rng: Rng,
    faults: Faults,
    moments: Moments,
    /// The images of those moments.
    kept: Vec<Image>,
}

/// The moments at which the image of a disk is kept, as shares of all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moments {
    /// After changes of files and names.
    pub changes: f64,
    /// After syncs, between which transactions lie.
    pub syncs: f64,
}

/// An open file.
#[derive(Clone, Copy)]
struct Open {
    file: FileId,
    /// A temporary file has no name, and nothing of it is meant to survive.
    is_temporary: bool,
    /// True if its first sync also makes the directory safe, as SQLite does for journals that it may have created.
    syncs_names: bool,
}

impl Disk {
    /// A disk that holds all of an image, after a start: nothing is open.
    pub fn new(mut image: Image, seed: u64) -> Arc<Self> {
        image.sync_all();
        let last = image.contents().keys().max().copied().unwrap_or(0);
        Arc::new(Self(Mutex::new(State {
            names: image.names(),
            contents: image.contents(),
            image,
            locks: BTreeMap::new(),
            handles: BTreeMap::new(),
            last,
            rng: Rng::with_seed(seed),
            faults: Faults::default(),
            moments: Moments::default(),
            kept: Vec::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The image at this moment.
    pub fn image(&self) -> Image {
        self.state().image.clone()
    }

    /// Keeps the image at these moments from now on: each of them is one for a power cut.
    pub fn keep_images(&self, moments: Moments) {
        self.state().moments = moments;
    }

    /// The images that were kept since this was last asked.
    pub fn take_images(&self) -> Vec<Image> {
        mem::take(&mut self.state().kept)
    }

    /// Lets calls fail, counted from now on; none with `None`.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.state().faults.set(fault);
    }

    /// The number of calls since then that could fail for its cause.
    pub fn calls_seen(&self) -> u64 {
        self.state().faults.seen()
    }

    /// The calls that have failed since this was last asked.
    pub fn take_failed(&self) -> Vec<Call> {
        self.state().faults.take_failed()
    }

    /// Works while no call fails and no image is kept.
    pub fn undisturbed<T>(&self, work: impl FnOnce() -> T) -> T {
        let take = |state: &mut State| (mem::take(&mut state.faults), mem::take(&mut state.moments));
        let (faults, moments) = take(&mut self.state());
        let result = work();
        let state = &mut *self.state();
        (state.faults, state.moments) = (faults, moments);
        result
    }

    /// The time, as the machine of the disk sees it, since the beginning of 1970.
    pub fn time(&self) -> Duration {
        let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        elapsed + self.state().image.ahead
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        self.state().image.ahead += time;
    }

    /// Opens a file by its name, or a temporary one.
    pub fn open(&self, name: Option<&str>, flags: i32) -> Result<Handle> {
        let state = &mut *self.state();
        let existing = name.and_then(|name| state.names.get(name).copied());
        state.faults.check(if existing.is_some() { Call::Open } else { Call::Create })?;
        let creates = flags & ffi::SQLITE_OPEN_CREATE != 0;
        let is_exclusive = flags & ffi::SQLITE_OPEN_EXCLUSIVE != 0;
        let file = match existing {
            Some(_) if is_exclusive => return Err(ffi::SQLITE_CANTOPEN),
            Some(file) => file,
            None if !creates => return Err(ffi::SQLITE_CANTOPEN),
            None => state.create(name),
        };
        let journals = ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL | ffi::SQLITE_OPEN_WAL;
        let syncs_names = creates && flags & journals != 0;
        state.last += 1;
        let handle = state.last;
        state.handles.insert(handle, Open { file, is_temporary: name.is_none(), syncs_names });
        Ok(handle)
    }

    /// Closes a file.
    pub fn close(&self, handle: Handle) {
        let state = &mut *self.state();
        let Some(open) = state.handles.remove(&handle) else { return };
        if let Some(locks) = state.locks.get_mut(&open.file) {
            locks.release(handle);
        }
        if open.is_temporary {
            state.contents.remove(&open.file);
        }
    }

    /// Removes a file.
    pub fn delete(&self, name: &str, sync_names: bool) -> Result<()> {
        let state = &mut *self.state();
        state.faults.check(Call::Delete)?;
        state.names.remove(name).ok_or(ffi::SQLITE_IOERR_DELETE_NOENT)?;
        state.image.name(name, None);
        state.keep(state.moments.changes);
        if sync_names {
            state.image.sync_names();
        }
        Ok(())
    }

    /// True if a file with this name has something in it.
    pub fn exists(&self, name: &str) -> Result<bool> {
        let state = &mut *self.state();
        state.faults.check(Call::Access)?;
        let content = state.names.get(name).and_then(|file| state.contents.get(file));
        Ok(content.is_some_and(|content| !content.is_empty()))
    }

    /// Reads into `buffer`, as far as the file goes, and returns the number of bytes.
    pub fn read(&self, handle: Handle, offset: usize, buffer: &mut [u8]) -> Result<usize> {
        let state = &mut *self.state();
        state.faults.check(Call::Read)?;
        let (_, content) = state.file(handle)?;
        let rest = content.get(offset..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    /// Writes. Where it fails, a part may have been written.
    pub fn write(&self, handle: Handle, offset: usize, bytes: &[u8]) -> Result<()> {
        let state = &mut *self.state();
        let result = state.faults.check(Call::Write);
        let length = if result.is_ok() { bytes.len() } else { state.rng.usize(..bytes.len().max(1)) };
        if length > 0 {
            state.change(handle, Change::Write(offset, bytes[..length].into()))?;
        }
        result
    }

    /// Changes the length of a file.
    pub fn truncate(&self, handle: Handle, length: usize) -> Result<()> {
        let state = &mut *self.state();
        state.faults.check(Call::Truncate)?;
        state.change(handle, Change::Resize(length))
    }

    /// Makes a file safe.
    pub fn sync(&self, handle: Handle) -> Result<()> {
        let state = &mut *self.state();
        let result = state.faults.check(Call::Sync);
        let open = *state.handles.get(&handle).ok_or(ffi::SQLITE_IOERR_FSYNC)?;
        if open.is_temporary {
            return result;
        }
        if let Err(code) = result {
            if state.faults.sync_forgets() {
                state.image.sync_in_vain(open.file, &mut state.rng);
            }
            return Err(code);
        }
        state.image.sync(open.file);
        if open.syncs_names {
            state.image.sync_names();
            state.handles.insert(handle, Open { syncs_names: false, ..open });
        }
        state.keep(state.moments.syncs);
        Ok(())
    }

    /// The length of a file.
    pub fn size(&self, handle: Handle) -> Result<usize> {
        let state = &mut *self.state();
        state.faults.check(Call::Size)?;
        state.file(handle).map(|(_, content)| content.len())
    }
}

impl State {
    fn create(&mut self, name: Option<&str>) -> FileId {
        self.last += 1;
        let file = self.last;
        self.contents.insert(file, Vec::new());
        if let Some(name) = name {
            self.names.insert(name.to_owned(), file);
            self.image.name(name, Some(file));
            self.keep(self.moments.changes);
        }
        file
    }

    fn file(&mut self, handle: Handle) -> Result<(Open, &mut Vec<u8>)> {
        let open = *self.handles.get(&handle).ok_or(ffi::SQLITE_IOERR)?;
        Ok((open, self.contents.entry(open.file).or_default()))
    }

    fn change(&mut self, handle: Handle, change: Change) -> Result<()> {
        let (open, content) = self.file(handle)?;
        change.apply(content);
        if !open.is_temporary {
            self.image.change(open.file, change);
            self.keep(self.moments.changes);
        }
        Ok(())
    }

    fn keep(&mut self, share: f64) {
        if share > 0.0 && self.rng.f64() < share {
            self.kept.push(self.image.clone());
        }
    }
}
