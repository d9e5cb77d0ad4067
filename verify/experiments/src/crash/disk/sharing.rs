//! The locks and the shared memory of the files of a disk.

use rusqlite::ffi;

use super::fault::Call;
use super::locks::{Handle, Locks, Region};
use super::{Disk, Result, State};

impl Disk {
    /// Raises the lock of a handle.
    pub fn lock(&self, handle: Handle, level: i32) -> Result<()> {
        let state = &mut *self.state();
        state.faults.check(Call::Lock)?;
        state.locks(handle)?.raise(handle, level)
    }

    /// Lowers the lock of a handle.
    pub fn unlock(&self, handle: Handle, level: i32) -> Result<()> {
        self.state().locks(handle).map(|locks| locks.lower(handle, level))
    }

    /// True if somebody is about to write to the file of a handle.
    pub fn is_reserved(&self, handle: Handle) -> Result<bool> {
        let state = &mut *self.state();
        state.faults.check(Call::Lock)?;
        state.locks(handle).map(|locks| locks.is_reserved())
    }

    /// Maps a region of the shared memory of a file; `None` if there is none and it must not grow.
    pub fn map(&self, handle: Handle, region: usize, size: usize, extend: bool) -> Result<Option<Region>> {
        let state = &mut *self.state();
        let grows = extend && !state.locks(handle)?.has_region(region);
        state.faults.check(if grows { Call::Extend } else { Call::Map })?;
        state.locks(handle).map(|locks| locks.map(handle, region, size, extend))
    }

    /// Takes locks of the shared memory.
    pub fn lock_memory(&self, handle: Handle, locks: u32, exclusively: bool) -> Result<()> {
        let state = &mut *self.state();
        state.faults.check(Call::LockMemory)?;
        state.locks(handle)?.lock_memory(handle, locks, exclusively)
    }

    /// Releases locks of the shared memory.
    pub fn unlock_memory(&self, handle: Handle, locks: u32) -> Result<()> {
        self.state().locks(handle).map(|own| own.unlock_memory(handle, locks))
    }

    /// Unmaps the shared memory.
    pub fn unmap(&self, handle: Handle) -> Result<()> {
        self.state().locks(handle).map(|locks| locks.unmap(handle))
    }
}

impl State {
    fn locks(&mut self, handle: Handle) -> Result<&mut Locks> {
        let open = self.handles.get(&handle).ok_or(ffi::SQLITE_IOERR)?;
        Ok(self.locks.entry(open.file).or_default())
    }
}
