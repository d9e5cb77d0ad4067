//! One file a resource: read the request, call the domain, render the answer.

pub mod events;
pub mod health;
pub mod metrics;
pub mod publish;
pub mod stats;

use std::borrow::Cow;

use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;

use crate::problem::Problem;

/// The media type of most answers.
const JSON: &str = "application/json";

/// The form that the client likes best of those that are offered, the first of them if it does not care
/// (RFC 9110, section 12.5.1).
fn negotiate(headers: &HeaderMap, offered: &[&'static str]) -> Result<&'static str, Problem> {
    let ranges: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or_default().split(','))
        .map(str::trim)
        .filter(|range| !range.is_empty())
        .collect();
    if ranges.is_empty() {
        return Ok(offered[0]);
    }
    let mut best = None;
    for offer in offered {
        let quality = quality(&ranges, offer);
        if quality > best.map_or(0.0, |(quality, _)| quality) {
            best = Some((quality, *offer));
        }
    }
    best.map(|(_, offer)| offer).ok_or_else(|| Problem::NotAcceptable(offered.join(", ")))
}

/// The name of a parameter and its value, decoded.
type Parameter<'q> = (Cow<'q, str>, Cow<'q, str>);

/// The parameters of a query, of which only those in `repeatable` may come twice.
fn parameters<'q>(query: &'q str, repeatable: &[&str]) -> Result<Vec<Parameter<'q>>, Problem> {
    let invalid = |name: &str, message: &str| Problem::InvalidParameter {
        name: name.to_owned(),
        message: message.to_owned(),
    };
    let mut parameters: Vec<Parameter<'q>> = Vec::new();
    for part in query.split('&') {
        for (name, value) in form_urlencoded::parse(part.as_bytes()) {
            // What is no UTF-8 would become something else, and be looked for.
            if percent_decode_str(part).decode_utf8().is_err() {
                return Err(invalid(&name, "is no UTF-8"));
            }
            if !repeatable.contains(&name.as_ref()) && parameters.iter().any(|(seen, _)| *seen == name) {
                return Err(invalid(&name, "is given twice"));
            }
            parameters.push((name, value));
        }
    }
    Ok(parameters)
}

/// How much the client likes a form: what the range that names it most exactly says.
fn quality(ranges: &[&str], offer: &str) -> f32 {
    let group = offer.split('/').next().unwrap_or_default();
    let judged = ranges.iter().filter_map(|range| {
        let mut parameters = range.split(';').map(str::trim);
        let media_range = parameters.next()?;
        let exactness = if media_range.eq_ignore_ascii_case(offer) {
            2
        } else if media_range.strip_suffix("/*").is_some_and(|wanted| wanted.eq_ignore_ascii_case(group)) {
            1
        } else if media_range == "*/*" {
            0
        } else {
            return None;
        };
        let quality = parameters.find_map(|parameter| parameter.strip_prefix("q=")?.parse::<f32>().ok());
        Some((exactness, quality.unwrap_or(1.0)))
    });
    judged.max_by_key(|(exactness, _)| *exactness).map_or(0.0, |(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_that_is_liked_best_is_chosen() {
        let offered = [JSON, "application/x-ndjson", "text/event-stream"];
        for (accept, expected) in [
            ("", Some(JSON)),
            ("*/*", Some(JSON)),
            ("application/*", Some(JSON)),
            ("text/*", Some("text/event-stream")),
            ("application/x-ndjson", Some("application/x-ndjson")),
            ("Text/Event-Stream; charset=utf-8", Some("text/event-stream")),
            ("application/json;q=0.5, application/x-ndjson", Some("application/x-ndjson")),
            ("*/*, application/json;q=0", Some("application/x-ndjson")),
            ("text/html, */*;q=0.1", Some(JSON)),
            ("text/html", None),
            ("application/json;q=0", None),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            assert_eq!(negotiate(&headers, &offered).ok(), expected, "{accept}");
        }
        assert_eq!(negotiate(&HeaderMap::new(), &offered).ok(), Some(JSON));
    }
}
