//! Variables: the application's values and the component's templates over them.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, bail};

use crate::instance::Guest;
use crate::instance::spin::variables::variables::{Error, Host, HostWithStore};
use crate::manifest::App;
use wasmtime::component::{Accessor, HasSelf};

/// The component's variables by name.
pub type Variables = HashMap<String, String>;

/// Works out the component's variables: `given` on the command line wins over `SPIN_VARIABLE_NAME` in
/// the environment, and that over the manifest's default. `started_at`, if the application has it and
/// nobody set it, is now.
pub fn resolve(
    app: &App,
    given: &HashMap<String, String>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Variables> {
    if let Some(unknown) = given.keys().find(|name| !app.variables.contains_key(*name)) {
        bail!("--variable {unknown}: the manifest has no such variable");
    }
    let mut values = BTreeMap::new();
    for (name, variable) in &app.variables {
        let set = given
            .get(name)
            .cloned()
            .or_else(|| environment(&format!("SPIN_VARIABLE_{}", name.to_uppercase())));
        let value = match set {
            Some(value) => value,
            None if name == "started_at" => now(),
            None => match &variable.default {
                Some(default) if !variable.required => default.clone(),
                _ => bail!("variable {name} has no value: set it by --variable {name}=..."),
            },
        };
        values.insert(name.as_str(), value);
    }
    let resolve = |(name, template): (&String, &String)| {
        let text = expand(template, &values).with_context(|| format!("component variable {name}"))?;
        Ok((name.clone(), text))
    };
    app.component_variables.iter().map(resolve).collect()
}

/// Replaces each `{{ name }}` by the value of that variable.
fn expand(template: &str, values: &BTreeMap<&str, String>) -> Result<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").context("a {{ is not closed")?;
        let name = name.trim();
        text.push_str(before);
        text.push_str(values.get(name).with_context(|| format!("the manifest has no variable {name:?}"))?);
        rest = after;
    }
    Ok(text + rest)
}

/// RFC 3339, in UTC.
fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

impl Host for Guest {}

impl HostWithStore<Guest> for HasSelf<Guest> {
    async fn get(store: &Accessor<Guest, Self>, name: String) -> Result<String, Error> {
        store
            .with(|mut access| access.get().services.variables.get(&name).cloned())
            .ok_or(Error::Undefined(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Variable;

    fn app() -> App {
        let variable = |default: Option<&str>| {
            let mut variable = Variable::default();
            variable.default = default.map(Into::into);
            variable
        };
        App {
            source: "app.wasm".into(),
            variables: [
                ("a", variable(Some("1"))),
                ("b", variable(None)),
                ("started_at", variable(Some(""))),
            ]
            .map(|(name, variable)| (name.to_owned(), variable))
            .into(),
            component_variables: [
                ("x".into(), "<{{ a }}{{b}}>".into()),
                ("s".into(), "{{ started_at }}".into()),
            ]
            .into(),
            sqlite_databases: vec![],
            key_value_stores: vec![],
        }
    }

    fn given(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_command_line_wins_over_the_environment_and_that_over_the_default() {
        let environment = |key: &str| (key == "SPIN_VARIABLE_B").then(|| "env".to_owned());
        assert_eq!(resolve(&app(), &given(&[]), environment).unwrap()["x"], "<1env>");
        assert_eq!(
            resolve(&app(), &given(&[("b", "line"), ("a", "2")]), environment).unwrap()["x"],
            "<2line>"
        );
    }

    #[test]
    fn a_variable_without_a_value_and_a_value_without_a_variable_are_refused() {
        assert!(resolve(&app(), &given(&[]), |_| None).unwrap_err().to_string().contains("variable b"));
        assert!(
            resolve(&app(), &given(&[("c", "")]), |_| None).unwrap_err().to_string().contains("--variable c")
        );
    }

    #[test]
    fn started_at_is_now_unless_it_is_set() {
        let at = |pairs: &[(&str, &str)]| resolve(&app(), &given(pairs), |_| None).unwrap()["s"].clone();
        assert!(at(&[("b", "")]).ends_with('Z'));
        assert_eq!(at(&[("b", ""), ("started_at", "then")]), "then");
    }
}
