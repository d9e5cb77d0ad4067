//! The version stands in Cargo.toml, and wherever a file that no compiler reads has to repeat it.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::path::Path;

/// Where it is repeated: a file, what stands before it and behind it there, and how often.
const PLACES: [(&str, &str, &str, usize); 7] = [
    ("spin.toml", "\nversion = \"", "\"", 1),
    ("spin.postgres.toml", "\nversion = \"", "\"", 1),
    ("openapi.json", "\"version\": \"", "\"", 4),
    ("openapi.json", "sekali_build_info{version=\\\"", "\\\"", 1),
    ("deploy/spinapp.yaml", "/sekali:", "\n", 1),
    ("docs/OPERATIONS.md", "tar -xzf sekali-", "-x86_64", 1),
    ("docs/OPERATIONS.md", "&& cd sekali-", "-x86_64", 1),
];

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn every_place_has_the_version_of_cargo_toml() {
    let version = env!("CARGO_PKG_VERSION");
    let mut wrong = Vec::new();
    for (path, before, after, at_least) in PLACES {
        let text = read(path);
        let found: Vec<_> = text.split(before).skip(1).filter_map(|rest| rest.split(after).next()).collect();
        assert!(found.len() >= at_least, "{path} has {before:?} {} times, not {at_least}", found.len());
        wrong.extend(found.iter().filter(|found| **found != version).map(|found| format!("{path}: {found}")));
    }
    assert!(wrong.is_empty(), "Cargo.toml has {version}, but: {wrong:#?}");
    assert!(read("CHANGELOG.md").contains(&format!("\n## {version} - ")), "CHANGELOG.md has no {version}");
}

/// It is about all releases that differ in their last number.
#[test]
fn the_status_in_the_readme_is_that_of_the_version() {
    let status =
        concat!("**Status**: ", env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"), ",");
    assert!(read("README.md").contains(status), "README.md does not have {status:?}");
}

#[test]
fn images_that_build_have_the_rust_of_cargo_toml() {
    let image = format!("rust:{}-bookworm", env!("CARGO_PKG_RUST_VERSION"));
    for path in [".devcontainer/devcontainer.json", ".github/workflows/ci.yml"] {
        assert!(read(path).contains(&image), "{path} does not have {image}");
    }
}
