//! The direction of things: no file uses one that stands above it, and none uses itself by way of others.
//!
//! The rooms of the component, and what each may use, are those of `src/lib.rs`.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of the component and the rooms that each may use, beside itself.
const ROOMS: [(&str, &[&str]); 19] = [
    (
        "spin",
        &["http", "committer", "reader", "tail", "ingest", "store", "event", "payload", "clock", "limits"],
    ),
    (
        "http",
        &[
            "committer",
            "reader",
            "tail",
            "eraser",
            "retention",
            "history",
            "topics",
            "yield_to_writers",
            "receivers",
            "consumers",
            "ingest",
            "store",
            "event",
            "payload",
            "clock",
            "limits",
        ],
    ),
    ("eraser", &["store", "event"]),
    ("retention", &["store", "event", "clock", "yield_to_writers"]),
    ("history", &["store", "event", "clock"]),
    ("topics", &["store", "event"]),
    ("yield_to_writers", &["clock"]),
    ("tail", &["reader", "store", "event", "clock"]),
    ("committer", &["store", "event", "clock"]),
    ("reader", &["store", "event"]),
    ("consumers", &["reader", "store", "event", "payload", "clock"]),
    ("receivers", &["ingest", "event", "payload"]),
    ("ingest", &["event", "payload", "limits"]),
    ("store", &["event", "payload", "clock"]),
    ("event", &["payload"]),
    ("payload", &[]),
    ("clock", &[]),
    ("limits", &[]),
    ("lib", &["*"]),
];

#[test]
fn no_room_uses_one_above_it() {
    let files = Files::of("src");
    for (file, text) in &files.0 {
        let room = file.split("::").next().unwrap();
        let (_, allowed) =
            ROOMS.iter().find(|(name, _)| *name == room).unwrap_or_else(|| panic!("{room} is a new room"));
        for used in files.uses(file, text) {
            let used = used.split("::").next().unwrap();
            assert!(used == room || allowed.contains(&used) || allowed == &["*"], "{file} uses {used}");
        }
        assert!(room == "spin" || !text.contains("spin_sdk"), "{file} uses spin_sdk, outside src/spin");
    }
}

#[test]
fn no_file_uses_itself_by_way_of_others() {
    for crate_sources in [
        "src",
        "host/src",
        "verify/harness/src",
        "verify/model/src",
        "clients/src",
        "bench/src",
        "common/src",
        "pages/src",
    ] {
        let files = Files::of(crate_sources);
        let uses: BTreeMap<_, _> =
            files.0.iter().map(|(file, text)| (file.as_str(), files.uses(file, text))).collect();
        for file in uses.keys() {
            let mut path = vec![(*file).to_owned()];
            let circle = find_circle(&uses, &mut path, &mut BTreeSet::new());
            assert!(!circle, "{crate_sources}: {}", path.join(" -> "));
        }
    }
}

/// Follows the uses of the last file of `path`, until they lead to the first.
fn find_circle(
    uses: &BTreeMap<&str, BTreeSet<String>>,
    path: &mut Vec<String>,
    seen: &mut BTreeSet<String>,
) -> bool {
    for used in uses.get(path.last().unwrap().as_str()).into_iter().flatten() {
        path.push(used.clone());
        if *used == path[0] || seen.insert(used.clone()) && find_circle(uses, path, seen) {
            return true;
        }
        path.pop();
    }
    false
}

/// The files of a crate by their module paths, without their tests.
struct Files(BTreeMap<String, String>);

impl Files {
    fn of(directory: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        let mut files = BTreeMap::new();
        let mut open = vec![root.clone()];
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let module = module(&root, &path);
                let text = fs::read_to_string(&path).unwrap();
                // Unit tests may look wherever they want.
                let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
                let is_test = module.ends_with("::tests") || module.starts_with("testing");
                if !is_test {
                    files.insert(module, without_comments(text));
                }
            }
        }
        assert!(!files.is_empty(), "{directory} has no sources");
        Self(files)
    }

    /// The files that a file uses: the longest module path of each `crate::`, `super::` and `self::` path in it. A
    /// module that only names its children is no user of them.
    fn uses(&self, file: &str, text: &str) -> BTreeSet<String> {
        let parent = file.rsplit_once("::").map_or("", |(parent, _)| parent);
        let mut used = BTreeSet::new();
        for (prefix, base) in [("crate::", ""), ("super::", parent), ("self::", file)] {
            for (at, _) in text.match_indices(prefix) {
                if text[..at].ends_with(|before: char| before.is_alphanumeric() || before == ':') {
                    continue;
                }
                for path in paths(&text[at + prefix.len()..]) {
                    let full = if base.is_empty() { path } else { format!("{base}::{path}") };
                    used.extend(self.file_of(&full).filter(|used| used != file));
                }
            }
        }
        used
    }

    /// The file with the longest path that `path` begins with.
    fn file_of(&self, path: &str) -> Option<String> {
        let parts: Vec<_> = path.split("::").collect();
        (1..=parts.len())
            .rev()
            .map(|length| parts[..length].join("::"))
            .find(|path| self.0.contains_key(path))
    }
}

/// The module path of a file.
fn module(root: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(root).unwrap().with_extension("");
    let relative = if relative.ends_with("mod") { relative.parent().unwrap().to_owned() } else { relative };
    let parts: Vec<_> =
        PathBuf::from(&relative).iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    parts.join("::")
}

/// The text without line comments: documentation may name anything.
fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The paths at the start of a text: one, or those in the braces of a `use`.
fn paths(text: &str) -> Vec<String> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    let (start, rest) = text.split_at(end);
    match rest.strip_prefix('{').and_then(|list| list.split_once('}')) {
        Some((list, _)) => list.split(',').map(|item| format!("{start}{}", item.trim())).collect(),
        None => vec![start.to_owned()],
    }
}

#[test]
fn paths_are_found_in_every_form_of_use() {
    assert_eq!(paths("store::Seq;"), ["store::Seq"]);
    assert_eq!(paths("store::{self, sqlite::Pool};"), ["store::self", "store::sqlite::Pool"]);
}
