//! `spin.toml`, manifest version 2: the fields that this host supports.
//!
//! Source: <https://spinframework.dev/manifest-reference>. Any other field is refused by name, because an
//! application that runs without it is not the one that the manifest describes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::routes::Routes;
use crate::toml_text;

/// An application.
#[derive(Default)]
pub struct App {
    /// Its variables.
    pub variables: BTreeMap<String, Variable>,
    /// Its components.
    pub components: Vec<Component>,
    /// Its routes. They lead to indices of `components`.
    pub routes: Routes,
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
    /// The value of a variable that is not set.
    pub default: Option<String>,
    /// True if the variable must be set.
    #[serde(default)]
    pub required: bool,
    /// True if its value must not be shown.
    #[serde(default)]
    pub secret: bool,
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
    /// A path, or a table that makes the trigger private.
    route: toml::Value,
    component: String,
}

/// A component: its file, variables and stores.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// The path of its WebAssembly file.
    pub source: PathBuf,
    #[serde(rename = "description")]
    _description: Option<String>,
    /// Hosts that it may connect to: templates over the application's variables.
    #[serde(default)]
    pub allowed_outbound_hosts: Vec<String>,
    /// Its variables by name: templates over the application's.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// Labels of the SQLite databases it may open.
    #[serde(default)]
    pub sqlite_databases: Vec<String>,
    /// Labels of the key-value stores it may open.
    #[serde(default)]
    pub key_value_stores: Vec<String>,
    /// Used by `spin build` only.
    #[serde(rename = "build")]
    _build: Option<toml::Table>,
}

impl App {
    /// Reads a manifest.
    ///
    /// # Errors
    /// A file that cannot be read, is not a manifest, or has a field or value that this host does not
    /// support.
    pub fn load(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let directory = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, directory).with_context(|| format!("in {}", path.display()))
    }

    fn parse(text: &str, directory: &Path) -> Result<Self> {
        let manifest: Manifest = toml_text::parse(text)?;
        ensure!(
            manifest.spin_manifest_version == 2,
            "spin_manifest_version {} is not supported: use version 2",
            manifest.spin_manifest_version
        );
        let mut routes = Routes::default();
        for HttpTrigger { route, component } in manifest.trigger.http {
            let path = route
                .as_str()
                .with_context(|| format!("trigger route {route} is not supported: use a path"))?;
            let index = manifest.component.keys().position(|name| *name == component);
            let unknown = || format!("the trigger of {path:?} names an unknown component {component:?}");
            routes.add(path, index.with_context(unknown)?)?;
        }
        let mut components = Vec::new();
        for mut component in manifest.component.into_values() {
            component.source = directory.join(component.source);
            components.push(component);
        }
        Ok(Self { variables: manifest.variables, components, routes })
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
            Ok(_) => panic!("accepted {manifest}"),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn paths_are_relative_to_the_manifest() {
        let app = App::parse(MANIFEST, Path::new("there")).unwrap();
        assert_eq!(app.components[0].source, Path::new("there/app.wasm"));
        assert_eq!(app.components[0].sqlite_databases, ["default"]);
    }

    #[test]
    fn each_component_has_its_routes_and_stores() {
        let two =
            "[[trigger.http]]\nroute = \"/docs/...\"\ncomponent = \"two\"\n[component.two]\nsource = \"two\"";
        let app = App::parse(&format!("{MANIFEST}\n{two}"), Path::new("")).unwrap();
        let stores = |path| &app.components[app.routes.find(path).unwrap()].sqlite_databases;
        assert!(stores("/docs/x").is_empty());
        assert_eq!(*stores("/"), ["default"]);
        assert!(error(&format!("{MANIFEST}\n{}", two.replace("/docs", ""))).contains("twice"));
    }

    #[test]
    fn a_broken_line_is_named_by_its_place_and_not_shown() {
        let place = format!("line {}, column", MANIFEST.matches('\n').count() + 3);
        for line in ["x = { default = \"s3cret }", "x = \"s3cret\""] {
            let message = error(&format!("{MANIFEST}\n[variables]\n{line}"));
            assert!(message.contains(&place) && !message.contains("s3cret"), "{message}");
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (given, instead, named) in [
            ("spin_manifest_version = 2", "spin_manifest_version = 1", "spin_manifest_version 1"),
            ("\"/...\"", "\"/:id\"", "\"/:id\""),
            ("\"/...\"", "{ private = true }", "private"),
            ("sqlite_databases", "ai_models", "ai_models"),
            ("sqlite_databases = [\"default\"]", "files = [\"a\"]", "files"),
            ("[[trigger.http]]", "[trigger.redis]", "redis"),
            ("component = \"app\"", "component = \"other\"", "other"),
        ] {
            let message = error(&MANIFEST.replace(given, instead));
            assert!(message.contains(named), "{instead}: {message}");
        }
    }
}
