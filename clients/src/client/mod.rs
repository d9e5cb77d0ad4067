//! One request to the service, and its outcome.

mod consumers;
mod failure;

use std::error::Error;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use sekali_common::api::{Published, Stats};
use serde::de::DeserializeOwned;

pub use self::failure::{Failure, Refusal};

/// A client of the service. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    /// Ends with a slash, so that paths join to it.
    base: Url,
}

/// The form of a publish request.
#[derive(Clone, Copy, Debug)]
pub struct Publication {
    /// The `Content-Type` of the body.
    pub content_type: &'static str,
    /// True if the body is compressed with gzip.
    pub is_gzip: bool,
    /// The `Prefer` header, if any.
    pub prefer: Option<&'static str>,
    /// True if valid events are stored although others are invalid.
    pub is_partial: bool,
}

impl Client {
    /// A client of the service at `url`, an http or https address to which paths such as `publish` are added. Fails if
    /// the URL or the token is invalid.
    pub fn new(url: &str, token: Option<&str>, timeout: Duration) -> Result<Self> {
        // Fails for a second client, because the first has installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut base: Url = url.parse().with_context(|| format!("{url:?} is not a URL"))?;
        ensure!(
            matches!(base.scheme(), "http" | "https"),
            "{url:?} is not an http or https address, such as http://127.0.0.1:3000"
        );
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .context("the token has characters that are not allowed in an HTTP header")?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(Duration::from_secs(10).min(timeout))
            .read_timeout(timeout)
            .redirect(reqwest::redirect::Policy::none()) // a redirected POST would become a GET
            .build()?;
        Ok(Self { http, base })
    }

    /// Sends `POST /publish` once, without retries.
    pub async fn publish(&self, form: Publication, body: Vec<u8>) -> Result<Published, Failure> {
        let mut url = self.url("publish");
        if form.is_partial {
            url.set_query(Some("partial=true"));
        }
        let mut request = self.http.post(url).header("content-type", form.content_type);
        if let Some(prefer) = form.prefer {
            request = request.header("prefer", prefer);
        }
        if form.is_gzip {
            request = request.header("content-encoding", "gzip");
        }
        let response = send(request.body(body)).await?;
        let header = response.headers().get("sekali-ignored").and_then(|names| names.to_str().ok());
        let ignored: Vec<_> = header
            .into_iter()
            .flat_map(|names| names.split(','))
            .map(|name| name.trim().to_owned())
            .collect();
        let mut published: Published = json(response).await?;
        published.ignored.extend(ignored);
        Ok(published)
    }

    /// `GET /stats`.
    pub async fn stats(&self) -> Result<Stats, Failure> {
        json(send(self.http.get(self.url("stats"))).await?).await
    }

    /// `GET /stats?topic=...`: the account of these topics.
    pub async fn stats_of(&self, topics: &[&str]) -> Result<Stats, Failure> {
        let mut url = self.url("stats");
        url.query_pairs_mut().extend_pairs(topics.iter().map(|topic| ("topic", topic)));
        json(send(self.http.get(url)).await?).await
    }

    /// `GET /readyz`: true if the service takes requests.
    pub async fn is_ready(&self) -> bool {
        send(self.http.get(self.url("readyz"))).await.is_ok()
    }

    /// `GET /events/{topic}/{event_id}`: true if this event is stored.
    pub async fn has_event(&self, topic: &str, event_id: &str) -> Result<bool, Failure> {
        let mut url = self.url("events");
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(topic).push(event_id);
        }
        match send(self.http.get(url)).await {
            Ok(_) => Ok(true),
            Err(Failure::Refused(refusal)) if refusal.status == StatusCode::NOT_FOUND => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// `GET /events?after=seq`: the events stored after `seq`, as one JSON object a line.
    pub async fn events_after(&self, seq: u64) -> Result<Response, Failure> {
        let mut url = self.url("events");
        url.query_pairs_mut().append_pair("after", &seq.to_string());
        send(self.http.get(url).header("accept", "application/x-ndjson")).await
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path()));
        url
    }
}

async fn send(request: RequestBuilder) -> Result<Response, Failure> {
    let response = request.send().await.map_err(|error| {
        if error.is_connect() {
            let address = error.url().map(address).unwrap_or_default();
            Failure::Unreachable { address, cause: cause(&error) }
        } else {
            Failure::AnswerLost(cause(&error))
        }
    })?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let retry_after =
        response.headers().get(RETRY_AFTER).and_then(|value| parse_retry_after(value, SystemTime::now()));
    let body = response.bytes().await.unwrap_or_default();
    let problem = serde_json::from_slice(&body).unwrap_or_default();
    Err(Failure::Refused(Refusal { status, problem, retry_after }))
}

async fn json<T: DeserializeOwned>(response: Response) -> Result<T, Failure> {
    let body = response.bytes().await.map_err(|error| Failure::AnswerLost(cause(&error)))?;
    serde_json::from_slice(&body).map_err(|error| Failure::Foreign(error.to_string()))
}

/// The value of a `Retry-After` header: seconds or a date (RFC 9110, section 10.2.3).
pub fn parse_retry_after(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default())
}

/// Host and port of a URL, as they may be shown: all else in it may be a secret.
pub fn address(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The innermost source of an error: the layers above it say only that a request failed.
pub fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry_after(value: &str) -> Option<Duration> {
        let now = httpdate::parse_http_date("Sat, 21 Nov 2026 01:00:00 GMT").unwrap();
        parse_retry_after(&HeaderValue::from_str(value).unwrap(), now)
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after("120"), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sat, 21 Nov 2026 01:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Sat, 21 Nov 2026 00:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(retry_after("soon"), None);
    }

    #[test]
    fn an_address_has_no_secret_of_its_url() {
        for (url, expected) in [
            ("http://user:hunter2@127.0.0.1:3000/a?token=hunter2", "127.0.0.1:3000"),
            ("https://user@example.org/hunter2", "example.org"),
            ("http://[::1]:80/", "[::1]"),
        ] {
            assert_eq!(address(&url.parse().unwrap()), expected);
        }
    }

    #[test]
    fn paths_are_added_to_the_path_of_the_url() {
        for (url, expected) in [
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000/publish"),
            ("https://example.org/inbox", "https://example.org/inbox/publish"),
            ("https://example.org/inbox/", "https://example.org/inbox/publish"),
        ] {
            let client = Client::new(url, None, Duration::from_secs(1)).unwrap();
            assert_eq!(client.url("publish").as_str(), expected);
        }
        assert!(Client::new("localhost:3000", None, Duration::from_secs(1)).is_err());
    }
}
