//! Each crate is compiled once: programs, tests and optional features choose the same features of what they share.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// The features that are for use, as `scripts/toolchain.sh` has them.
const ALL: &str = "sekali-clients/stress-test,sekali-clients/tables,sekali-host/libsql,sekali-host/postgres";

/// The sets of features with which each crate, by name and version, is compiled.
fn features(arguments: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["tree", "--offline", "--workspace", "--prefix", "none", "--format", "{p}\t{f}"]);
    let output = command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut features = BTreeMap::<_, BTreeSet<_>>::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        // A crate whose tree was shown before has an asterisk.
        let Some((package, chosen)) = line.split_once('\t') else { continue };
        if !package.starts_with("sekali") {
            let name = package.replace(" (proc-macro)", "");
            features.entry(name).or_default().insert(chosen.trim_end_matches(" (*)").to_owned());
        }
    }
    features
}

#[test]
fn no_crate_is_compiled_again_for_other_features() {
    let fewest = features(&["--edges", "normal,build"]);
    let most = features(&["--edges", "normal,build,dev", "--features", ALL]);
    assert!(fewest.len() > 100, "{fewest:?}");
    for (package, chosen) in &fewest {
        let wanted = &most[package];
        assert!(
            chosen.is_subset(wanted),
            "{package} has the features {chosen:?} in programs, and {wanted:?} in tests or with optional features: name \
            the missing ones in features/Cargo.toml"
        );
    }
}

#[test]
fn scripts_and_aliases_build_with_these_features() {
    let read = |path| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let script = read("scripts/toolchain.sh");
    for feature in ALL.split(',') {
        assert!(script.contains(feature), "{feature}");
    }
    let aliases = read(".cargo/config.toml");
    for alias in aliases.lines().filter(|line| line.contains("--features")) {
        assert!(alias.contains(&format!("--features {ALL} ")), "{alias}");
    }
}
