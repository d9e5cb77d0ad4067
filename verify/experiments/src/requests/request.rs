//! Random requests to publish, in all forms that the service takes.

use std::fmt;

use fastrand::Rng;

use super::format::{Form, Format};
use super::identities::{IDENTITIES, PAYLOADS, name};

/// Identities from which the events of a moment are drawn.
const WINDOW: usize = 24;

/// Events of a flood, and the number of different floods.
const FLOOD: usize = 400;
const FLOODS: usize = 12;

/// Events of a request of a crowd.
const CROWD_EVENTS: usize = 50;

/// Moments for which a key is in use.
pub const MOMENTS_OF_A_KEY: usize = 4;

/// A request to publish, without its idempotency key. Two that are equal have the same meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Path and query.
    pub path: &'static str,
    /// Headers, of which each is part of the meaning.
    pub headers: Vec<(&'static str, String)>,
    /// The body, as it is sent.
    pub body: Vec<u8>,
    /// The valid events.
    pub events: Vec<Sent>,
    /// The number of invalid events.
    pub invalid: usize,
    /// The thing that is wrong with a delivery that its provider did not sign.
    pub forgery: Option<&'static str>,
}

/// A valid event of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its place in the request, from 0.
    pub index: usize,
    /// Its identity.
    pub identity: usize,
    /// The number of its payload.
    pub payload: usize,
}

/// A request before it is written: what gives it its meaning.
#[derive(Clone)]
pub struct Draft {
    form: Form,
    /// Identity and payload of each event; `None` for an invalid one.
    events: Vec<Option<(usize, usize)>>,
    is_partial: bool,
    prefer: Option<&'static str>,
}

impl Draft {
    /// Random events. `moment` moves the window of identities from which they are drawn.
    pub fn random(rng: &mut Rng, moment: usize) -> Self {
        let form = Form::random(rng);
        let count = match rng.u8(..40) {
            _ if form.format.is_single() => 1,
            0 => 0,
            _ => rng.usize(1..8),
        };
        let mut events: Vec<_> = (0..count)
            .map(|_| {
                let identity = match rng.u8(..10) {
                    0 => rng.usize(..=moment),
                    _ => moment + rng.usize(..WINDOW),
                };
                // The first payload is frequent, so that there are plain duplicates and conflicts.
                let payload = if rng.bool() { 0 } else { rng.usize(..PAYLOADS) };
                Some((identity % IDENTITIES, payload))
            })
            .collect();
        let is_partial = rng.u8(..4) == 0;
        if !form.format.is_single() && rng.u8(..if is_partial { 2 } else { 20 }) == 0 {
            events.insert(rng.usize(..=events.len()), None);
        }
        let prefer = [None, Some("return=minimal"), Some("return=representation")][rng.usize(..3)];
        Self { form, events, is_partial, prefer }
    }

    /// An array of so many events, whose identities follow each other from `first` on.
    pub fn many(rng: &mut Rng, first: usize, count: usize) -> Self {
        let event = |identity: usize| Some((identity % IDENTITIES, rng.usize(..PAYLOADS)));
        let events = (first..first + count).map(event).collect();
        Self { form: Form::plain(Format::Array), events, is_partial: false, prefer: None }
    }

    /// The same, but for one thing.
    pub fn changed(&self, rng: &mut Rng) -> Self {
        let mut other = self.clone();
        let events = other.events.iter_mut().rev().flatten();
        match (rng.u8(..4), events.into_iter().next()) {
            (0, Some((_, payload))) => *payload = (*payload + 1) % PAYLOADS,
            // In binary mode the body may stay as it is.
            (1, Some((identity, _))) => *identity = (*identity + rng.usize(1..WINDOW)) % IDENTITIES,
            (2, _) => other.is_partial = !self.is_partial,
            _ => other.prefer = if self.prefer.is_none() { Some("return=minimal") } else { None },
        }
        other
    }

    /// The request.
    pub fn write(&self) -> Request {
        Request::new(self.form, &self.events, self.is_partial, self.prefer)
    }
}

impl Request {
    /// A random [`Draft`], written.
    pub fn random(rng: &mut Rng, moment: usize) -> Self {
        Draft::random(rng, moment).write()
    }

    /// A request with many events, most of which nobody else sends, so that others are soon too old to be kept.
    pub fn flood(rng: &mut Rng) -> Self {
        let first = IDENTITIES - FLOOD * (1 + rng.usize(..FLOODS));
        Draft::many(rng, first, FLOOD).write()
    }

    /// A request of a crowd: enough events that the service has more work with it than its client, most of them new until
    /// the crowd has sent them all.
    pub fn of_crowd(rng: &mut Rng) -> Self {
        let first = rng.usize(..IDENTITIES - CROWD_EVENTS);
        Draft::many(rng, first, CROWD_EVENTS).write()
    }

    /// Deliveries of events that are gone, which are duplicates, and never conflicts.
    pub fn late(identities: &[usize]) -> Self {
        let events: Vec<_> = identities.iter().map(|identity| Some((*identity, PAYLOADS - 1))).collect();
        Self::new(Form::plain(Format::Array), &events, false, Some("return=representation"))
    }

    /// The request with an idempotency key. Variant 0 is the usual one; the others have another meaning, and where
    /// possible the same body. All clients make the same request of a key and variant.
    pub fn keyed(seed: u64, key: usize, variant: u8) -> Self {
        let moment = key * MOMENTS_OF_A_KEY;
        let mut rng = Rng::with_seed(seed ^ (key as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let identity = (moment + rng.usize(..WINDOW)) % IDENTITIES;
        if rng.bool() {
            // Nobody else sends this one: if the service takes it for the first, it is lost.
            let other = IDENTITIES - 1 - key % (IDENTITIES / 2);
            let identity = if variant == 0 { identity } else { other };
            return Self::new(Form::plain(Format::CloudBinary), &[Some((identity, 0))], false, None);
        }
        let mut request = Self::random(&mut rng, moment);
        match variant {
            0 => {}
            1 => {
                let is_minimal = request.header("prefer") == Some("return=minimal");
                request.headers.retain(|(name, _)| *name != "prefer");
                let other = if is_minimal { "return=representation" } else { "return=minimal" };
                request.headers.push(("prefer", other.into()));
            }
            _ => {
                let first = request.clone();
                while request == first {
                    request = Self::random(&mut rng, moment);
                }
            }
        }
        request
    }

    /// A request with these events, each an identity and a payload, or `None` for an invalid one.
    fn new(form: Form, events: &[Option<(usize, usize)>], is_partial: bool, prefer: Option<&str>) -> Self {
        let mut headers = form.headers(events);
        headers.extend(prefer.map(|prefer| ("prefer", prefer.to_owned())));
        let valid = events.iter().enumerate();
        let valid = valid
            .filter_map(|(index, event)| event.map(|(identity, payload)| Sent { index, identity, payload }));
        Self {
            path: if is_partial { "/publish?partial=true" } else { "/publish" },
            headers,
            body: form.body(events),
            events: valid.collect(),
            invalid: events.iter().filter(|event| event.is_none()).count(),
            forgery: None,
        }
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The form of its answer: the one that it prefers, or that of deliveries.
    pub fn preference(&self) -> Option<&str> {
        self.header("prefer").or(self.is_delivery().then_some("return=minimal"))
    }

    /// True for a delivery to a receiver, or a list of them.
    pub fn is_delivery(&self) -> bool {
        self.path.starts_with("/hooks/")
    }

    /// Path and headers, for people. Those of a delivery are left out: its signature is another each time.
    pub fn head(&self) -> String {
        if self.is_delivery() {
            return format!("POST {} ({})", self.path, self.forgery.unwrap_or("signed"));
        }
        let headers = self.headers.iter().map(|(name, value)| format!(" {name}: {value};"));
        format!("POST {}{}", self.path, headers.collect::<String>())
    }

    /// True if valid events are stored although others are not.
    pub fn is_partial(&self) -> bool {
        self.path.contains("partial")
    }
}

impl fmt::Display for Request {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.head())?;
        let events = self.events.iter().map(|sent| format!("{}={}", name(sent.identity), sent.payload));
        write!(out, " events [{}]", events.collect::<Vec<_>>().join(", "))?;
        if self.invalid > 0 {
            write!(out, " and {} invalid", self.invalid)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_requests_and_each_variant_has_another_meaning() {
        let many = |seed| {
            let mut rng = Rng::with_seed(seed);
            (0..100).map(|moment| Request::random(&mut rng, moment)).collect::<Vec<_>>()
        };
        assert_eq!(many(1), many(1));
        assert_ne!(many(1), many(2));
        let mut same_bodies = 0;
        for key in 0..100 {
            let [first, again, second, third] = [0, 0, 1, 2].map(|variant| Request::keyed(1, key, variant));
            assert_eq!(first, again);
            assert!(first != second && first != third, "{first}");
            same_bodies += usize::from(first.body == second.body && first.events != second.events);
        }
        assert!(same_bodies > 30, "CloudEvents with the same data: {same_bodies}");
    }
}
