//! SQLite's file systems (VFS), each of which leads to a [`Disk`].
//!
//! # Safety
//!
//! This is the one room of the crate with unsafe code. It hands pointers between SQLite and [`Disk`], which is safe code
//! with a lock around it, and relies on the following.
//!
//! - SQLite calls a method only with the pointers that its documentation promises: a file that `open` has filled in and
//!   that was not closed, names that end with zero, buffers of the length that is passed beside them, and valid places
//!   for results (<https://sqlite.org/c3ref/vfs.html>, <https://sqlite.org/c3ref/io_methods.html>).
//! - `open` writes an `OpenFile` into the `szOsFile` bytes that SQLite reserves for it, begins it with the methods,
//!   and fills in a box that `close` alone takes back. Where `open` fails it leaves no methods, so nothing is called.
//! - File systems are never freed: a connection may have a pointer to one for as long as it likes. They are used again.
//! - Shared memory consists of atomic integers, which may change behind a shared reference, and [`Disk`] holds it until
//!   every handle that mapped it has unmapped it or was closed. SQLite uses a pointer to it no longer than that.

#![allow(unsafe_code)]

mod file;

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;
use std::slice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::ffi::{self, sqlite3_file, sqlite3_int64, sqlite3_vfs};

use self::file::{Inside, METHODS, OpenFile, code, place, put};
use super::disk::{Disk, Result};

/// The longest name of a file.
const LONGEST_NAME: c_int = 255;

/// A file system without a disk may get one.
static IDLE: Mutex<Vec<&'static FileSystem>> = Mutex::new(Vec::new());

/// The number of file systems.
static COUNT: Mutex<u32> = Mutex::new(0);

/// A file system that SQLite knows by its name.
struct FileSystem {
    name: CString,
    disk: Mutex<Option<Arc<Disk>>>,
}

/// A disk that SQLite can open files on.
pub struct Mount(&'static FileSystem);

impl Mount {
    /// Mounts a disk.
    pub fn new(disk: Arc<Disk>) -> Self {
        let idle = lock(&IDLE).pop();
        let file_system = idle.unwrap_or_else(register);
        *lock(&file_system.disk) = Some(disk);
        Self(file_system)
    }

    /// The address of a file on it, as SQLite takes it (<https://sqlite.org/uri.html>).
    pub fn uri(&self, file: &str) -> String {
        format!("file:/{file}?vfs={}", self.0.name.to_string_lossy())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        *lock(&self.0.disk) = None;
        lock(&IDLE).push(self.0);
    }
}

/// Adds one more file system to SQLite.
fn register() -> &'static FileSystem {
    let mut count = lock(&COUNT);
    *count += 1;
    let name = CString::new(format!("crash-{count}")).unwrap_or_default();
    let file_system: &'static FileSystem = Box::leak(Box::new(FileSystem { name, disk: Mutex::new(None) }));
    let vfs = Box::leak(Box::new(sqlite3_vfs {
        iVersion: 2,
        szOsFile: size_of::<OpenFile>() as c_int,
        mxPathname: LONGEST_NAME,
        pNext: ptr::null_mut(),
        zName: file_system.name.as_ptr(),
        pAppData: ptr::from_ref(file_system).cast_mut().cast(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_name),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: None,
        xGetLastError: None,
        xCurrentTimeInt64: Some(current_time),
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    }));
    // SAFETY: the file system and its name are never freed, and all its methods are below.
    let code = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
    assert_eq!(code, ffi::SQLITE_OK, "SQLite takes no further file system");
    file_system
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The disk of a file system.
///
/// # Safety
/// `vfs` is one that [`register`] made.
unsafe fn disk(vfs: *mut sqlite3_vfs) -> Result<Arc<Disk>> {
    // SAFETY: `register` made it point to a file system that is never freed.
    let file_system = unsafe { &*(*vfs).pAppData.cast::<FileSystem>() };
    lock(&file_system.disk).clone().ok_or(ffi::SQLITE_IOERR)
}

/// A name.
///
/// # Safety
/// `name` is a text that ends with zero and outlives the result, or null.
unsafe fn text<'a>(name: *const c_char) -> Result<Option<&'a str>> {
    if name.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller promises it.
    unsafe { CStr::from_ptr(name) }.to_str().map(Some).map_err(|_| ffi::SQLITE_CANTOPEN)
}

// SAFETY: all functions below are methods of `register`'s file systems. SQLite alone calls them, with
// the pointers that the head of this room names.

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    unsafe {
        let file = file.cast::<OpenFile>();
        file.write(OpenFile { base: sqlite3_file { pMethods: ptr::null() }, inside: ptr::null_mut() });
        let opened = disk(vfs).and_then(|disk| {
            let handle = disk.open(text(name)?, flags)?;
            Ok(Inside { disk, handle })
        });
        match opened {
            Ok(inside) => {
                let inside = Box::into_raw(Box::new(inside));
                file.write(OpenFile { base: sqlite3_file { pMethods: &raw const METHODS }, inside });
                if !flags_out.is_null() {
                    flags_out.write(flags);
                }
                ffi::SQLITE_OK
            }
            Err(code) => code,
        }
    }
}

unsafe extern "C" fn delete(vfs: *mut sqlite3_vfs, name: *const c_char, sync_names: c_int) -> c_int {
    let deleted =
        unsafe { disk(vfs).and_then(|disk| disk.delete(text(name)?.unwrap_or_default(), sync_names != 0)) };
    code(deleted)
}

unsafe extern "C" fn access(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    _: c_int,
    exists: *mut c_int,
) -> c_int {
    unsafe {
        put(exists, disk(vfs).and_then(|disk| Ok(disk.exists(text(name)?.unwrap_or_default())?.into())))
    }
}

unsafe extern "C" fn full_name(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    full: *mut c_char,
) -> c_int {
    unsafe {
        let bytes = CStr::from_ptr(name).to_bytes_with_nul();
        if bytes.len() > place(room.into()) {
            return ffi::SQLITE_CANTOPEN;
        }
        ptr::copy_nonoverlapping(bytes.as_ptr().cast(), full, bytes.len());
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn randomness(_: *mut sqlite3_vfs, count: c_int, bytes: *mut c_char) -> c_int {
    let bytes = unsafe { slice::from_raw_parts_mut(bytes.cast::<u8>(), place(count.into())) };
    bytes.fill_with(|| fastrand::u8(..));
    count
}

unsafe extern "C" fn sleep(_: *mut sqlite3_vfs, microseconds: c_int) -> c_int {
    microseconds // the clock of a disk in memory stands still
}

unsafe extern "C" fn current_time(vfs: *mut sqlite3_vfs, time: *mut sqlite3_int64) -> c_int {
    /// The beginning of 1970 in milliseconds of the Julian calendar.
    const EPOCH: i64 = 210_866_760_000_000;
    unsafe { put(time, disk(vfs).map(|disk| EPOCH + disk.time().as_millis() as i64)) }
}

#[cfg(test)]
mod tests;
