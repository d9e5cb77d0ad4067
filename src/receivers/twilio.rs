//! Twilio signs the URL and, of a form, its fields in the order of their names, each name followed by its values
//! (<https://www.twilio.com/docs/usage/security>). Of other bodies it signs the URL alone, whose parameter `bodySHA256`
//! is a hash of the body. The HMAC is of SHA-1, or of SHA-256 where a header says so: with a key that was made for
//! webhooks in place of the account's token.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::delivery::{Delivery, sha256};
use super::mac::{Hash, hmac, is_same};

/// The header with the algorithm, as in `key=webhooks_sharedkey_1,algorithm=HMAC_SHA256`.
const SETTINGS: &str = "x-twilio-webhooks-signature-settings";

/// The signatures that a delivery may have: none, if the URL has the hash of another body. Only the hash in the URL that is
/// signed counts; one that somebody else added to the query says nothing.
pub fn signatures(token: &[u8], delivery: &Delivery<'_>) -> Vec<Vec<u8>> {
    let Some(url) = delivery.url() else { return Vec::new() };
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let hash = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "bodySHA256");
    let fields = match hash {
        Some((_, hash)) => {
            if !is_same(sha256(delivery.body).as_bytes(), hash.to_ascii_lowercase().as_bytes()) {
                return Vec::new();
            }
            String::new()
        }
        None => fields(delivery.body),
    };
    let hash = algorithm(delivery);
    let signature = |url: &Cow<'_, str>| hmac(hash, token, format!("{url}{fields}").as_bytes());
    forms_of(&url).iter().map(signature).collect()
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

/// The fields of a form as they are signed: of several values of a name, each once and in their order.
fn fields(form: &[u8]) -> String {
    let mut fields = BTreeMap::<_, BTreeSet<_>>::new();
    for (name, value) in form_urlencoded::parse(form) {
        fields.entry(name).or_default().insert(value);
    }
    let pairs =
        fields.iter().flat_map(|(name, values)| values.iter().map(move |value| format!("{name}{value}")));
    pairs.collect()
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
