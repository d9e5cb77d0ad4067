//! Variables: the application's values and the components' templates over them.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, anyhow};
use sekali_common::database_url::secured;

use crate::manifest::{Component, Variable};
use crate::metrics;
use crate::stores::postgres::check_address;
use crate::stores::servers::AllowedServers;

/// A component's variables by name.
pub type Variables = HashMap<String, String>;

/// The prefix of a variable's name in the environment.
const PREFIX: &str = "SPIN_VARIABLE_";

/// The variable with the address of the database.
const DATABASE_URL: &str = "database_url";

/// The values of the application's variables, and what is wrong with them. A value `given` on the command line, as
/// `NAME=VALUE`, wins over `SPIN_VARIABLE_NAME` in the environment, which wins over what the host knows itself, and that
/// over the manifest's default. A variable without a value is empty.
///
/// It is an error to give a value for a variable that is not in the manifest, or to leave a variable without a value.
pub fn resolve(
    variables: &BTreeMap<String, Variable>,
    given: &[String],
    environment: impl Fn(&str) -> Option<String>,
) -> (BTreeMap<String, String>, Vec<String>) {
    let mut invalid = Vec::new();
    let mut set = HashMap::new();
    for pair in given {
        match pair.split_once('=') {
            Some((name, value)) if variables.contains_key(name) => _ = set.insert(name, value.to_owned()),
            Some((name, _)) => {
                let nearest = nearest(name, variables).unwrap_or_default();
                invalid.push(format!("variable {name} is none of the manifest's; the nearest is {nearest}"));
            }
            // It may be a secret, so it is not shown.
            None => invalid.push("--variable needs NAME=VALUE, and one has no =".to_owned()),
        }
    }
    let mut values = BTreeMap::new();
    for (name, variable) in variables {
        let set =
            set.remove(name.as_str()).or_else(|| environment(&format!("{PREFIX}{}", name.to_uppercase())));
        let value = match set {
            Some(value) => value,
            None if name == "started_at" => now(),
            None if name == "instances" => "fixed".to_owned(),
            None if name == "machine" => machine(),
            None => match &variable.default {
                Some(default) if !variable.required => default.clone(),
                _ => {
                    let in_environment = name.to_uppercase();
                    invalid.push(format!("variable {name} has no value: set {PREFIX}{in_environment}"));
                    String::new()
                }
            },
        };
        values.insert(name.clone(), value);
    }
    (values, invalid)
}

/// The names in an environment that look like settings and are no variables of the manifest, in one line. They have no
/// effect, so a misspelt token leaves the service open.
pub fn unknown(
    variables: &BTreeMap<String, Variable>,
    environment: impl Iterator<Item = String>,
) -> Option<String> {
    let known: Vec<_> = variables.keys().map(|name| format!("{PREFIX}{}", name.to_uppercase())).collect();
    let mut unknown: Vec<_> =
        environment.filter(|name| name.starts_with(PREFIX) && !known.contains(name)).collect();
    unknown.sort();
    let describe = |name: &String| {
        let nearest = nearest(&name[PREFIX.len()..], variables).unwrap_or_default().to_uppercase();
        format!(
            "{name} is set and has no effect: the manifest has no such variable, the nearest is {PREFIX}{nearest}"
        )
    };
    (!unknown.is_empty()).then(|| unknown.iter().map(describe).collect::<Vec<_>>().join("; "))
}

/// The variable whose name differs least from a name.
fn nearest<'v>(name: &str, variables: &'v BTreeMap<String, Variable>) -> Option<&'v str> {
    let name = name.to_lowercase();
    let known = variables.keys().filter(|known| *known != metrics::VARIABLE);
    known.map(String::as_str).min_by_key(|known| strsim::damerau_levenshtein(known, &name))
}

/// The access that the tokens give, in one line: a secret variable `publish_token` says who may publish. Empty if there
/// are none. Without `admin_token`, nobody may erase. Named tokens close what they are for to those who have none.
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
    let named = values.get("tokens").is_some_and(|tokens| !tokens.is_empty());
    let named = named.then(|| "but for what the named tokens are for".to_owned());
    access.chain(named).collect::<Vec<_>>().join(", ")
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

/// Checks the address of the database, if the application has one and the component may connect to servers.
///
/// # Errors
/// An address that leads to no server that is allowed.
pub fn check_database(values: &BTreeMap<String, String>, servers: &AllowedServers) -> Result<()> {
    match values.get(DATABASE_URL).map(|address| address.trim()) {
        Some(address) if !address.is_empty() && !servers.is_empty() => {
            // As the component will give it to this host.
            let address = secured(address).map_err(|fault| anyhow!("variable {DATABASE_URL} {fault}"))?;
            check_address(&address, servers).map_err(|error| anyhow!("variable {DATABASE_URL} {error}"))
        }
        _ => Ok(()),
    }
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
    use anyhow::bail;

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
        let given: Vec<_> = given.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let (values, invalid) = resolve(&variables, &given, environment);
        if !invalid.is_empty() {
            bail!("{}", invalid.join("\n"));
        }
        of_component(&component, &values)
    }

    #[test]
    fn the_command_line_wins_over_the_environment_and_that_over_the_default() {
        let environment = |key: &str| (key == "SPIN_VARIABLE_B").then(|| "env".to_owned());
        assert_eq!(resolved(&[], environment).unwrap()["x"], "<1env>");
        assert_eq!(resolved(&[("b", "line"), ("a", "2")], environment).unwrap()["x"], "<2line>");
    }

    #[test]
    fn all_variables_without_a_value_and_values_without_a_variable_are_named_at_once() {
        let error = resolved(&[("instance", "x"), ("c", "")], |_| None).unwrap_err().to_string();
        let expected = [
            "variable instance is none of the manifest's; the nearest is instances",
            "variable c is none of the manifest's; the nearest is a",
            "variable b has no value: set SPIN_VARIABLE_B",
        ];
        assert_eq!(error.lines().collect::<Vec<_>>(), expected);
        let (_, invalid) = resolve(&BTreeMap::new(), &["s3cret".to_owned()], |_| None);
        assert!(invalid.len() == 1 && !invalid[0].contains("s3cret"), "{invalid:?}");
    }

    #[test]
    fn a_variable_of_the_environment_that_the_manifest_lacks_is_told_with_the_nearest_that_it_has() {
        let names = ["publish_token", "read_token", "host_metrics"];
        let variables: BTreeMap<_, _> =
            names.into_iter().map(|name| (name.to_owned(), Variable::default())).collect();
        let told = |names: &[&str]| unknown(&variables, names.iter().map(|name| (*name).to_owned()));
        assert_eq!(told(&["SPIN_VARIABLE_READ_TOKEN", "PATH", "SPIN_X"]), None);
        let told = told(&["SPIN_VARIABLE_PUBLISHTOKEN", "SPIN_VARIABLE_read_token"]).unwrap();
        for part in [
            "SPIN_VARIABLE_PUBLISHTOKEN is set and has no effect: the manifest has no such variable, the nearest is \
            SPIN_VARIABLE_PUBLISH_TOKEN; ",
            "SPIN_VARIABLE_read_token is set and has no effect: the manifest has no such variable, the nearest is \
            SPIN_VARIABLE_READ_TOKEN",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn started_at_is_now_and_instances_are_fixed_unless_they_are_set() {
        let own = |pairs: &[(&str, &str)]| resolved(pairs, |_| None).unwrap()["s"].clone();
        assert!(own(&[("b", "")]).ends_with("Z, fixed"));
        assert_eq!(own(&[("b", ""), ("started_at", "then"), ("instances", "elastic")]), "then, elastic");
    }
}
