//! Programs of Debian's packages that tests use and that run no service.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::artifacts::repository;

/// A program such as `/usr/sbin/nginx`: where it is installed, or where `take_out` of scripts/toolchain.sh has put it.
///
/// # Errors
/// When it is in neither place.
pub fn program(path: &str) -> Result<PathBuf> {
    let name = Path::new(path).file_name().unwrap_or_default();
    let taken_out = repository().join("target").join(name).join(path.trim_start_matches('/'));
    let found = [PathBuf::from(path), taken_out].into_iter().find(|program| program.exists());
    found.with_context(|| format!("{path} is missing: run scripts/test once, or install its package"))
}
