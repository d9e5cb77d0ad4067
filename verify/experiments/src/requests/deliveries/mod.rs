//! Deliveries of providers to their receivers: signed ones in all shapes that providers send, and forged ones. Their
//! identities follow those of the other requests: so many of each provider.
//!
//! - [`contents`]: what their events are
//! - [`forgery`]: what others send in their name

mod contents;
mod forgery;

use fastrand::Rng;
use sekali_harness::webhooks::{Headers, OLD_SECRET, PROVIDERS, Provider, Scheme, now};
use serde_json::json;

use self::contents::{Shape, content, id, identities, item, object};
use super::format::gzip;
use super::{Request, Sent};

pub use self::contents::{TOPICS, event_id, number, payload_number, provider_number, time};
pub use self::forgery::forge;

/// What a receiver may differ from the signed time, less what a slow machine may take between the signature and its test.
const TOLERATED: u64 = 200;

/// A delivery before it is signed.
struct Draft {
    provider: usize,
    /// Identity and payload of each event; `None` for one without an id.
    events: Vec<Option<(usize, usize)>>,
    body: Vec<u8>,
    headers: Headers,
}

impl Draft {
    /// Events of one provider: of all but one it sends one at a time.
    fn random(rng: &mut Rng) -> Self {
        let provider = rng.usize(..PROVIDERS.len());
        let scheme = PROVIDERS[provider].scheme;
        let count = if scheme == Scheme::Batches { rng.usize(..6) } else { 1 };
        let event = |rng: &mut Rng| {
            // The first payload is frequent, so that there are plain duplicates and conflicts.
            let payload = if rng.bool() { 0 } else { rng.usize(..3) };
            (rng.usize(identities(provider)), payload)
        };
        let mut events: Vec<_> = (0..count).map(|_| Some(event(rng))).collect();
        let may_lack_an_id = !matches!(scheme, Scheme::Github | Scheme::Standard);
        if may_lack_an_id && rng.u8(..12) == 0 {
            events.pop();
            events.insert(rng.usize(..=events.len()), None);
        }
        let mut draft = Self { provider, events, body: Vec::new(), headers: Headers::new() };
        draft.write(rng);
        draft
    }

    fn write(&mut self, rng: &mut Rng) {
        let first = identities(self.provider).start;
        let none = object(first, ["", " "][rng.usize(..2)], "1");
        let mut shape = None;
        let items: Vec<_> = self
            .events
            .iter()
            .map(|event| {
                event.map_or(none.clone(), |(identity, number)| item(identity, number, rng.u32(..9)))
            })
            .collect();
        self.body = match (PROVIDERS[self.provider].scheme, self.events.as_slice()) {
            (Scheme::Batches, _) => {
                format!(r#"{{"try":{},"items":[{}]}}"#, rng.u32(..9), items.join(",")).into()
            }
            (Scheme::Github | Scheme::Standard, [Some((identity, number))]) => {
                let body;
                (body, shape) = content(*identity, *number);
                body
            }
            _ => items.concat().into(),
        };
        let content_type = match shape {
            Some(Shape::Text | Shape::Empty) => "text/plain; charset=utf-8",
            Some(Shape::Form) => "application/x-www-form-urlencoded",
            Some(Shape::Bytes) => "application/octet-stream",
            _ => "application/json",
        };
        if shape.is_none() && rng.u8(..4) == 0 {
            self.body.extend(b"\r\n"); // it is signed, and says nothing
        }
        self.headers.push(("content-type", content_type.to_owned()));
        if rng.u8(..5) == 0 {
            self.body = gzip(&self.body);
            self.headers.push(("content-encoding", "gzip".to_owned()));
        }
    }

    fn id(&self) -> String {
        self.events.iter().flatten().next().map_or_else(String::new, |(identity, _)| id(*identity))
    }

    /// The headers with which a provider signs it, at a moment.
    fn signed(&self, provider: &Provider, at: u64) -> Headers {
        [self.headers.clone(), provider.headers(&self.id(), at, &self.body)].concat()
    }

    fn request(self, headers: Headers, forgery: Option<&'static str>) -> Request {
        let (mut events, mut invalid) = (Vec::new(), 0);
        if forgery.is_none() {
            for (index, event) in self.events.iter().enumerate() {
                match event {
                    Some((identity, payload)) => {
                        events.push(Sent { index, identity: *identity, payload: *payload });
                    }
                    None => invalid += 1,
                }
            }
        }
        Request { path: PROVIDERS[self.provider].path, headers, body: self.body, events, invalid, forgery }
    }
}

/// A delivery that its provider signed: with its secret or the one before it, now or as long ago as is tolerated.
pub fn signed(rng: &mut Rng) -> Request {
    let draft = Draft::random(rng);
    let mut provider = PROVIDERS[draft.provider];
    if rng.u8(..4) == 0 {
        provider.secret = OLD_SECRET;
    }
    let headers = draft.signed(&provider, now() - TOLERATED + rng.u64(..2 * TOLERATED));
    draft.request(headers, None)
}

/// A delivery that its provider did not sign as it is.
pub fn forged(rng: &mut Rng) -> Request {
    let mut draft = Draft::random(rng);
    let (provider, id) = (PROVIDERS[draft.provider], draft.id());
    let (signature, forgery) = forge(rng, &provider, &id, &mut draft.body);
    let headers = [draft.headers.clone(), signature].concat();
    draft.request(headers, Some(forgery))
}

/// The list of all events of a provider, as its API answers it; `None` if it has none, because ids are in headers alone.
pub fn list(rng: &mut Rng, provider: usize) -> Option<Request> {
    let scheme = PROVIDERS[provider].scheme;
    let path = match scheme {
        Scheme::Stripe => "/hooks/till/backfill?each=/data",
        Scheme::Github => "/hooks/code/backfill?each=&payload=/request/payload",
        Scheme::Batches => "/hooks/bulk/backfill",
        Scheme::Sealed => "/hooks/seal/backfill?each=/data",
        Scheme::Standard => return None,
    };
    let mut events = Vec::new();
    let mut items = Vec::new();
    for (index, identity) in identities(provider).enumerate() {
        // Of those that are no JSON, a list has no payload.
        let payload = if scheme == Scheme::Github { rng.usize(..2) } else { rng.usize(..3) };
        events.push(Sent { index, identity, payload });
        let written = item(identity, payload, 0);
        items.push(match scheme {
            Scheme::Github => {
                let id = json!(id(identity));
                format!(r#"{{"guid":{id},"event":"made","request":{{"payload":{written}}}}}"#)
            }
            _ => written,
        });
    }
    let items = items.join(",");
    let body = match scheme {
        Scheme::Github => format!("[{items}]"),
        Scheme::Batches => format!(r#"{{"items":[{items}]}}"#),
        _ => format!(r#"{{"object":"list","data":[{items}]}}"#),
    };
    let mut headers: Headers = vec![("content-type", "application/json".to_owned())];
    if rng.bool() {
        headers.push(("prefer", "return=representation".to_owned()));
    }
    Some(Request { path, headers, body: body.into(), events, invalid: 0, forgery: None })
}
