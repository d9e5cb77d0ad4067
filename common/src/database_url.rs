//! The address of a database, as an operator writes it: a URL, or a string of `key=value`, with the parameters of
//! libpq (PostgreSQL's documentation, section 34.1).
//!
//! The component, sekali-host and the publisher read it here, so that all of them take the same addresses. What connects
//! reads it by tokio-postgres, which differs from libpq where it counts: without `sslmode` it sends the password to
//! a server that refuses TLS. Faults are named without the text around them, which may be a password.

/// The address as tokio-postgres is to be given it: encrypted and verified, unless it says `sslmode=disable`.
///
/// # Errors
/// Names the fault.
pub fn secured(address: &str) -> Result<String, &'static str> {
    let url = ["postgres://", "postgresql://"].iter().find_map(|scheme| address.strip_prefix(scheme));
    match url {
        Some(rest) => secured_url(address, rest),
        None if address.contains("://") => Err("must begin with postgres://"),
        None => secured_pairs(address),
    }
}

/// `rest` is what follows the scheme.
fn secured_url(address: &str, rest: &str) -> Result<String, &'static str> {
    let behind_user = rest.split_once('@').map_or(rest, |(_, behind)| behind);
    let hosts = behind_user.split(['/', '?']).next().unwrap_or_default();
    if hosts.contains('@') {
        return Err("has an @ in its user or password, which must be written %40");
    }
    if hosts.is_empty() {
        return Err("names no host");
    }
    let Some((before, parameters)) =
        address.rsplit_once('?').filter(|(_, parameters)| !parameters.contains('@'))
    else {
        return Ok(format!("{address}?sslmode=require"));
    };
    let mut kept = Vec::new();
    let mut mode = "require";
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=').unwrap_or((parameter, "")) {
            ("sslmode", value) => mode = sslmode(value)?,
            ("hostaddr", _) => return Err(HOSTADDR),
            _ => kept.push(parameter),
        }
    }
    let kept: String = kept.iter().map(|parameter| format!("{parameter}&")).collect();
    Ok(format!("{before}?{kept}sslmode={mode}"))
}

fn secured_pairs(address: &str) -> Result<String, &'static str> {
    let mut kept = String::new();
    let mut mode = "require";
    let mut rest = address.trim_start();
    while !rest.is_empty() {
        let (key, behind) =
            rest.split_once('=').ok_or("must be a URL such as postgres://user:password@host/name")?;
        let behind = behind.trim_start();
        let (value, behind) = behind.split_at(value_bytes(behind)?);
        match key.trim_end() {
            "sslmode" => mode = sslmode(value.trim_matches('\''))?,
            "hostaddr" => return Err(HOSTADDR),
            key => kept += &format!("{key}={value} "),
        }
        rest = behind.trim_start();
    }
    Ok(format!("{kept}sslmode={mode}"))
}

const HOSTADDR: &str = "has hostaddr, which the manifest cannot allow: name its servers with host";

/// The length of the value that a text begins with: to the next blank, or in quotes. A backslash takes the character
/// behind it as it is.
fn value_bytes(text: &str) -> Result<usize, &'static str> {
    let is_quoted = text.starts_with('\'');
    let mut characters = text.char_indices().skip(usize::from(is_quoted));
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => _ = characters.next(),
            '\'' if is_quoted => return Ok(index + 1),
            _ if !is_quoted && character.is_whitespace() => return Ok(index),
            _ => {}
        }
    }
    if is_quoted { Err("has a quote that does not end") } else { Ok(text.len()) }
}

/// The mode of tokio-postgres for one of libpq: all but `disable` encrypt, and verify authority and name.
fn sslmode(value: &str) -> Result<&'static str, &'static str> {
    match value {
        "disable" => Ok("disable"),
        "allow" | "prefer" | "require" | "verify-ca" | "verify-full" => Ok("require"),
        _ => {
            Err("has an sslmode that is not known: use verify-full, or disable for a connection in the clear")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_encrypted_unless_the_address_says_otherwise() {
        for (address, expected) in [
            ("postgres://u:p@h/d", "postgres://u:p@h/d?sslmode=require"),
            ("postgresql://h", "postgresql://h?sslmode=require"),
            ("postgres://u@h/d?", "postgres://u@h/d?sslmode=require"),
            ("postgres://u:what?@h/d", "postgres://u:what?@h/d?sslmode=require"),
            ("postgres://u@h/d?sslmode=disable", "postgres://u@h/d?sslmode=disable"),
            ("postgres://u@h/d?sslmode=prefer&a=b", "postgres://u@h/d?a=b&sslmode=require"),
            ("postgres://u@a:1,b/d?x=y&sslmode=verify-full", "postgres://u@a:1,b/d?x=y&sslmode=require"),
            ("host=h user=u", "host=h user=u sslmode=require"),
            (
                "host=h password='a b sslmode=disable'",
                "host=h password='a b sslmode=disable' sslmode=require",
            ),
            ("host = h sslmode = disable", "host=h sslmode=disable"),
            (r"password='it\'s' sslmode='prefer' host=h", r"password='it\'s' host=h sslmode=require"),
        ] {
            assert_eq!(secured(address).as_deref(), Ok(expected), "{address}");
        }
    }

    #[test]
    fn a_fault_is_named_without_the_text_around_it() {
        for (address, named) in [
            ("postgres://u:s3cr@t@h/d", "%40"),
            ("postgres://u:s3cret@", "host"),
            ("mysql://u:s3cret@h", "postgres://"),
            ("s3cret", "URL"),
            ("host=h password='s3cret", "quote"),
            ("postgres://u:s3cret@h/d?sslmode=s3cret", "sslmode"),
            ("postgres://u:s3cret@h/d?hostaddr=10.0.0.1", "hostaddr"),
            ("host=h hostaddr=10.0.0.1 password=s3cret", "hostaddr"),
        ] {
            let error = secured(address).unwrap_err();
            assert!(error.contains(named) && !error.contains("s3cr"), "{address}: {error}");
        }
    }
}
