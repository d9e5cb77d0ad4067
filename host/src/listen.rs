//! The address to listen on, as people write it.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};

/// The address of a text: `127.0.0.1:3000`, `localhost:3000`, or a port of this machine alone.
///
/// # Errors
/// A text that is none of these, or a name that leads nowhere. Names what is right.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let is_named = text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains([':', '/']) && port.parse::<u16>().is_ok()
    });
    if !is_named {
        return Err("must be an address with its port, such as 127.0.0.1:3000 or [::1]:3000, a name with a port, such \
            as localhost:3000, or a port of this machine, such as 3000"
            .into());
    }
    // The first of a name like localhost may be one of IPv6, where people expect 127.0.0.1.
    let mut addresses: Vec<_> =
        text.to_socket_addrs().map_err(|error| format!("leads nowhere: {error}"))?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.first().copied().ok_or_else(|| "leads nowhere".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_as_people_write_it() {
        for (text, expected) in [
            ("127.0.0.1:3000", "127.0.0.1:3000"),
            ("localhost:3000", "127.0.0.1:3000"),
            ("3000", "127.0.0.1:3000"),
            ("0", "127.0.0.1:0"),
            ("[::1]:3000", "[::1]:3000"),
            ("0.0.0.0:80", "0.0.0.0:80"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn another_text_is_refused_and_what_is_right_is_named() {
        for text in ["", ":3000", "localhost", "127.0.0.1", "::1", "70000", "http://localhost:3000", "a:b"] {
            let error = address(text).unwrap_err();
            assert!(error.contains("such as 127.0.0.1:3000"), "{text}: {error}");
        }
    }
}
