//! Lists the migrations of the component's SQLite store, which `sekali-host restore` applies to older copies.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let directory = manifest.join("../src/store/sqlite/migrations");
    println!("cargo::rerun-if-changed={}", directory.display());
    let mut files = fs::read_dir(&directory)?
        .map(|entry| entry?.path().canonicalize())
        .collect::<io::Result<Vec<_>>>()?;
    files.sort(); // their names begin with their numbers
    let list: String = files.iter().map(|file| format!("include_str!({file:?}),\n")).collect();
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("migrations.rs"), format!("&[\n{list}]\n"))
}
