//! The address of a database: which servers it names, and whether they are allowed.

use anyhow::{Result, anyhow, bail, ensure};
use tokio_postgres::config::{Host, LoadBalanceHosts};
use tokio_postgres::{Config, Error};

use crate::stores::servers::{AllowedServers, DEFAULT_PORT};

/// Checks an address, a URL or a string of `key=value`, each of whose servers must be allowed.
///
/// # Errors
/// As [`config`].
pub fn check_address(address: &str, allowed: &AllowedServers) -> Result<()> {
    config(address, allowed).map(drop)
}

/// Reads an address, a URL or a string of `key=value`, each of whose servers must be allowed.
///
/// # Errors
/// A phrase that follows the name of the address. It never has a part of it: where an @ of a password is not encoded,
/// any part may be one of the password.
pub fn config(address: &str, allowed: &AllowedServers) -> Result<Config> {
    let config = address.parse::<Config>();
    let config = config.map_err(|error| anyhow!("{}: {WELL_FORMED}", reason(&error)))?;
    check(&config, allowed)?;
    Ok(config)
}

fn check(config: &Config, allowed: &AllowedServers) -> Result<()> {
    ensure!(
        config.get_hostaddrs().is_empty(),
        "has hostaddr, which the manifest cannot allow: name its servers with host"
    );
    ensure!(!config.get_hosts().is_empty(), "names no server: {WELL_FORMED}");
    let is_cut = |host: &Host| matches!(host, Host::Tcp(host) if host.contains('@'));
    ensure!(!config.get_hosts().iter().any(is_cut), "has an @ too many: {WELL_FORMED}");
    let ports = config.get_ports();
    for (index, host) in config.get_hosts().iter().enumerate() {
        let Host::Tcp(host) = host else { bail!("names a socket of Unix, which is not allowed") };
        let port = ports.get(index).or(ports.first()).copied().unwrap_or(DEFAULT_PORT);
        ensure!(
            allowed.allow(host, port),
            "names a server that the manifest does not allow, which allows {allowed}: name its servers in \
            allowed_outbound_hosts, which spin.postgres.toml takes from database_host and database_standby_host"
        );
    }
    Ok(())
}

/// The form of an address.
const WELL_FORMED: &str = "it must be postgres://user:password@host:port/name, in which a user and password have each of \
    @ : / ? # % percent-encoded (%40 is an @)";

/// Why a text is no address, without any part of the text.
fn reason(error: &Error) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    match cause.strip_prefix("invalid value for option ") {
        Some(option) => format!("has an invalid {option}"),
        None => "is no address of a database".to_owned(),
    }
}

/// The servers of an address, each by itself. None if there is but one, or no order among them.
pub fn servers(config: &Config) -> Vec<Config> {
    let (hosts, ports) = (config.get_hosts(), config.get_ports());
    let is_ordered = config.get_load_balance_hosts() == LoadBalanceHosts::Disable;
    if hosts.len() < 2 || !is_ordered || (ports.len() > 1 && ports.len() != hosts.len()) {
        return vec![];
    }
    let server = |(index, host): (usize, &Host)| {
        let Host::Tcp(host) = host else { return None }; // refused before
        let mut server = Config::new();
        server.host(host).port(ports.get(index).or(ports.first()).copied().unwrap_or(DEFAULT_PORT));
        config.get_user().map(|user| server.user(user));
        config.get_password().map(|password| server.password(password));
        config.get_dbname().map(|name| server.dbname(name));
        config.get_options().map(|options| server.options(options));
        config.get_application_name().map(|name| server.application_name(name));
        config.get_connect_timeout().map(|timeout| server.connect_timeout(*timeout));
        config.get_tcp_user_timeout().map(|timeout| server.tcp_user_timeout(*timeout));
        config.get_keepalives_interval().map(|interval| server.keepalives_interval(interval));
        config.get_keepalives_retries().map(|retries| server.keepalives_retries(retries));
        server
            .keepalives(config.get_keepalives())
            .keepalives_idle(config.get_keepalives_idle())
            .ssl_mode(config.get_ssl_mode())
            .ssl_negotiation(config.get_ssl_negotiation())
            .channel_binding(config.get_channel_binding())
            .target_session_attrs(config.get_target_session_attrs());
        Some(server)
    };
    hosts.iter().enumerate().filter_map(server).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allowed: &[&str], address: &str) -> Result<()> {
        let allowed: Vec<_> = allowed.iter().map(|&host| host.to_owned()).collect();
        check_address(address, &AllowedServers::parse(&allowed)?)
    }

    #[test]
    fn no_part_of_an_address_is_shown_because_it_may_be_one_of_its_password() {
        for address in [
            "postgres://u:p@s3cret@db.example/d",
            "postgres://u:p@s3cret/x@db.example/d",
            "postgres://u:p@s3cret?s3cret=1@db.example/d",
            "postgres://u:p@s3cret:s3cret@db.example/d",
            "postgres://u:p@s3cret,s3cret@db.example/d",
            "postgres://u:p@db.example/d?s3cret=1",
            "postgres://u:p@db.example:s3cret/d",
            "postgres://u:p%s3@db.example/d?sslmode=s3cret",
            "host=db.example password=s3cret s3cret",
            "host=db.example password='s3cret",
            "mysql://u:s3cret@db.example/d",
            "s3cret",
        ] {
            let error = format!("{:#}", check(&["postgres://db.example"], address).unwrap_err());
            assert!(!error.contains("s3cret"), "{address}: {error}");
        }
        let entry = "postgres://postgres://u:s3cret@db.example";
        assert!(!format!("{:#}", check(&[entry], "host=a").unwrap_err()).contains("s3cret"));
    }

    #[test]
    fn only_servers_that_the_manifest_allows_are_reached() {
        let db = "postgres://db.example";
        check(&[db], "postgres://u:p@db.example/d").unwrap();
        check(&[db], "host=DB.example user=u").unwrap();
        check(&[db, "postgres://b:1"], "postgres://u@db.example:5432,b:1/d").unwrap();
        for address in [
            "postgres://u@other/d",
            "postgres://u@db.example:1/d",
            "host=/tmp",
            "host=db.example hostaddr=10.0.0.1",
            "postgres://u@db.example,b/d",
        ] {
            let error = check(&[db], address).unwrap_err().to_string();
            assert!(error.contains("allow"), "{error}");
        }
        assert!(check(&[], "host=db.example").is_err());
    }

    #[test]
    fn other_hosts_are_refused_by_name() {
        for entry in ["https://example.com", "*", "postgres://*:5432", "postgres://", "postgres://a:b"] {
            let error = format!("{:#}", check(&[entry], "host=a").unwrap_err());
            assert!(error.contains(entry), "{error}");
        }
    }

    #[test]
    fn a_server_of_an_address_has_all_that_the_address_says() {
        let address = "host=a,b port=1,2 user=u password=p dbname=d options=-ca=b application_name=n sslmode=require \
            sslnegotiation=direct connect_timeout=3 tcp_user_timeout=4 keepalives=0 keepalives_idle=5 \
            keepalives_interval=6 keepalives_retries=7 target_session_attrs=read-write channel_binding=require";
        let rest = address.split_once(" user").unwrap().1;
        let expected =
            ["host=a port=1", "host=b port=2"].map(|server| format!("{server} user{rest}").parse().unwrap());
        assert_eq!(servers(&address.parse().unwrap()), expected);
        assert_eq!(servers(&"host=a user=u".parse().unwrap()), []);
    }
}
