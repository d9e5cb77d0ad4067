//! Access: bearer tokens (RFC 6750), and where shippers send them. What pages in browsers may do without one is in [`super::origin`].

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, header};
use subtle::ConstantTimeEq;

use super::problem::Problem;
use super::tokens::{NamedToken, Topics};
use crate::event::{NewEvent, Topic, TopicPattern};

/// The permission that a route requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Store events.
    Publish,
    /// Store events as shippers of logs do: some know no bearer token, and send it as a password or an API key.
    Ship,
    /// Read events, accounts and metrics.
    Read,
    /// Use consumers: the places of readers.
    Consume,
    /// Remove events.
    Administer,
    /// None.
    Anyone,
}

/// The access rules. An empty token opens its scope to everybody, but for administration, which it closes.
#[derive(Clone, Default)]
pub struct Access {
    /// The token of producers.
    pub publish_token: String,
    /// The token of readers.
    pub read_token: String,
    /// The token of those who may remove events.
    pub admin_token: String,
    /// Tokens for some topics.
    pub named: Vec<NamedToken>,
}

/// What a request may do, by its token.
#[derive(Clone, Copy)]
pub struct Grant<'a>(Option<(&'a NamedToken, &'a Topics)>);

impl Grant<'_> {
    /// Whatever its route is for.
    pub const ALL: Self = Self(None);

    /// The idempotency key of a request as it is kept: those of a named token are its own. No key that is sent has such a
    /// character between its parts.
    pub fn own_key<'k>(&self, key: &'k str) -> Cow<'k, str> {
        match self.0 {
            Some((token, _)) => format!("{}\u{1f}{key}", token.name).into(),
            None => key.into(),
        }
    }

    /// Checks that events may be stored.
    ///
    /// # Errors
    /// [`Problem::ForbiddenTopic`], here and below, with the topic at fault.
    pub fn check_events(&self, events: &[NewEvent]) -> Result<(), Problem> {
        events.iter().try_for_each(|event| self.check_topic(&event.topic))
    }

    /// Checks that a topic is among those of the token.
    pub fn check_topic(&self, topic: &Topic) -> Result<(), Problem> {
        match self.0 {
            Some((token, topics)) if !topics.have(topic.as_str()) => {
                Err(forbidden(token, Some(topic.as_str())))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the topics of a reader are among those of the token. Nothing named means all topics of the store.
    pub fn check_patterns(&self, wanted: &[TopicPattern]) -> Result<(), Problem> {
        match self.0 {
            None | Some((_, Topics::All)) => Ok(()),
            Some((token, _)) if wanted.is_empty() => Err(forbidden(token, None)),
            Some((token, topics)) => match wanted.iter().find(|wanted| !topics.cover(wanted)) {
                Some(outside) => Err(forbidden(token, Some(outside.as_str()))),
                None => Ok(()),
            },
        }
    }

    /// True if a consumer is among those of the token.
    pub fn has_consumer(&self, name: &str) -> bool {
        self.0.is_none_or(|(_, consumers)| consumers.have(name))
    }

    /// Checks that a consumer is among those of the token.
    ///
    /// # Errors
    /// [`Problem::ForbiddenConsumer`].
    pub fn check_consumer(&self, name: &str) -> Result<(), Problem> {
        match self.0 {
            Some((token, consumers)) if !consumers.have(name) => {
                Err(Problem::ForbiddenConsumer { token: token.name.clone(), consumer: name.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Checks that the topics of a consumer are among those that its token may read.
    pub fn check_consumed(&self, wanted: &[TopicPattern]) -> Result<(), Problem> {
        Grant(self.0.map(|(token, _)| (token, &token.read))).check_patterns(wanted)
    }
}

fn forbidden(token: &NamedToken, topic: Option<&str>) -> Problem {
    Problem::ForbiddenTopic { token: token.name.clone(), topic: topic.map(ToOwned::to_owned) }
}

impl std::fmt::Debug for Access {
    /// Shows which tokens are set, and never their values.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("publish_token", &!self.publish_token.is_empty())
            .field("read_token", &!self.read_token.is_empty())
            .field("admin_token", &!self.admin_token.is_empty())
            .field("named", &self.named.iter().map(|token| &token.name).collect::<Vec<_>>())
            .finish()
    }
}

impl Access {
    /// Checks that a request with these headers has a permission, and for which topics. Where a named token has it, nobody
    /// has it without a token.
    ///
    /// # Errors
    /// [`Problem::Unauthorized`] without a known token, [`Problem::Forbidden`] with the token of another scope,
    /// [`Problem::AdministrationDisabled`] where nobody may administer.
    pub fn check(&self, headers: &HeaderMap, scope: Scope) -> Result<Grant<'_>, Problem> {
        let given = match scope {
            Scope::Ship => shippers_token(headers),
            _ => bearer_token(headers).map(Cow::Borrowed),
        };
        let given = given.as_deref();
        // All of them are compared, so that the time does not tell which it was.
        let named = given.and_then(|given| {
            self.named
                .iter()
                .fold(None, |found, token| found.or(is_token(given, &token.token).then_some(token)))
        });
        let (wanted, others) = match scope {
            Scope::Publish | Scope::Ship => (&self.publish_token, [&self.read_token, &self.admin_token]),
            Scope::Read | Scope::Consume => (&self.read_token, [&self.publish_token, &self.admin_token]),
            Scope::Administer if self.admin_token.is_empty() => return Err(Problem::AdministrationDisabled),
            Scope::Administer => (&self.admin_token, [&self.publish_token, &self.read_token]),
            Scope::Anyone => return Ok(Grant::ALL),
        };
        if let Some(token) = named {
            let topics = topics_of(token, scope).ok_or(Problem::Forbidden)?;
            return Ok(Grant(Some((token, topics))));
        }
        // A consumer reads.
        let scopes = if scope == Scope::Consume { &[Scope::Consume, Scope::Read][..] } else { &[scope] };
        let is_closed = |token| scopes.iter().any(|scope| topics_of(token, *scope).is_some());
        if wanted.is_empty() && !self.named.iter().any(is_closed) {
            return Ok(Grant::ALL);
        }
        let Some(given) = given else {
            return Err(Problem::Unauthorized { presented: false });
        };
        let is_given = |token: &String| is_token(given, token);
        if is_given(wanted) {
            Ok(Grant::ALL)
        } else if others.into_iter().any(is_given) {
            Err(Problem::Forbidden)
        } else {
            Err(Problem::Unauthorized { presented: true })
        }
    }

    /// True if the request brings one of the tokens, whatever it is for. A page of another site cannot know one.
    pub fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(given) = bearer_token(headers) else { return false };
        let tokens = [&self.publish_token, &self.read_token, &self.admin_token].into_iter();
        let named = self.named.iter().map(|token| &token.token);
        tokens.chain(named).any(|token| is_token(given, token))
    }
}

/// The topics for which a token has a permission; `None` if it has it for none.
fn topics_of(token: &NamedToken, scope: Scope) -> Option<&Topics> {
    let topics = match scope {
        Scope::Publish | Scope::Ship => &token.publish,
        Scope::Read => &token.read,
        Scope::Consume => &token.consume,
        _ => return None,
    };
    (!topics.is_empty()).then_some(topics)
}

fn bearer_token(headers: &HeaderMap) -> Option<&[u8]> {
    credentials(headers, b"bearer ")
}

/// The credentials of a scheme, which ends in a blank.
fn credentials<'h>(headers: &'h HeaderMap, scheme: &[u8]) -> Option<&'h [u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (given, credentials) = value.split_at_checked(scheme.len())?;
    given.eq_ignore_ascii_case(scheme).then(|| credentials.trim_ascii())
}

/// The token of a shipper: a bearer token; the password of any user (RFC 7617); or an API key of Elasticsearch, as it is
/// or as its clients encode it, with any id. A browser repeats a password by itself, so elsewhere it is none.
fn shippers_token(headers: &HeaderMap) -> Option<Cow<'_, [u8]>> {
    let behind_colon = |encoded: &[u8]| {
        let decoded = BASE64_STANDARD.decode(encoded).ok()?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        Some(Cow::Owned(decoded[colon + 1..].to_vec()))
    };
    if let Some(token) = bearer_token(headers) {
        return Some(token.into());
    }
    if let Some(encoded) = credentials(headers, b"basic ") {
        return behind_colon(encoded);
    }
    let key = credentials(headers, b"apikey ")?;
    Some(behind_colon(key).unwrap_or(key.into()))
}

/// True if a token is set, and is the given one. The time does not tell the place of the first difference.
fn is_token(given: &[u8], token: &str) -> bool {
    !token.is_empty() && given.ct_eq(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn access() -> Access {
        Access { publish_token: "write".into(), read_token: "read".into(), ..Access::default() }
    }

    fn with(authorization: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(authorization))])
    }

    #[test]
    fn a_token_opens_what_it_is_for() {
        let access = access();
        for (authorization, publish, read) in [
            ("Bearer write", 200, 403),
            ("bearer  write", 200, 403),
            ("Bearer read", 403, 200),
            ("Bearer writ", 401, 401),
            ("Bearer writes", 401, 401),
            ("Bearer ", 401, 401),
            ("Basic write", 401, 401),
            ("", 401, 401),
        ] {
            for (scope, expected) in [(Scope::Publish, publish), (Scope::Read, read), (Scope::Anyone, 200)] {
                let status = match access.check(&with(authorization), scope) {
                    Ok(_) => 200,
                    Err(problem) => problem.into_reply().status.as_u16(),
                };
                assert_eq!(status, expected, "{authorization:?} {scope:?}");
            }
        }
        assert!(access.check(&HeaderMap::new(), Scope::Read).is_err());
        assert!(Access::default().check(&HeaderMap::new(), Scope::Publish).is_ok());
    }

    fn named() -> Access {
        let tokens = r#"{"shop":{"token":"s","publish":["shop.*"],"read":["shop.*","till"]},
            "audit":{"token":"a","read":["*"]}}"#;
        Access { named: crate::http::tokens::read(tokens).unwrap(), ..Access::default() }
    }

    #[test]
    fn a_named_token_opens_its_topics_and_closes_the_rest() {
        let access = named();
        let status =
            |result: Result<(), Problem>| result.map_or_else(|p| p.into_reply().status.as_u16(), |()| 200);
        let publish = |authorization, topic: &str| {
            let grant = access.check(&with(authorization), Scope::Publish);
            status(grant.and_then(|grant| grant.check_topic(&Topic::parse(topic).unwrap())))
        };
        let read = |authorization, topics: &[&str]| {
            let topics: Vec<_> = topics.iter().map(|topic| TopicPattern::parse(*topic).unwrap()).collect();
            let grant = access.check(&with(authorization), Scope::Read);
            status(grant.and_then(|grant| grant.check_patterns(&topics)))
        };
        assert_eq!(["shop.a", "shop", "till"].map(|topic| publish("Bearer s", topic)), [200, 403, 403]);
        assert_eq!(
            (publish("Bearer a", "shop.a"), publish("", "shop.a"), publish("Bearer x", "t")),
            (403, 401, 401)
        );
        for (topics, expected) in [
            (&["shop.*"][..], 200),
            (&["shop.a.*", "till"], 200),
            (&["shop.a", "other"], 403),
            (&["till.*"], 403),
            (&[], 403),
        ] {
            assert_eq!(read("Bearer s", topics), expected, "{topics:?}");
            assert_eq!(read("Bearer a", topics), 200, "{topics:?}");
        }
        assert_eq!(read("", &["shop.a"]), 401);
        assert!(access.check(&with("Bearer s"), Scope::Administer).is_err());
        assert!(access.knows(&with("Bearer s")) && !access.knows(&with("Bearer ")));
    }

    #[test]
    fn a_permission_that_no_named_token_has_stays_as_it_was() {
        let tokens = r#"{"shop":{"token":"s","publish":["shop.*"]}}"#;
        let access = Access { named: crate::http::tokens::read(tokens).unwrap(), ..access() };
        let is_open = |authorization, scope| access.check(&with(authorization), scope).is_ok();
        assert!(is_open("Bearer write", Scope::Publish) && is_open("Bearer s", Scope::Publish));
        assert!(
            is_open("Bearer read", Scope::Read)
                && !is_open("Bearer s", Scope::Read)
                && !is_open("", Scope::Read)
        );
        let open = Access { read_token: String::new(), ..access.clone() };
        assert!(open.check(&with(""), Scope::Read).is_ok(), "nobody needs a token to read");
    }

    #[test]
    fn a_shipper_may_send_its_token_as_a_password_or_an_api_key_and_nobody_else() {
        let access = Access { named: named().named, ..access() };
        for (authorization, status) in [
            ("Bearer write", 200),
            ("Basic ZWxhc3RpYzp3cml0ZQ==", 200), // elastic:write
            ("basic OndyaXRl", 200),             // :write
            ("ApiKey write", 200),
            ("ApiKey aWQ6d3JpdGU=", 200), // id:write
            ("ApiKey aWQ6cw==", 200),     // id:s, a named token
            ("ApiKey aWQ6cmVhZA==", 403), // id:read
            ("ApiKey aWQ6eA==", 401),     // id:x
            ("Basic d3JpdGU=", 401),      // write
            ("Basic write", 401),
            ("Basic ", 401),
            ("", 401),
        ] {
            let checked = |scope| match access.check(&with(authorization), scope) {
                Ok(_) => 200,
                Err(problem) => problem.into_reply().status.as_u16(),
            };
            assert_eq!(checked(Scope::Ship), status, "{authorization:?}");
            let is_bearer = authorization.starts_with("Bearer");
            assert_eq!(checked(Scope::Publish), if is_bearer { status } else { 401 }, "{authorization:?}");
            assert_eq!(access.knows(&with(authorization)), is_bearer, "{authorization:?}");
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let shown = format!("{:?}{:?}", access(), Access { named: named().named, ..access() });
        assert!(shown.contains("shop"), "{shown}");
        assert!(!shown.contains("write") && !shown.contains("\"read\""), "{shown}");
    }

    #[test]
    fn any_token_is_known_and_an_empty_one_is_none() {
        for (authorization, is_known) in
            [("Bearer write", true), ("Bearer read", true), ("Bearer other", false), ("Bearer ", false)]
        {
            assert_eq!(access().knows(&with(authorization)), is_known, "{authorization}");
        }
        assert!(!Access::default().knows(&with("Bearer ")));
    }
}
