//! Content negotiation (RFC 9110, section 12.5.1).

use http::{HeaderMap, header};

use super::problem::Problem;

/// The media type of most answers.
pub const JSON: &str = "application/json";

/// The offered media type that the client prefers; the first one if it has no preference.
///
/// # Errors
/// [`Problem::NotAcceptable`] when `Accept` excludes every offered type.
pub fn negotiate(headers: &HeaderMap, offered: &[&'static str]) -> Result<&'static str, Problem> {
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

/// The quality that `Accept` gives a media type: that of the most specific range that matches it.
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
    fn the_preferred_media_type_is_chosen() {
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
