//! Access: bearer tokens (RFC 6750). What pages in browsers may do without one is in [`super::origin`].

use std::borrow::Cow;

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
        let given = bearer_token(headers);
        // All of them are compared, so that the time does not tell which it was.
        let named = given.and_then(|given| {
            self.named
                .iter()
                .fold(None, |found, token| found.or(is_token(given, &token.token).then_some(token)))
        });
        let (wanted, others) = match scope {
            Scope::Publish => (&self.publish_token, [&self.read_token, &self.admin_token]),
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
        Scope::Publish => &token.publish,
        Scope::Read => &token.read,
        Scope::Consume => &token.consume,
        _ => return None,
    };
    (!topics.is_empty()).then_some(topics)
}

fn bearer_token(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
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
