//! Where the stores live: Spin's runtime config, as far as one machine needs it.
//!
//! Source: <https://spinframework.dev/dynamic-configuration>. What is not supported is refused by name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::key_value::KeyValueStore;
use crate::manifest::{App, Component};
use crate::sqlite::Database;

/// Stores by label: all that an application names, or those that one component may open.
pub struct Stores {
    /// The databases.
    pub sqlite: HashMap<String, Arc<Database>>,
    /// The key-value stores.
    pub key_value: HashMap<String, KeyValueStore>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuntimeConfig {
    #[serde(default)]
    sqlite_database: BTreeMap<String, Place>,
    #[serde(default)]
    key_value_store: BTreeMap<String, Place>,
}

/// Where one store lives.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    r#type: String,
    /// Relative to the file that says so; without a path the store is in memory.
    path: Option<PathBuf>,
}

impl Stores {
    /// Makes ready the stores that the application names. `default` needs no configuration: like
    /// Spin's, it is a file in the state directory.
    pub fn open(app: &App, config_file: Option<&Path>, state_dir: &Path) -> Result<Self> {
        let (config, directory) = match config_file {
            None => (RuntimeConfig::default(), Path::new("")),
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("cannot read {}", file.display()))?;
                let config = toml::from_str(&text).with_context(|| format!("in {}", file.display()))?;
                (config, file.parent().unwrap_or(Path::new("")))
            }
        };
        let configured =
            [("sqlite_database", &config.sqlite_database), ("key_value_store", &config.key_value_store)];
        for (kind, places) in configured {
            if let Some((label, Place { r#type, .. })) =
                places.iter().find(|(_, place)| place.r#type != "spin")
            {
                bail!("{kind}.{label} has type {type:?}, which is not supported, only \"spin\" is");
            }
        }
        let place = |kind: &str, places: &BTreeMap<String, Place>, label: &str, default: &str| match places
            .get(label)
        {
            Some(Place { path, .. }) => Ok(path.as_ref().map(|path| directory.join(path))),
            None if label == "default" => Ok(Some(state_dir.join(default))),
            None => bail!("a component uses {kind} {label:?}, but no runtime config says where that is"),
        };
        let mut stores = Self { sqlite: HashMap::new(), key_value: HashMap::new() };
        let databases: BTreeSet<_> = app.components.iter().flat_map(|it| &it.sqlite_databases).collect();
        for label in databases {
            let path = place("sqlite_database", &config.sqlite_database, label, "sqlite_db.db")?;
            stores.sqlite.insert(label.clone(), Arc::new(Database::new(label, prepared(path)?)?));
        }
        let key_values: BTreeSet<_> = app.components.iter().flat_map(|it| &it.key_value_stores).collect();
        for label in key_values {
            let path = place("key_value_store", &config.key_value_store, label, "sqlite_key_value.db")?;
            stores.key_value.insert(label.clone(), KeyValueStore::open(prepared(path)?.as_deref())?);
        }
        Ok(stores)
    }

    /// Those that a component may open. What two components name alike, they share.
    pub fn of(&self, component: &Component) -> Self {
        fn named<T: Clone>(stores: &HashMap<String, T>, labels: &[String]) -> HashMap<String, T> {
            let named = stores.iter().filter(|(label, _)| labels.contains(label));
            named.map(|(label, store)| (label.clone(), store.clone())).collect()
        }
        Self {
            sqlite: named(&self.sqlite, &component.sqlite_databases),
            key_value: named(&self.key_value, &component.key_value_stores),
        }
    }
}

fn prepared(path: Option<PathBuf>) -> Result<Option<PathBuf>> {
    if let Some(parent) = path.as_deref().and_then(Path::parent) {
        std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(config: &str) -> Result<Stores> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("runtime-config.toml");
        std::fs::write(&file, config).unwrap();
        let mut app = App::default();
        app.components.resize_with(2, Component::default);
        app.components[0].sqlite_databases = vec!["default".into()];
        app.components[0].key_value_stores = vec!["default".into()];
        let stores = Stores::open(&app, Some(&file), &directory.path().join("state"));
        if let Ok(stores) = &stores {
            let count = |place: usize| stores.of(&app.components[place]).sqlite.len();
            assert_eq!((count(0), count(1)), (1, 0));
        }
        if stores.is_ok() && config.contains("path") {
            assert!(directory.path().join("sub/kv.db").exists());
        }
        stores
    }

    #[test]
    fn a_store_is_in_a_file_in_memory_or_where_the_state_is() {
        assert!(open("").is_ok());
        assert!(open("[sqlite_database.default]\ntype = \"spin\"").is_ok());
        assert!(open("[key_value_store.default]\ntype = \"spin\"\npath = \"sub/kv.db\"").is_ok());
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (config, named) in [
            ("[sqlite_database.default]\ntype = \"libsql\"", "libsql"),
            ("[sqlite_database.default]\ntype = \"spin\"\nurl = \"x\"", "url"),
            ("[key_value_store.default]\ntype = \"redis\"", "redis"),
            ("[sqlite_database.unused]\ntype = \"libsql\"", "unused"),
            ("[llm_compute]\ntype = \"spin\"", "llm_compute"),
        ] {
            let error = format!("{:#}", open(config).err().unwrap());
            assert!(error.contains(named), "{config}: {error}");
        }
    }
}
