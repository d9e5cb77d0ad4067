//! Variables: the application's values and the components' templates over them.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, bail};

use crate::manifest::{Component, Variable};
use crate::metrics;
use crate::stores::postgres::AllowedServers;

/// A component's variables by name.
pub type Variables = HashMap<String, String>;

/// The values of the application's variables. A value `given` on the command line wins over
/// `SPIN_VARIABLE_NAME` in the environment, which wins over what the host knows itself, and that over the manifest's
/// default.
///
/// # Errors
/// A given variable that the manifest does not have, or a variable without a value.
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
            None if name == "instances" => "fixed".to_owned(),
            None if name == "machine" => machine(),
            None => match &variable.default {
                Some(default) if !variable.required => default.clone(),
                _ => bail!("variable {name} has no value: set it with --variable {name}=..."),
            },
        };
        values.insert(name.clone(), value);
    }
    Ok(values)
}

/// Who may do what, in one line, by the tokens: a secret variable `publish_token` says who may publish. Empty if there
/// are none. Without `admin_token`, nobody may erase.
pub fn access(variables: &BTreeMap<String, Variable>, values: &BTreeMap<String, String>) -> String {
    let secret =
        |(name, _): &(&String, &String)| variables.get(*name).is_some_and(|variable| variable.secret);
    let access = values.iter().filter(secret).filter_map(|(name, value)| {
        let action = name.strip_suffix("_token")?;
        let (who, action) = if action == "admin" { ("nobody", "erase") } else { ("anyone", action) };
        Some(match value.is_empty() {
            true => format!("{who} may {action}"),
            false => format!("{name} is needed to {action}"),
        })
    });
    access.collect::<Vec<_>>().join(", ")
}

/// The values in one line. A secret is only said to be set or not.
pub fn describe(variables: &BTreeMap<String, Variable>, values: &BTreeMap<String, String>) -> String {
    let describe = |(name, value): (&String, &String)| match (
        variables.get(name).is_some_and(|variable| variable.secret),
        value.is_empty(),
    ) {
        (true, true) => format!("{name} is not set"),
        (true, false) => format!("{name} is set"),
        (false, _) => format!("{name}={value:?}"),
    };
    let settings = values.iter().filter(|(name, _)| *name != metrics::VARIABLE);
    settings.map(describe).collect::<Vec<_>>().join(", ")
}

/// The variables of a component: its templates, filled in with the application's `values`.
///
/// # Errors
/// A template that is malformed, or that names a variable that the manifest does not have.
pub fn of_component(component: &Component, values: &BTreeMap<String, String>) -> Result<Variables> {
    let expand = |(name, template): (&String, &String)| {
        let value = expand(template, values).with_context(|| format!("in component variable {name}"))?;
        Ok((name.clone(), value))
    };
    component.variables.iter().map(expand).collect()
}

/// The servers that a component may connect to.
///
/// # Errors
/// A template as above, or an entry that this host does not support.
pub fn servers_of_component(
    component: &Component,
    values: &BTreeMap<String, String>,
) -> Result<AllowedServers> {
    let hosts = component.allowed_outbound_hosts.iter().map(|template| expand(template, values));
    AllowedServers::parse(&hosts.collect::<Result<Vec<_>>>()?)
}

/// Replaces each `{{ name }}` with the value of that variable.
fn expand(template: &str, values: &BTreeMap<String, String>) -> Result<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").context("a {{ is not closed: add }}")?;
        let name = name.trim();
        text.push_str(before);
        text.push_str(values.get(name).with_context(|| format!("the manifest has no variable {name:?}"))?);
        rest = after;
    }
    Ok(text + rest)
}

/// The name of this machine, or nothing where the kernel does not tell it.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// The current time in UTC, as RFC 3339 writes it.
fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Variables of a component with the templates `x` and `s`, in an application with four variables.
    fn resolved(given: &[(&str, &str)], environment: impl Fn(&str) -> Option<String>) -> Result<Variables> {
        let mut variables = BTreeMap::new();
        for (name, default) in
            [("a", Some("1")), ("b", None), ("started_at", Some("")), ("instances", Some(""))]
        {
            variables.entry(name.to_owned()).or_insert(Variable::default()).default = default.map(Into::into);
        }
        let mut component = Component::default();
        component.variables.insert("x".into(), "<{{ a }}{{b}}>".into());
        component.variables.insert("s".into(), "{{ started_at }}, {{ instances }}".into());
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        of_component(&component, &resolve(&variables, &given, environment)?)
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
    fn started_at_is_now_and_instances_are_fixed_unless_they_are_set() {
        let own = |pairs: &[(&str, &str)]| resolved(pairs, |_| None).unwrap()["s"].clone();
        assert!(own(&[("b", "")]).ends_with("Z, fixed"));
        assert_eq!(own(&[("b", ""), ("started_at", "then"), ("instances", "elastic")]), "then, elastic");
    }
}
