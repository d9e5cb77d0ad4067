//! The documents: each file, function, type, setting and option that they name is in the repository.
//!
//! `CHANGELOG.md` is history, and may name what is gone. Names of other programs are listed here.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Folders that are not in git.
const NOT_OURS: [&str; 4] = ["target", ".git", ".sekali", ".tools"];

/// A word of a document with such an end is taken for the name of a file.
const EXTENSIONS: [&str; 12] =
    ["rs", "sql", "toml", "sh", "js", "mjs", "json", "yaml", "conf", "service", "socket", "md"];

/// Abbreviations that a document introduces: the document, what it writes, and what that stands for.
const ABBREVIATIONS: [(&str, &str, &str); 2] = [
    ("docs/RELIABILITY.md", "http/", "tests/http/"),
    ("docs/RELIABILITY.md", "store/tests.rs", "src/store/sqlite/tests.rs"),
];

/// Where each script's program declares its options; the script itself may take more.
const PROGRAMS: [(&str, &str); 8] = [
    ("scripts/up", "host/src/main.rs"),
    ("scripts/backup", "host/src/main.rs"),
    ("scripts/restore", "host/src/main.rs"),
    ("scripts/publisher", "clients/src/publisher/cli.rs"),
    ("scripts/forwarder", "clients/src/forwarder/cli.rs"),
    ("scripts/stress-test", "clients/src/stress_test/cli.rs"),
    ("scripts/bench", "bench/src/main.rs"),
    ("scripts/torture", "verify/experiments/src/main.rs"),
];

/// Files that are made by `scripts/bench` and `scripts/release`, that operators make, that belong to sqld, and a word that
/// looks like one.
const OTHER_FILES: [&str; 7] = [
    "bench.json",
    "hooks.json",
    "peers.md",
    "systemd/sekali.service",
    "systemd/sekali.socket",
    "libsql-server/src/connection/connection_manager.rs",
    "Node.js",
];

/// Names of sqld, PostgreSQL, PgBouncer, Traefik, SQL and shippers of logs, and of examples.
const OTHER_NAMES: [&str; 33] = [
    "connection_manager",
    "schedule_next",
    "libsql_server::connection",
    "Parker",
    "Unparker",
    "Notified",
    "RUST_LOG",
    "SQLITE_BUSY_SNAPSHOT",
    "statement_timeout",
    "max_prepared_statements",
    "respondingTimeouts",
    "readTimeout",
    "RETURNING",
    "created_at",
    "LAST",
    "id_key",
    "generate_id",
    "write_operation",
    "retry_limit",
    "uuid_v7",
    "when_full",
    "add_id",
    "retry_forever",
    "overflow_action",
    "file_storage",
    "max_elapsed_time",
    "batch_size",
    "chunk_limit_size",
    "include_file_record_offset",
    "max_events",
    "newline_delimited",
    "block_on_overflow",
    "pause_on_chunks_overlimit",
];

/// Options of curl, systemctl, Spin and sqld.
const OTHER_OPTIONS: [&str; 6] = [
    "--data-binary",
    "--now",
    "--failed",
    "--max-instance-reuse-count",
    "--idle-instance-timeout",
    "--http-listen-addr",
];

#[test]
fn each_file_exists() {
    let repository = Repository::read();
    let mut named = 0;
    let mut missing = Vec::new();
    for document in Document::all(&repository) {
        for text in &document.texts {
            for word in text.words(|c| !c.is_whitespace() && !"()[]{},;\"'=|`#".contains(c)) {
                let Some(path) = repository.path(&document, text, word) else { continue };
                named += 1;
                if !repository.has(&path) && !OTHER_FILES.contains(&path.as_str()) {
                    missing.push(format!("{}:{}: {word}", document.name, text.line));
                }
            }
        }
    }
    assert!(missing.is_empty(), "no such file:\n{}", missing.join("\n"));
    assert!(named > 200, "{named} files");
}

#[test]
fn each_name_occurs_in_the_sources() {
    let repository = Repository::read();
    let sources = || repository.files.iter().filter(|(path, _)| is_source(path));
    let words: BTreeSet<_> = sources().flat_map(|(_, text)| text.split(|c| !is_name_part(c))).collect();
    let manifests = [&repository.files["spin.toml"], &repository.files["spin.postgres.toml"]];
    let is_setting = |name: &str| manifests.iter().any(|text| text.contains(&format!("\n{name} = {{")));
    let mut named = 0;
    let mut missing = Vec::new();
    for document in Document::all(&repository) {
        for text in document.texts.iter().filter(|text| text.is_code || text.is_block) {
            for word in text.words(|c| is_name_part(c) || c == ':').filter(|word| text.is_name(word)) {
                named += 1;
                let is_known = if let Some(setting) = word.strip_prefix("SPIN_VARIABLE_") {
                    is_setting(&setting.to_lowercase()) || setting == "NAME"
                } else if word.contains("::") {
                    sources().any(|(_, text)| word.split("::").all(|part| has_word(text, part)))
                } else {
                    words.contains(word)
                };
                if !is_known && !OTHER_NAMES.contains(&word) {
                    missing.push(format!("{}:{}: {word}", document.name, text.line));
                }
            }
        }
    }
    assert!(missing.is_empty(), "not in the sources:\n{}", missing.join("\n"));
    assert!(named > 300, "{named} names");
}

#[test]
fn each_test_of_a_promise_is_in_the_file_that_is_named_before_it() {
    let repository = Repository::read();
    let document = Document::read(&repository, "docs/RELIABILITY.md");
    let mut file = None;
    let mut found = 0;
    for text in document.texts.iter().filter(|text| text.is_code) {
        if text.text.ends_with(".rs") {
            file = repository.path(&document, text, &text.text).map(|path| (text.line, path));
        } else if text.text.matches('_').count() > 2 && text.text.chars().all(is_name_part) {
            let (line, path) = file.as_ref().unwrap();
            assert_eq!(*line, text.line, "no file before {}", text.text);
            let is_there =
                repository.files.get(path).is_some_and(|file| file.contains(&format!("fn {}(", text.text)));
            assert!(is_there, "docs/RELIABILITY.md:{line}: {path} has no {}", text.text);
            found += 1;
        }
    }
    assert!(found > 50, "{found} tests");
}

#[test]
fn each_option_is_one_of_its_program() {
    let repository = Repository::read();
    let options = |script: &str, source: &str| -> BTreeSet<String> {
        options_of_script(&repository.files[script])
            .chain(options_of_source(&repository.files[source]))
            .collect()
    };
    let by_program: BTreeMap<_, _> =
        PROGRAMS.into_iter().map(|(script, source)| (script, options(script, source))).collect();
    let mut all: BTreeSet<_> = by_program.values().flatten().cloned().collect();
    let scripts = repository.files.iter().filter(|(path, _)| path.starts_with("scripts/"));
    all.extend(scripts.flat_map(|(_, text)| options_of_script(text)));
    let mut named = 0;
    let mut unknown = Vec::new();
    for document in Document::all(&repository) {
        for text in document.texts.iter().filter(|text| text.is_code || text.is_block) {
            let (mut program, mut is_value) = (None, false);
            for word in text.words(|c| !c.is_whitespace() && !"()[]{},;\"'`=".contains(c)) {
                let is_option =
                    word.strip_prefix("--").is_some_and(|name| name.starts_with(char::is_alphabetic));
                if !is_option {
                    if ["|", "&", "&&"].contains(&word) {
                        program = None;
                    } else if !is_value {
                        program = by_program.get(word).or(program);
                    }
                    is_value = false;
                    continue;
                }
                (named, is_value) = (named + 1, true);
                let word = word.trim_end_matches(['.', ':']);
                let is_known = program.unwrap_or(&all).contains(word) || word == "--help";
                if !is_known && (program.is_some() || !OTHER_OPTIONS.contains(&word)) {
                    unknown.push(format!("{}:{}: {word}", document.name, text.line));
                }
            }
        }
    }
    assert!(unknown.is_empty(), "no such option:\n{}", unknown.join("\n"));
    assert!(named > 80, "{named} options");
}

/// Every text file of the repository, by its path.
struct Repository {
    files: BTreeMap<String, String>,
    folders: BTreeSet<String>,
}

impl Repository {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut repository = Self { files: BTreeMap::new(), folders: BTreeSet::new() };
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(root.join(&folder)).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                let path = format!("{folder}{name}");
                if !entry.file_type().unwrap().is_dir() {
                    let bytes = fs::read(entry.path()).unwrap_or_default();
                    repository.files.insert(path, String::from_utf8(bytes).unwrap_or_default());
                } else if !NOT_OURS.contains(&name.as_str()) {
                    repository.folders.insert(path.clone());
                    folders.push(path + "/");
                }
            }
        }
        repository
    }

    /// The path that `word` of a document names, if it names one: from the root where it begins with a folder of the
    /// root, else the end of one.
    fn path(&self, document: &Document, text: &Text, word: &str) -> Option<String> {
        let word = word.trim_end_matches(['.', ':']);
        let is_made_or_elsewhere = word.starts_with("target/") || word.contains("://");
        if is_made_or_elsewhere || word.contains(['<', '>', '$', '@', '…']) {
            return None;
        }
        let word = word.strip_prefix("../").unwrap_or(word);
        let word = ABBREVIATIONS
            .iter()
            .find_map(|(name, short, long)| {
                word.strip_prefix(short)
                    .filter(|_| *name == document.name)
                    .map(|rest| format!("{long}{rest}"))
            })
            .unwrap_or_else(|| word.to_owned());
        let is_folder =
            text.is_code && word.len() > 1 && word.ends_with('/') && !word.starts_with(['/', '.']);
        let has_extension = word.rsplit_once('.').is_some_and(|(name, extension)| {
            name.ends_with(|c: char| is_name_part(c) || c == '*') && EXTENSIONS.contains(&extension)
        });
        let is_path =
            self.is_from_root(&word) || is_folder || (has_extension && !word.starts_with(['/', '.']));
        is_path.then_some(word)
    }

    fn is_from_root(&self, path: &str) -> bool {
        path.split_once('/').is_some_and(|(first, _)| self.folders.contains(first))
    }

    fn has(&self, path: &str) -> bool {
        let name = path.trim_end_matches('/');
        let is_it = |known: &str| match name.split_once('*') {
            Some((start, end)) => {
                known.len() >= start.len() + end.len() && known.starts_with(start) && known.ends_with(end)
            }
            None => known == name,
        };
        let is_from_root = self.is_from_root(path);
        let places = self.files.keys().filter(|_| !path.ends_with('/')).chain(&self.folders);
        places.into_iter().any(|known| {
            is_it(known)
                || !is_from_root && known.match_indices('/').any(|(slash, _)| is_it(&known[slash + 1..]))
        })
    }
}

struct Document {
    name: String,
    texts: Vec<Text>,
}

/// A piece of a document: prose, code within prose, or a line of a block of code.
struct Text {
    line: usize,
    text: String,
    is_code: bool,
    is_block: bool,
}

impl Document {
    fn all(repository: &Repository) -> Vec<Self> {
        let docs = repository.files.keys().filter(|path| path.starts_with("docs/") && path.ends_with(".md"));
        let roots = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].into_iter();
        roots.chain(docs.map(String::as_str)).map(|name| Self::read(repository, name)).collect()
    }

    fn read(repository: &Repository, name: &str) -> Self {
        let mut texts = Vec::new();
        let (mut is_block, mut is_code) = (false, false);
        for (index, line) in repository.files[name].lines().enumerate() {
            let mut add = |text: &str, is_code| {
                texts.push(Text { line: index + 1, text: text.to_owned(), is_code, is_block });
            };
            if line.trim_start().starts_with("```") {
                is_block = !is_block;
            } else if is_block {
                add(line, false);
            } else {
                for (part, text) in line.split('`').enumerate() {
                    is_code ^= part > 0;
                    add(text, is_code);
                }
            }
        }
        Self { name: name.to_owned(), texts }
    }
}

impl Text {
    fn words(&self, is_part: impl Fn(char) -> bool) -> impl Iterator<Item = &str> {
        self.text.split(move |c| !is_part(c)).filter(|word| !word.is_empty())
    }

    /// Whether `word` is a name of the sources: of a setting in a block, else also `module::function`,
    /// `snake_case`, `CamelCase`, or a single capitalised word.
    fn is_name(&self, word: &str) -> bool {
        let is_constant = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let has = |is_it: fn(&char) -> bool| word.chars().any(|c| is_it(&c));
        if word.ends_with(['_', ':']) || word.starts_with(|c: char| !c.is_ascii_alphabetic()) {
            false
        } else if self.is_block {
            word.starts_with("SPIN_VARIABLE_")
        } else if word.contains("::") {
            true
        } else if word.contains(':') {
            false
        } else if word.contains('_') {
            word.chars().all(is_constant) || !has(char::is_ascii_uppercase)
        } else {
            let is_camel =
                word[1..].contains(|c: char| c.is_ascii_uppercase()) && has(char::is_ascii_lowercase);
            is_camel || word == self.text && word.starts_with(|c: char| c.is_ascii_uppercase())
        }
    }
}

fn is_source(path: &str) -> bool {
    !path.ends_with(".md") && path != "tests/documents.rs"
}

fn is_name_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c| !is_name_part(c)).any(|other| other == word)
}

/// The options that a shell script takes, passes on or explains.
fn options_of_script(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !is_name_part(c) && c != '-')
        .filter(|word| word.starts_with("--"))
        .map(str::to_owned)
}

/// The options that a Rust file declares: `#[arg(long)]` and the field behind it, or `#[arg(long = "name")]`.
fn options_of_source(text: &str) -> impl Iterator<Item = String> {
    text.split("#[arg(").skip(1).filter(|arg| arg.contains("long")).map(|arg| {
        let (arguments, field) = arg.split_once(")]").unwrap();
        let given = arguments.split_once("long = \"").and_then(|(_, rest)| rest.split('"').next());
        let field =
            field.lines().find(|line| line.contains(": ") && !line.trim_start().starts_with('/')).unwrap();
        let field = field.trim().trim_start_matches("pub ").split(':').next().unwrap();
        format!("--{}", given.map_or_else(|| field.replace('_', "-"), str::to_owned))
    })
}
