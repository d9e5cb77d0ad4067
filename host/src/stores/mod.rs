//! The stores of an application: those of a label, and database servers.

mod file;
pub mod key_value;
#[cfg_attr(not(feature = "libsql"), path = "without_libsql.rs")]
pub mod libsql;
#[cfg_attr(not(feature = "postgres"), path = "without_postgres.rs")]
pub mod postgres;
pub mod servers;
pub mod sqlite;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, ensure};

use self::key_value::KeyValueStore;
use self::sqlite::Database;
use crate::manifest::Component;
use crate::runtime_config::{KeyValueConfig, RuntimeConfig, SqliteConfig};
use crate::state::{self, InUse};

/// Stores by label: all that an application names, or those that one component may open.
#[derive(Default)]
pub struct Stores {
    /// SQLite databases.
    pub sqlite: HashMap<String, SqliteStore>,
    /// Key-value stores.
    pub key_value: HashMap<String, KeyValueStore>,
    /// A line for each of them, such as `sqlite default: /path`.
    pub places: Vec<String>,
    /// The directories of their files, which no other host may use, by their canonical paths.
    in_use: HashMap<PathBuf, Option<InUse>>,
}

/// A SQLite database, here or on a server.
#[derive(Clone)]
pub enum SqliteStore {
    /// In a file of this machine, or in memory.
    Local(Arc<Database>),
    /// On a libSQL server.
    Remote(Arc<libsql::Server>),
}

/// A connection to a SQLite database, here or on a server.
#[derive(Clone)]
pub enum SqliteConnection {
    /// To a file of this machine, or memory.
    Local(sqlite::Connection),
    /// To a libSQL server.
    Remote(libsql::Connection),
}

impl SqliteStore {
    /// The file of the database, if it has one on this machine.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Local(database) => database.path(),
            Self::Remote(_) => None,
        }
    }
}

impl SqliteConnection {
    /// The rowid of the last row that the connection inserted, or 0.
    pub fn last_insert_rowid(&self) -> i64 {
        match self {
            Self::Local(connection) => connection.last_insert_rowid(),
            Self::Remote(connection) => connection.last_insert_rowid(),
        }
    }

    /// Rows that the last insert, update or delete changed.
    pub fn changes(&self) -> u64 {
        match self {
            Self::Local(connection) => connection.changes(),
            Self::Remote(connection) => connection.changes(),
        }
    }
}

impl Stores {
    /// Opens the stores that the components name. Each needs an entry in the config, except `default`:
    /// like Spin's, it is a file in the state directory unless it is configured.
    ///
    /// # Errors
    /// A store that is not configured, or that cannot be opened.
    pub fn open(components: &[Component], config: &RuntimeConfig, state_dir: &Path) -> Result<Self> {
        let mut stores = Self::default();
        let databases: BTreeSet<_> = components.iter().flat_map(|it| &it.sqlite_databases).collect();
        for label in databases {
            let (store, place) = match config.sqlite_databases.get(label) {
                Some(SqliteConfig::Libsql { url, token }) => remote(url, token)?,
                Some(SqliteConfig::Spin { path }) => stores.local(label, path.clone())?,
                None => {
                    check_default("sqlite_database", label)?;
                    stores.local(label, Some(state::file(state_dir, state::DATABASE)?))?
                }
            };
            stores.places.push(format!("sqlite {label}: {place}"));
            stores.sqlite.insert(label.clone(), store);
        }
        let key_values: BTreeSet<_> = components.iter().flat_map(|it| &it.key_value_stores).collect();
        for label in key_values {
            let path = match config.key_value_stores.get(label) {
                Some(KeyValueConfig::Spin { path }) => path.clone(),
                None => {
                    check_default("key_value_store", label)?;
                    Some(state::file(state_dir, state::KEY_VALUE)?)
                }
            };
            stores.prepare(path.as_deref())?;
            stores.places.push(format!("key-value {label}: {}", place(path.as_deref())));
            stores.key_value.insert(label.clone(), KeyValueStore::open(path.as_deref())?);
        }
        Ok(stores)
    }

    /// A database in a file or in memory, and its place.
    fn local(&mut self, label: &str, path: Option<PathBuf>) -> Result<(SqliteStore, String)> {
        self.prepare(path.as_deref())?;
        let place = place(path.as_deref());
        Ok((SqliteStore::Local(Arc::new(Database::new(label, path)?)), place))
    }

    /// Makes the directory of a store's file and takes it into use, unless another file may be the store.
    fn prepare(&mut self, path: Option<&Path>) -> Result<()> {
        let Some(path) = path else { return Ok(()) };
        state::check(path)?;
        state::check_restored(path)?;
        let directory = state::directory_of(path);
        state::create(directory)?;
        let canonical = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
        if let Entry::Vacant(entry) = self.in_use.entry(canonical) {
            entry.insert(state::claim(directory, "end it, or name another directory by --state-dir")?);
        }
        Ok(())
    }

    /// The stores that a component may open. Components that use the same label share the store.
    pub fn of_component(&self, component: &Component) -> Self {
        fn labelled<T: Clone>(stores: &HashMap<String, T>, labels: &[String]) -> HashMap<String, T> {
            let labelled = stores.iter().filter(|(label, _)| labels.contains(label));
            labelled.map(|(label, store)| (label.clone(), store.clone())).collect()
        }
        Self {
            sqlite: labelled(&self.sqlite, &component.sqlite_databases),
            key_value: labelled(&self.key_value, &component.key_value_stores),
            places: Vec::new(),
            in_use: HashMap::new(),
        }
    }

    /// The files of stores that every user of this machine may read, and what to do about them.
    pub fn exposures(&self) -> impl Iterator<Item = String> {
        self.sqlite.values().filter_map(SqliteStore::path).filter_map(state::exposure)
    }

    /// True if there is no store.
    pub fn is_empty(&self) -> bool {
        self.sqlite.is_empty() && self.key_value.is_empty()
    }
}

/// A database of a libSQL server, and its place.
fn remote(url: &str, token: &str) -> Result<(SqliteStore, String)> {
    let server = SqliteStore::Remote(Arc::new(libsql::Server::new(url, token)?));
    Ok((server, format!("libSQL at {}", server_place(url))))
}

/// The place of a server for people: its scheme, name and port, and nothing that may be a secret.
fn server_place(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let rest = rest.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{}", rest.split(['/', '?', '#']).next().unwrap_or_default())
}

/// Refuses a store that is not configured, unless its label is `default`. `section` names its kind as the config does.
fn check_default(section: &str, label: &str) -> Result<()> {
    ensure!(
        label == "default",
        "a component uses {section} {label:?}, which is not configured: add [{section}.{label}] to the runtime \
        config (--runtime-config-file)"
    );
    Ok(())
}

/// The place of a store, in full: a relative path would leave open which directory it is relative to.
fn place(path: Option<&Path>) -> String {
    match path {
        Some(path) => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string(),
        None => "in memory, lost when the host ends".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opens the stores of two components, of which the second uses none.
    fn open(config: &str, label: &str) -> Result<Stores> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("runtime-config.toml");
        std::fs::write(&file, config).unwrap();
        let mut components = [Component::default(), Component::default()];
        components[0].sqlite_databases = vec![label.into()];
        components[0].key_value_stores = vec![label.into()];
        let config = RuntimeConfig::load(&file).unwrap();
        let stores = Stores::open(&components, &config, &directory.path().join("state"))?;
        let count = |place: usize| stores.of_component(&components[place]).sqlite.len();
        assert_eq!((count(0), count(1)), (1, 0));
        for KeyValueConfig::Spin { path } in config.key_value_stores.values() {
            assert!(path.as_ref().unwrap().exists());
        }
        Ok(stores)
    }

    #[test]
    fn a_store_is_in_a_file_in_memory_or_where_the_state_is() {
        assert!(open("", "default").is_ok());
        assert!(open("[sqlite_database.default]\ntype = \"spin\"", "default").is_ok());
        let server =
            "[sqlite_database.default]\ntype = \"libsql\"\nurl = \"http://127.0.0.1\"\ntoken = \"secret\"";
        match open(server, "default") {
            Ok(stores) => assert_eq!(stores.places[0], "sqlite default: libSQL at http://127.0.0.1"),
            Err(error) => {
                assert!(
                    !cfg!(feature = "libsql") && error.to_string().contains("--features libsql"),
                    "{error}"
                );
            }
        }
        let file = "[key_value_store.default]\ntype = \"spin\"\npath = \"sub/kv.db\"";
        assert!(open(file, "default").is_ok());
    }

    #[test]
    fn a_store_that_is_neither_default_nor_configured_is_refused_by_name() {
        let error = open("", "other").err().unwrap().to_string();
        assert!(error.contains("[sqlite_database.other]"), "{error}");
    }

    #[test]
    fn the_place_of_a_server_has_no_secret() {
        for (url, expected) in [
            ("https://db.example", "https://db.example"),
            ("libsql://db.example:8080/x?authToken=s3cret", "libsql://db.example:8080"),
            ("https://u:s3cret@db.example/", "https://db.example"),
            ("https://u:s3@cret/@db.example/", "https://db.example"),
            ("https://u:s3cret@", "https://"),
        ] {
            assert_eq!(server_place(url), expected);
        }
    }
}
