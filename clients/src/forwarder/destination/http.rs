//! An endpoint: one POST for each event or batch.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use reqwest::header::{HeaderMap, RETRY_AFTER, USER_AGENT};
use reqwest::redirect::Policy;
use reqwest::{Response, Url};
use sekali_clients::client::{address, cause, parse_retry_after};

use super::public::{NotPublic, PublicOnly, is_public};
use crate::ledger::Parcel;
use crate::message::{Form, Message};
use crate::outcome::{Away, Outcome, REASON_BYTES, of_status, reason};
use crate::resign::Resign;
use crate::sign::{Secret, sign};

/// The most of a good answer that is read, so that its connection can be used again.
const ANSWER_BYTES: usize = 64 << 10;

/// An endpoint and what it is sent.
pub struct Endpoint {
    /// Its address.
    pub url: Url,
    /// The form of an event in a request.
    pub form: Form,
    /// True if events are sent as arrays.
    pub is_batch: bool,
    /// Headers of each request.
    pub headers: HeaderMap,
    /// The secrets that sign.
    pub secrets: Vec<Secret>,
    /// The provider that signs, too.
    pub resign: Option<Resign>,
    /// The connections.
    http: reqwest::Client,
}

/// The limits of a request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The time to connect.
    pub connect: Duration,
    /// The time of all of it.
    pub total: Duration,
    /// True if nothing but public addresses is reached.
    pub is_public_only: bool,
}

impl Endpoint {
    /// An endpoint that gets payloads without signatures.
    pub fn new(url: Url, limits: Limits) -> Result<Self> {
        // Fails if it is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = reqwest::Client::builder()
            .connect_timeout(limits.connect)
            .timeout(limits.total)
            .redirect(Policy::none())
            .pool_max_idle_per_host(usize::MAX);
        if limits.is_public_only {
            // Resolved once for each connection, and connected to what was checked. A proxy would resolve it again.
            client = client.dns_resolver(Arc::new(PublicOnly)).no_proxy();
            let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
            ensure!(host.parse().map_or(true, is_public), "--public-only: {host} is no public address");
        }
        let http = client.build().context("no HTTP client can be made")?;
        Ok(Self {
            url,
            form: Form::default(),
            is_batch: false,
            headers: HeaderMap::new(),
            secrets: Vec::new(),
            resign: None,
            http,
        })
    }

    /// Sends a parcel once.
    pub async fn deliver(&self, parcel: &Parcel) -> Outcome {
        let Message { headers, body, .. } = match self.message(parcel) {
            Ok(message) => message,
            Err(reason) => return Outcome::Unsendable(reason),
        };
        let request = self.http.post(self.url.clone()).headers(headers).body(body).send();
        match request.await {
            Ok(response) => judge(response).await,
            Err(error) => self.judge_error(&error),
        }
    }

    /// The request for a parcel, signed at this moment.
    fn message(&self, parcel: &Parcel) -> Result<Message, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut message = match parcel.events.as_slice() {
            [event] if !self.is_batch => self.form.one(event),
            _ => self.form.many(parcel),
        };
        message.set(USER_AGENT.as_str(), concat!("sekali-forwarder/", env!("CARGO_PKG_VERSION")));
        message.headers.extend(self.headers.clone());
        if let (Some(resign), [event]) = (&self.resign, parcel.events.as_slice()) {
            resign.sign(&mut message, event, self.url.as_str(), now)?;
        }
        sign(&mut message, &self.secrets, now.as_secs());
        Ok(message)
    }

    fn judge_error(&self, error: &reqwest::Error) -> Outcome {
        // It may be stored as the reason of a failure, where readers of its topic see it.
        let address = address(&self.url);
        if is_not_public(error) {
            return Outcome::Misaddressed(format!("--public-only: {address} leads to no public address"));
        }
        if error.is_connect() {
            return Outcome::Away(Away::unreached(format!("{address} cannot be reached: {}", cause(error))));
        }
        if error.is_timeout() {
            return Outcome::Away(Away::lost(format!("{address} did not answer in time")));
        }
        Outcome::Away(Away::lost(format!("the answer of {address} was lost: {}", cause(error))))
    }
}

fn is_not_public(error: &reqwest::Error) -> bool {
    let mut error: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(this) = error {
        if this.is::<NotPublic>() {
            return true;
        }
        error = this.source();
    }
    false
}

/// The outcome of an answer. What a good one says is not kept.
async fn judge(mut response: Response) -> Outcome {
    let status = response.status();
    if status.is_success() {
        let mut read = 0;
        while let Ok(Some(chunk)) = response.chunk().await {
            read += chunk.len();
            if read > ANSWER_BYTES {
                break;
            }
        }
        return Outcome::Delivered;
    }
    let now = SystemTime::now();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| parse_retry_after(value, now));
    let mut said = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        said.extend_from_slice(&chunk);
        if said.len() >= REASON_BYTES {
            said.truncate(REASON_BYTES);
            break;
        }
    }
    let mut text = status.to_string();
    let said = reason(&said);
    if !said.is_empty() {
        text = format!("{text}: {said}");
    }
    of_status(status.as_u16(), text, retry_after)
}
