//! The methods of open files.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::slice;
use std::sync::Arc;

use rusqlite::ffi::{self, sqlite3_file, sqlite3_int64, sqlite3_io_methods};

use crate::crash::disk::locks::Handle;
use crate::crash::disk::{Disk, Result};

/// What SQLite takes for a `sqlite3_file`.
#[repr(C)]
pub struct OpenFile {
    /// Its methods.
    pub base: sqlite3_file,
    /// The rest of it.
    pub inside: *mut Inside,
}

/// The rest of an open file.
pub struct Inside {
    /// The disk that it is on.
    pub disk: Arc<Disk>,
    /// Its handle there.
    pub handle: Handle,
}

/// The methods of an open file.
pub static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 2, // with shared memory, without memory-mapped files
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(size),
    xLock: Some(raise_lock),
    xUnlock: Some(lower_lock),
    xCheckReservedLock: Some(check_reserved),
    xFileControl: Some(control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: Some(map),
    xShmLock: Some(lock_memory),
    xShmBarrier: Some(barrier),
    xShmUnmap: Some(unmap),
    xFetch: None,
    xUnfetch: None,
};

/// The code of a result.
pub fn code(result: Result<()>) -> c_int {
    result.err().unwrap_or(ffi::SQLITE_OK)
}

/// A place in a file or a buffer.
pub fn place(offset: sqlite3_int64) -> usize {
    usize::try_from(offset).unwrap_or_default()
}

/// Puts the value of a result where SQLite wants it, and returns the code.
///
/// # Safety
/// `to` is valid for a write.
pub unsafe fn put<T>(to: *mut T, result: Result<T>) -> c_int {
    match result {
        Ok(value) => {
            // SAFETY: the caller promises it.
            unsafe { to.write(value) };
            ffi::SQLITE_OK
        }
        Err(code) => code,
    }
}

/// The inside of an open file.
///
/// # Safety
/// `file` was opened by this file system, and is not closed while the reference is in use.
unsafe fn inside<'a>(file: *mut sqlite3_file) -> &'a Inside {
    // SAFETY: it was made to point to a box that only `close` frees.
    unsafe { &*(*file.cast::<OpenFile>()).inside }
}

// SAFETY: all functions below are methods of `METHODS`. SQLite alone calls them, with the pointers that the head of this
// room names.

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    unsafe {
        let file = file.cast::<OpenFile>();
        let inside = Box::from_raw((*file).inside);
        (*file).base.pMethods = ptr::null();
        inside.disk.close(inside.handle);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut sqlite3_file,
    buffer: *mut c_void,
    length: c_int,
    offset: sqlite3_int64,
) -> c_int {
    let (inside, buffer) = unsafe {
        ptr::write_bytes(buffer.cast::<u8>(), 0, place(length.into())); // what lies behind the end reads as zeros
        (inside(file), slice::from_raw_parts_mut(buffer.cast::<u8>(), place(length.into())))
    };
    match inside.disk.read(inside.handle, place(offset), buffer) {
        Ok(read) if read < buffer.len() => ffi::SQLITE_IOERR_SHORT_READ,
        result => code(result.map(drop)),
    }
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    buffer: *const c_void,
    length: c_int,
    offset: sqlite3_int64,
) -> c_int {
    let (inside, bytes) =
        unsafe { (inside(file), slice::from_raw_parts(buffer.cast::<u8>(), place(length.into()))) };
    code(inside.disk.write(inside.handle, place(offset), bytes))
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, length: sqlite3_int64) -> c_int {
    let inside = unsafe { inside(file) };
    code(inside.disk.truncate(inside.handle, place(length)))
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, _: c_int) -> c_int {
    let inside = unsafe { inside(file) };
    code(inside.disk.sync(inside.handle))
}

unsafe extern "C" fn size(file: *mut sqlite3_file, size: *mut sqlite3_int64) -> c_int {
    unsafe {
        let inside = inside(file);
        put(size, inside.disk.size(inside.handle).map(|size| size as sqlite3_int64))
    }
}

unsafe extern "C" fn raise_lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    let inside = unsafe { inside(file) };
    code(inside.disk.lock(inside.handle, level))
}

unsafe extern "C" fn lower_lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    let inside = unsafe { inside(file) };
    code(inside.disk.unlock(inside.handle, level))
}

unsafe extern "C" fn check_reserved(file: *mut sqlite3_file, is_reserved: *mut c_int) -> c_int {
    unsafe {
        let inside = inside(file);
        put(is_reserved, inside.disk.is_reserved(inside.handle).map(c_int::from))
    }
}

unsafe extern "C" fn control(_: *mut sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut sqlite3_file) -> c_int {
    4096 // as SQLite's own file system for Unix says
}

unsafe extern "C" fn characteristics(_: *mut sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE // the same; an image keeps what lies beside a write
}

unsafe extern "C" fn map(
    file: *mut sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    memory: *mut *mut c_void,
) -> c_int {
    unsafe {
        let inside = inside(file);
        let region = place(region.into());
        let mapped = inside.disk.map(inside.handle, region, place(size.into()), extend != 0);
        put(
            memory,
            mapped.map(|region| {
                region.map_or(ptr::null_mut(), |region| region.as_ptr().cast_mut().cast::<c_void>())
            }),
        )
    }
}

unsafe extern "C" fn lock_memory(file: *mut sqlite3_file, first: c_int, count: c_int, flags: c_int) -> c_int {
    let inside = unsafe { inside(file) };
    let locks = ((1 << count) - 1) << first;
    code(if flags & ffi::SQLITE_SHM_LOCK != 0 {
        inside.disk.lock_memory(inside.handle, locks, flags & ffi::SQLITE_SHM_EXCLUSIVE != 0)
    } else {
        inside.disk.unlock_memory(inside.handle, locks)
    })
}

unsafe extern "C" fn barrier(_: *mut sqlite3_file) {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

unsafe extern "C" fn unmap(file: *mut sqlite3_file, _: c_int) -> c_int {
    let inside = unsafe { inside(file) };
    code(inside.disk.unmap(inside.handle))
}
