//! `spin.toml`, manifest version 2: the part of it that this host supports.
//!
//! Source: <https://spinframework.dev/manifest-reference>. A field that is not named here is refused
//! by its name, for to ignore one would be to run another application than the one described.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// The one component of an application and what it may use.
pub struct App {
    /// The component's file.
    pub source: PathBuf,
    /// The application's variables.
    pub variables: BTreeMap<String, Variable>,
    /// The component's variables: templates over the application's.
    pub component_variables: BTreeMap<String, String>,
    /// Labels of the SQLite databases it may open.
    pub sqlite_databases: Vec<String>,
    /// Labels of the key-value stores it may open.
    pub key_value_stores: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    spin_manifest_version: u32,
    #[serde(rename = "application")]
    _application: Application,
    #[serde(default)]
    variables: BTreeMap<String, Variable>,
    trigger: Triggers,
    component: BTreeMap<String, Component>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Application {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "version")]
    _version: Option<String>,
    #[serde(rename = "description")]
    _description: Option<String>,
    #[serde(rename = "authors")]
    _authors: Option<Vec<String>>,
}

/// A variable of the application.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// What it is when nobody sets it.
    pub default: Option<String>,
    /// Whether somebody has to.
    #[serde(default)]
    pub required: bool,
    #[serde(rename = "secret")]
    _secret: Option<bool>,
    #[serde(rename = "description")]
    _description: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Triggers {
    http: Vec<HttpTrigger>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpTrigger {
    route: String,
    component: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Component {
    source: PathBuf,
    #[serde(rename = "description")]
    _description: Option<String>,
    #[serde(default)]
    allowed_outbound_hosts: Vec<String>,
    #[serde(default)]
    variables: BTreeMap<String, String>,
    #[serde(default)]
    sqlite_databases: Vec<String>,
    #[serde(default)]
    key_value_stores: Vec<String>,
    /// How to build it is the business of whoever builds it.
    #[serde(rename = "build")]
    _build: Option<toml::Table>,
}

impl App {
    /// Reads a manifest.
    pub fn load(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let directory = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, directory).with_context(|| format!("in {}", path.display()))
    }

    fn parse(text: &str, directory: &Path) -> Result<Self> {
        let manifest: Manifest = toml::from_str(text)?;
        ensure!(
            manifest.spin_manifest_version == 2,
            "spin_manifest_version {} is not supported, only 2 is",
            manifest.spin_manifest_version
        );
        let [trigger] = manifest.trigger.http.as_slice() else {
            bail!("{} HTTP triggers are not supported, only one is", manifest.trigger.http.len());
        };
        ensure!(
            trigger.route == "/...",
            "trigger route {:?} is not supported, only \"/...\" is",
            trigger.route
        );
        let mut components = manifest.component.into_iter();
        let (Some((name, component)), None) = (components.next(), components.next()) else {
            bail!("more or less than one component is not supported");
        };
        ensure!(name == trigger.component, "the trigger names an unknown component {:?}", trigger.component);
        ensure!(
            component.allowed_outbound_hosts.is_empty(),
            "component.{name}.allowed_outbound_hosts is not supported: this host lets nothing out"
        );
        Ok(Self {
            source: directory.join(component.source),
            variables: manifest.variables,
            component_variables: component.variables,
            sqlite_databases: component.sqlite_databases,
            key_value_stores: component.key_value_stores,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
        spin_manifest_version = 2
        [application]
        name = "app"
        [[trigger.http]]
        route = "/..."
        component = "app"
        [component.app]
        source = "app.wasm"
        sqlite_databases = ["default"]
    "#;

    fn error(manifest: &str) -> String {
        match App::parse(manifest, Path::new("")) {
            Ok(_) => panic!("took {manifest}"),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn paths_are_relative_to_the_manifest() {
        let app = App::parse(MANIFEST, Path::new("there")).unwrap();
        assert_eq!(app.source, Path::new("there/app.wasm"));
        assert_eq!(app.sqlite_databases, ["default"]);
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (given, instead, named) in [
            ("spin_manifest_version = 2", "spin_manifest_version = 1", "spin_manifest_version 1"),
            ("\"/...\"", "\"/api\"", "\"/api\""),
            ("sqlite_databases", "ai_models", "ai_models"),
            ("sqlite_databases = [\"default\"]", "files = [\"a\"]", "files"),
            ("sqlite_databases", "allowed_outbound_hosts", "allowed_outbound_hosts"),
            ("[[trigger.http]]", "[trigger.redis]", "redis"),
            ("component = \"app\"", "component = \"other\"", "other"),
        ] {
            let message = error(&MANIFEST.replace(given, instead));
            assert!(message.contains(named), "{instead}: {message}");
        }
        assert!(
            error(&format!("{MANIFEST}\n[component.two]\nsource = \"b.wasm\"")).contains("one component")
        );
    }
}
