//! Spin's runtime config: the type and the place of each store, by label.
//!
//! Source: <https://spinframework.dev/dynamic-configuration>. An unsupported field or type is refused by
//! name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Spanned, Table};

use crate::toml_text;

/// The stores that the file configures.
#[derive(Default)]
pub struct RuntimeConfig {
    /// SQLite databases by label.
    pub sqlite_databases: BTreeMap<String, SqliteConfig>,
    /// Key-value stores by label.
    pub key_value_stores: BTreeMap<String, KeyValueConfig>,
}

/// The sections of the file. The stores in them are read one by one, so that an error names its store.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sections {
    #[serde(default)]
    sqlite_database: BTreeMap<String, Spanned<Table>>,
    #[serde(default)]
    key_value_store: BTreeMap<String, Spanned<Table>>,
}

/// A SQLite database. A relative path is one from the runtime config's directory; [`RuntimeConfig::load`] resolves it.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum SqliteConfig {
    /// A file of SQLite, or memory.
    Spin {
        /// Without it, memory.
        path: Option<PathBuf>,
    },
    /// A database of a libSQL server.
    Libsql {
        /// Where it answers.
        url: String,
        /// The token that it asks for. A server that asks for none takes any.
        token: String,
    },
}

/// A key-value store. Its path is as that of a SQLite database.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum KeyValueConfig {
    /// A file of SQLite, or memory.
    Spin {
        /// Without it, memory.
        path: Option<PathBuf>,
    },
}

impl RuntimeConfig {
    /// Reads a runtime config.
    ///
    /// # Errors
    /// A file that cannot be read, is not TOML, or has a field or type that this host does not support.
    pub fn load(file: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut config = Self::parse(&text).with_context(|| format!("in {}", file.display()))?;
        let directory = file.parent().unwrap_or(Path::new(""));
        let databases = config.sqlite_databases.values_mut().filter_map(|database| match database {
            SqliteConfig::Spin { path } => path.as_mut(),
            SqliteConfig::Libsql { .. } => None,
        });
        let key_values = config.key_value_stores.values_mut();
        let key_values = key_values.filter_map(|KeyValueConfig::Spin { path }| path.as_mut());
        databases.chain(key_values).for_each(|path| *path = directory.join(&path));
        Ok(config)
    }

    fn parse(text: &str) -> Result<Self> {
        let Sections { sqlite_database, key_value_store } = toml_text::parse(text)?;
        Ok(Self {
            sqlite_databases: stores(text, "sqlite_database", sqlite_database)?,
            key_value_stores: stores(text, "key_value_store", key_value_store)?,
        })
    }
}

/// The stores of a section of a text, by label.
fn stores<T: DeserializeOwned>(
    text: &str,
    section: &str,
    tables: BTreeMap<String, Spanned<Table>>,
) -> Result<BTreeMap<String, T>> {
    let store = |(label, table): (String, Spanned<Table>)| {
        let store = toml_text::parse_table(text, table).with_context(|| format!("{section}.{label}"))?;
        Ok((label, store))
    };
    tables.into_iter().map(store).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(config: &str) -> (tempfile::TempDir, Result<RuntimeConfig>) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("runtime-config.toml");
        std::fs::write(&file, config).unwrap();
        let config = RuntimeConfig::load(&file);
        (directory, config)
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let (directory, config) = load(
            "[sqlite_database.default]\ntype = \"spin\"\n\
            [key_value_store.default]\ntype = \"spin\"\npath = \"sub/kv.db\"",
        );
        let config = config.unwrap();
        let SqliteConfig::Spin { path: None } = &config.sqlite_databases["default"] else { panic!() };
        let KeyValueConfig::Spin { path } = &config.key_value_stores["default"];
        assert_eq!(*path, Some(directory.path().join("sub/kv.db")));
    }

    #[test]
    fn a_broken_file_is_named_with_the_place_and_its_token_is_not_shown() {
        for (line, place) in [
            ("token = \"s3cret", "line 4, column 16"),
            ("token = s3cret", "line 4, column 9"),
            ("token = [\"s3cret\"]", "sqlite_database.default: line 1, column 1: invalid type"),
        ] {
            let text = format!("[sqlite_database.default]\ntype = \"libsql\"\nurl = \"http://x\"\n{line}\n");
            let error = format!("{:#}", load(&text).1.err().unwrap());
            assert!(error.contains("runtime-config.toml: ") && error.contains(place), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (config, named) in [
            ("[sqlite_database.default]\ntype = \"duckdb\"", "duckdb"),
            ("[sqlite_database.default]\ntype = \"libsql\"\ntoken = \"x\"", "url"),
            ("[sqlite_database.default]\ntype = \"libsql\"\nurl = \"http://x\"", "token"),
            ("[sqlite_database.default]\ntype = \"spin\"\nurl = \"x\"", "url"),
            ("[key_value_store.default]\ntype = \"redis\"", "redis"),
            ("[sqlite_database.unused]\ntype = \"duckdb\"", "sqlite_database.unused"),
            ("[llm_compute]\ntype = \"spin\"", "llm_compute"),
        ] {
            let error = format!("{:#}", load(config).1.err().unwrap());
            assert!(error.contains(named), "{config}: {error}");
        }
    }
}
