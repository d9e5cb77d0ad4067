//! Calls of the file system that fail on purpose.

use rusqlite::ffi;

/// A call of SQLite to the file system that may fail. Unlocking and closing never do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Opens a file that exists.
    Open,
    /// Opens a file that it creates.
    Create,
    /// Removes a file.
    Delete,
    /// Asks for a file by its name.
    Access,
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Changes the length of a file.
    Truncate,
    /// Makes a file safe.
    Sync,
    /// Asks for the length of a file.
    Size,
    /// Takes a lock of a file.
    Lock,
    /// Maps shared memory.
    Map,
    /// Maps more shared memory than there is.
    Extend,
    /// Takes a lock of shared memory.
    LockMemory,
}

/// A reason to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// EIO: any call fails.
    Broken,
    /// ENOSPC: calls that need more room fail.
    Full,
}

impl Cause {
    /// SQLite's code for the failed call, as its own file system for Unix returns it; `None` if the call does not fail
    /// for this cause.
    pub fn code(self, call: Call) -> Option<i32> {
        match (self, call) {
            (Self::Full, Call::Write) => Some(ffi::SQLITE_FULL),
            (Self::Full, Call::Extend) => Some(ffi::SQLITE_IOERR_SHMSIZE),
            (_, Call::Create) => Some(ffi::SQLITE_CANTOPEN),
            (Self::Full, _) => None,
            (Self::Broken, call) => Some(match call {
                Call::Open | Call::Create => ffi::SQLITE_CANTOPEN,
                Call::Delete => ffi::SQLITE_IOERR_DELETE,
                Call::Access => ffi::SQLITE_IOERR_ACCESS,
                Call::Read => ffi::SQLITE_IOERR_READ,
                Call::Write => ffi::SQLITE_IOERR_WRITE,
                Call::Truncate => ffi::SQLITE_IOERR_TRUNCATE,
                Call::Sync => ffi::SQLITE_IOERR_FSYNC,
                Call::Size => ffi::SQLITE_IOERR_FSTAT,
                Call::Lock => ffi::SQLITE_IOERR_LOCK,
                Call::Map => ffi::SQLITE_IOERR_SHMMAP,
                Call::Extend => ffi::SQLITE_IOERR_SHMSIZE,
                Call::LockMemory => ffi::SQLITE_IOERR_SHMLOCK,
            }),
        }
    }
}

/// Calls that fail: so many, from one of those on that can fail for this cause.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The reason.
    pub cause: Cause,
    /// The first that fails, counted from 0.
    pub first: u64,
    /// The number of them.
    pub calls: u64,
}

/// The calls of a disk, and which of them fail.
#[derive(Default)]
pub struct Faults {
    fault: Option<Fault>,
    /// Calls that could fail for the cause.
    seen: u64,
    failed: Vec<Call>,
}

impl Faults {
    /// Lets calls fail, counted from now on; none with `None`.
    pub fn set(&mut self, fault: Option<Fault>) {
        *self = Self { fault, ..Self::default() };
    }

    /// True if what a failed sync has left unsynced is lost for good, as on Linux, and cannot be synced later.
    ///
    /// A lone failure is enough to find out if a connection trusts what it could not sync. If other calls fail, too, or
    /// the process is killed at that moment, no connection is left that knows of it: the next one finds the transaction
    /// in the log and trusts it, and a power cut then takes with it what was written behind it. That is SQLite's, and
    /// nothing that the service could mend; so it is not tried.
    pub fn sync_forgets(&self) -> bool {
        self.fault.is_some_and(|fault| fault.calls == 1)
    }

    /// The number of calls since then that could fail for the cause.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The calls that have failed since this was last asked.
    pub fn take_failed(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.failed)
    }

    /// Counts a call, and says if it fails.
    ///
    /// # Errors
    /// SQLite's code for it.
    pub fn check(&mut self, call: Call) -> Result<(), i32> {
        let Some(Fault { cause, first, calls }) = self.fault else { return Ok(()) };
        let Some(code) = cause.code(call) else { return Ok(()) };
        let place = self.seen;
        self.seen += 1;
        if place < first || place - first >= calls {
            return Ok(());
        }
        self.failed.push(call);
        Err(code)
    }
}
