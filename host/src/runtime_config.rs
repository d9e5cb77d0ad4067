//! Spin's runtime config: the type and the path of each store, by label.
//!
//! Source: <https://spinframework.dev/dynamic-configuration>. An unsupported field or type is refused by
//! name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The stores that the file configures.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeConfig {
    /// SQLite databases by label.
    #[serde(default, rename = "sqlite_database")]
    pub sqlite_databases: BTreeMap<String, StoreConfig>,
    /// Key-value stores by label.
    #[serde(default, rename = "key_value_store")]
    pub key_value_stores: BTreeMap<String, StoreConfig>,
}

/// A store.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// Always `spin`: a file of SQLite, or memory.
    r#type: String,
    /// Relative to the runtime config's directory in the file; [`RuntimeConfig::load`] resolves it. A
    /// store without a path is in memory.
    pub path: Option<PathBuf>,
}

impl RuntimeConfig {
    /// Reads a runtime config.
    ///
    /// # Errors
    /// A file that cannot be read, is not TOML, or has a field or type that this host does not support.
    pub fn load(file: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut config: Self = toml::from_str(&text).with_context(|| format!("in {}", file.display()))?;
        let directory = file.parent().unwrap_or(Path::new(""));
        let Self { sqlite_databases, key_value_stores } = &mut config;
        for (section, stores) in
            [("sqlite_database", sqlite_databases), ("key_value_store", key_value_stores)]
        {
            for (label, StoreConfig { r#type, path }) in stores {
                ensure!(
                    r#type == "spin",
                    "{section}.{label} has type {type:?}, which is not supported: use type \"spin\""
                );
                *path = path.take().map(|path| directory.join(path));
            }
        }
        Ok(config)
    }
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
        assert_eq!(config.sqlite_databases["default"].path, None);
        assert_eq!(config.key_value_stores["default"].path, Some(directory.path().join("sub/kv.db")));
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
            let error = format!("{:#}", load(config).1.err().unwrap());
            assert!(error.contains(named), "{config}: {error}");
        }
    }
}
