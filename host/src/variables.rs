//! Variables: the application's values and the components' templates over them.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, bail};

use crate::instance::Guest;
use crate::instance::spin::variables::variables::{Error, Host, HostWithStore};
use crate::manifest::{Component, Variable};
use wasmtime::component::{Accessor, HasSelf};

/// A component's variables by name.
pub type Variables = HashMap<String, String>;

/// Works out the application's variables: `given` on the command line wins over `SPIN_VARIABLE_NAME` in
/// the environment, and that over the manifest's default. `started_at`, if the application has it and
/// nobody set it, is now.
pub fn resolve(
    variables: &BTreeMap<String, Variable>,
    given: &HashMap<String, String>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>> {
    if let Some(unknown) = given.keys().find(|name| !variables.contains_key(*name)) {
        bail!("--variable {unknown}: the manifest has no such variable");
    }
    let mut values = BTreeMap::new();
    for (name, variable) in variables {
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
        values.insert(name.clone(), value);
    }
    Ok(values)
}

/// Fills in the templates of a component.
pub fn of(component: &Component, values: &BTreeMap<String, String>) -> Result<Variables> {
    let resolve = |(name, template): (&String, &String)| {
        let text = expand(template, values).with_context(|| format!("component variable {name}"))?;
        Ok((name.clone(), text))
    };
    component.variables.iter().map(resolve).collect()
}

/// Replaces each `{{ name }}` by the value of that variable.
fn expand(template: &str, values: &BTreeMap<String, String>) -> Result<String> {
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

    /// The component's variables in an application with some.
    fn resolved(given: &[(&str, &str)], environment: impl Fn(&str) -> Option<String>) -> Result<Variables> {
        let mut variables = BTreeMap::new();
        for (name, default) in [("a", Some("1")), ("b", None), ("started_at", Some(""))] {
            variables.entry(name.to_owned()).or_insert(Variable::default()).default = default.map(Into::into);
        }
        let mut component = Component::default();
        component.variables.insert("x".into(), "<{{ a }}{{b}}>".into());
        component.variables.insert("s".into(), "{{ started_at }}".into());
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        of(&component, &resolve(&variables, &given, environment)?)
    }

    #[test]
    fn the_command_line_wins_over_the_environment_and_that_over_the_default() {
        let environment = |key: &str| (key == "SPIN_VARIABLE_B").then(|| "env".to_owned());
        assert_eq!(resolved(&[], environment).unwrap()["x"], "<1env>");
        assert_eq!(resolved(&[("b", "line"), ("a", "2")], environment).unwrap()["x"], "<2line>");
    }

    #[test]
    fn a_variable_without_a_value_and_a_value_without_a_variable_are_refused() {
        assert!(resolved(&[], |_| None).unwrap_err().to_string().contains("variable b"));
        assert!(
            resolved(&[("b", ""), ("c", "")], |_| None).unwrap_err().to_string().contains("--variable c")
        );
    }

    #[test]
    fn started_at_is_now_unless_it_is_set() {
        let at = |pairs: &[(&str, &str)]| resolved(pairs, |_| None).unwrap()["s"].clone();
        assert!(at(&[("b", "")]).ends_with('Z'));
        assert_eq!(at(&[("b", ""), ("started_at", "then")]), "then");
    }
}
