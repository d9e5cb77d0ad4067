//! Twilio signs the URL and, of a form, its fields in the order of their names, each name followed by its values
//! (<https://www.twilio.com/docs/usage/security>). Of other bodies it signs the URL alone, whose parameter `bodySHA256`
//! is a hash of the body. The HMAC is of SHA-1, or of SHA-256 where a header says so: with a key that was made for
//! webhooks in place of the account's token.

use std::borrow::Cow;

use super::delivery::{Delivery, sha256};
use super::mac::{Hash, hmac, is_same};

/// The header with the algorithm, as in `key=webhooks_sharedkey_1,algorithm=HMAC_SHA256`.
const SETTINGS: &str = "x-twilio-webhooks-signature-settings";

/// The most fields of a form: Twilio sends a few dozen.
const MOST_FIELDS: usize = 1000;

/// The signatures that a delivery may have with this token: none, if the URL has the hash of another body.
pub fn signatures(token: &[u8], delivery: &Delivery<'_>) -> Vec<Vec<u8>> {
    let Some(configured) = delivery.url() else { return Vec::new() };
    let (url, fields) = match hash_in(delivery.query) {
        Some((parameter, hash)) => {
            if !is_same(sha256(delivery.body).as_bytes(), hash.to_ascii_lowercase().as_bytes()) {
                return Vec::new();
            }
            let separator = if configured.contains('?') { '&' } else { '?' };
            (format!("{configured}{separator}{parameter}"), String::new())
        }
        None => match fields(delivery.body) {
            Some(fields) => (configured.to_owned(), fields),
            None => return Vec::new(),
        },
    };
    let algorithm = algorithm(delivery);
    let signature = |url: &Cow<'_, str>| hmac(algorithm, token, format!("{url}{fields}").as_bytes());
    forms_of(&url).iter().map(signature).collect()
}

/// The parameter that Twilio adds to the end of the URL, and the hash in it.
fn hash_in(query: &str) -> Option<(&str, &str)> {
    let parameter = query.rsplit('&').next()?;
    let hash = parameter.strip_prefix("bodySHA256=")?;
    (hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some((parameter, hash))
}

/// The hash that the header names. What it says is not signed, and need not be: a key makes no signature for another.
fn algorithm(delivery: &Delivery<'_>) -> Hash {
    let settings = delivery.headers.get(SETTINGS).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut fields = settings.split(',').filter_map(|field| field.split_once('='));
    let is_sha256 = |name: &str, value: &str| name.trim() == "algorithm" && value.trim() == "HMAC_SHA256";
    match fields.any(|(name, value)| is_sha256(name, value)) {
        true => Hash::Sha256,
        false => Hash::Sha1,
    }
}

/// The fields of a form as they are signed: of several values of a name, each once and in their order. `None` if there are
/// more than any form of Twilio's has: whoever sends them has signed nothing yet.
fn fields(form: &[u8]) -> Option<String> {
    let mut fields: Vec<_> = form_urlencoded::parse(form).take(MOST_FIELDS + 1).collect();
    if fields.len() > MOST_FIELDS {
        return None;
    }
    fields.sort_unstable();
    fields.dedup();
    Some(fields.iter().map(|(name, value)| format!("{name}{value}")).collect())
}

/// The URL with its port and without: which of the two Twilio signed depends on how it was written there.
fn forms_of(url: &str) -> [Cow<'_, str>; 2] {
    let Some((scheme, rest)) = url.split_once("://") else { return [url.into(), url.into()] };
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let other = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{scheme}://{name}{path}")
        }
        _ => format!("{scheme}://{host}:{}{path}", if scheme == "http" { 80 } else { 443 }),
    };
    [url.into(), other.into()]
}
