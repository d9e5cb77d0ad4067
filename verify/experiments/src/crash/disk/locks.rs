//! The locks and the shared memory of a file, between the connections of one process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rusqlite::ffi;

/// An open file.
pub type Handle = u64;

/// A part of the shared memory. SQLite writes to it through a pointer, and never without a lock or an order of its own.
pub type Region = Arc<[AtomicU64]>;

/// The locks and the shared memory of a file.
#[derive(Default)]
pub struct Locks {
    /// The level of each handle that has a lock (`SQLITE_LOCK_*`).
    levels: BTreeMap<Handle, i32>,
    /// It lives as long as a handle maps it.
    memory: Vec<Region>,
    /// The locks of the memory, by the handles that map it.
    mapped: BTreeMap<Handle, MemoryLocks>,
}

/// Sets of locks, as bits.
#[derive(Default)]
struct MemoryLocks {
    shared: u32,
    exclusive: u32,
}

impl Locks {
    /// Raises the lock of a handle to `level`.
    ///
    /// # Errors
    /// `SQLITE_BUSY` when another handle's lock excludes it.
    pub fn raise(&mut self, handle: Handle, level: i32) -> Result<(), i32> {
        let own = self.level(handle);
        if own >= level {
            return Ok(());
        }
        let others = self.others(handle);
        let is_excluded = match level {
            ffi::SQLITE_LOCK_SHARED => others >= ffi::SQLITE_LOCK_PENDING,
            _ => others >= ffi::SQLITE_LOCK_RESERVED,
        };
        if is_excluded {
            return Err(ffi::SQLITE_BUSY);
        }
        if level == ffi::SQLITE_LOCK_EXCLUSIVE && others >= ffi::SQLITE_LOCK_SHARED {
            // No new reader comes in while the others leave.
            self.levels.insert(handle, ffi::SQLITE_LOCK_PENDING);
            return Err(ffi::SQLITE_BUSY);
        }
        self.levels.insert(handle, level);
        Ok(())
    }

    /// Lowers the lock of a handle to `level`.
    pub fn lower(&mut self, handle: Handle, level: i32) {
        if level == ffi::SQLITE_LOCK_NONE {
            self.levels.remove(&handle);
        } else {
            self.levels.insert(handle, level.min(self.level(handle)));
        }
    }

    /// True if a handle is about to write.
    pub fn is_reserved(&self) -> bool {
        self.levels.values().any(|level| *level >= ffi::SQLITE_LOCK_RESERVED)
    }

    fn level(&self, handle: Handle) -> i32 {
        self.levels.get(&handle).copied().unwrap_or(ffi::SQLITE_LOCK_NONE)
    }

    fn others(&self, handle: Handle) -> i32 {
        let levels = self.levels.iter().filter(|(other, _)| **other != handle).map(|(_, level)| *level);
        levels.max().unwrap_or(ffi::SQLITE_LOCK_NONE)
    }

    /// True if the shared memory has this region.
    pub fn has_region(&self, region: usize) -> bool {
        region < self.memory.len()
    }

    /// Maps a region of the shared memory, which grows to it if `extend`.
    pub fn map(&mut self, handle: Handle, region: usize, size: usize, extend: bool) -> Option<Region> {
        self.mapped.entry(handle).or_default();
        while extend && !self.has_region(region) {
            self.memory.push((0..size / 8).map(|_| AtomicU64::new(0)).collect());
        }
        self.memory.get(region).cloned()
    }

    /// Takes locks of the shared memory.
    ///
    /// # Errors
    /// `SQLITE_BUSY` when another handle's lock excludes one of them.
    pub fn lock_memory(&mut self, handle: Handle, locks: u32, exclusively: bool) -> Result<(), i32> {
        let others = self.mapped.iter().filter(|(other, _)| **other != handle);
        let taken = others.fold(0, |taken, (_, other)| {
            taken | other.exclusive | if exclusively { other.shared } else { 0 }
        });
        if taken & locks != 0 {
            return Err(ffi::SQLITE_BUSY);
        }
        let own = self.mapped.get_mut(&handle).ok_or(ffi::SQLITE_IOERR_SHMLOCK)?;
        *(if exclusively { &mut own.exclusive } else { &mut own.shared }) |= locks;
        Ok(())
    }

    /// Releases locks of the shared memory.
    pub fn unlock_memory(&mut self, handle: Handle, locks: u32) {
        if let Some(own) = self.mapped.get_mut(&handle) {
            own.shared &= !locks;
            own.exclusive &= !locks;
        }
    }

    /// Unmaps the shared memory. It vanishes with the last handle that maps it.
    pub fn unmap(&mut self, handle: Handle) {
        self.mapped.remove(&handle);
        if self.mapped.is_empty() {
            self.memory.clear();
        }
    }

    /// Releases everything that a handle has.
    pub fn release(&mut self, handle: Handle) {
        self.levels.remove(&handle);
        self.unmap(handle);
    }
}
