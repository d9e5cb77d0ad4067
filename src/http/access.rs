//! Access: bearer tokens (RFC 6750), and the origins whose pages may call (CORS, the Fetch standard).

use http::uri::Authority;
use http::{HeaderMap, HeaderValue, header};

use super::problem::Problem;

/// The permission that a route requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Store events.
    Publish,
    /// Read events, accounts and metrics.
    Read,
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
    /// Origins whose pages may call; `*` stands for all.
    pub origins: Vec<String>,
}

impl std::fmt::Debug for Access {
    /// Shows which tokens are set, and never their values.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("publish_token", &!self.publish_token.is_empty())
            .field("read_token", &!self.read_token.is_empty())
            .field("admin_token", &!self.admin_token.is_empty())
            .field("origins", &self.origins)
            .finish()
    }
}

impl Access {
    /// Checks that a request with these headers has a permission.
    ///
    /// # Errors
    /// [`Problem::Unauthorized`] without a known token, [`Problem::Forbidden`] with the token of another scope,
    /// [`Problem::AdministrationDisabled`] where nobody may administer.
    pub fn check(&self, headers: &HeaderMap, scope: Scope) -> Result<(), Problem> {
        let (wanted, others) = match scope {
            Scope::Publish => (&self.publish_token, [&self.read_token, &self.admin_token]),
            Scope::Read => (&self.read_token, [&self.publish_token, &self.admin_token]),
            Scope::Administer if self.admin_token.is_empty() => return Err(Problem::AdministrationDisabled),
            Scope::Administer => (&self.admin_token, [&self.publish_token, &self.read_token]),
            Scope::Anyone => return Ok(()),
        };
        if wanted.is_empty() {
            return Ok(());
        }
        let Some(given) = bearer_token(headers) else {
            return Err(Problem::Unauthorized { presented: false });
        };
        let is_given = |token: &String| !token.is_empty() && is_same(given, token.as_bytes());
        if is_given(wanted) {
            Ok(())
        } else if others.into_iter().any(is_given) {
            Err(Problem::Forbidden)
        } else {
            Err(Problem::Unauthorized { presented: true })
        }
    }

    /// Checks that a request of a browser comes from a page of this service, which is called at `host`, or of a listed
    /// origin. Browsers name the origin in every request that can change something; other clients do not.
    ///
    /// # Errors
    /// [`Problem::ForeignOrigin`].
    pub fn check_origin(&self, request: &HeaderMap, host: Option<&Authority>) -> Result<(), Problem> {
        let is_own = |origin: &HeaderValue| host.is_some_and(|host| is_origin_of(origin, host));
        match request.get_all(header::ORIGIN).iter().all(|origin| self.lists(origin) || is_own(origin)) {
            true => Ok(()),
            false => Err(Problem::ForeignOrigin),
        }
    }

    fn lists(&self, origin: &HeaderValue) -> bool {
        self.origins.iter().any(|listed| listed == "*" || listed.as_bytes() == origin.as_bytes())
    }

    /// The headers that let a page of the request's origin read the answer.
    pub fn allow_origin(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        if self.origins.is_empty() {
            return;
        }
        answer.append(header::VARY, HeaderValue::from_static("origin"));
        let Some(origin) = request.get(header::ORIGIN) else { return };
        if self.lists(origin) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
    }

    /// The headers that answer a CORS preflight.
    pub fn allow_request(&self, request: &HeaderMap, methods: &'static str, answer: &mut HeaderMap) {
        if self.origins.is_empty() {
            return;
        }
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
        // Extensions of CloudEvents are headers of any name behind `ce-`.
        let asked = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS).and_then(|names| names.to_str().ok());
        let extensions = asked.into_iter().flat_map(|names| names.split(',')).map(str::trim);
        let extensions = extensions.filter(|name| name.to_ascii_lowercase().starts_with("ce-"));
        let accepted: Vec<_> = std::iter::once(ACCEPTED).chain(extensions).collect();
        if let Ok(accepted) = HeaderValue::try_from(accepted.join(", ")) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, accepted);
        }
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    }
}

/// Headers of an answer that a page may read.
const EXPOSED: &str = "link, retry-after, preference-applied, idempotent-replayed";

/// Headers of a request that a page may send.
const ACCEPTED: &str = "authorization, content-type, content-encoding, idempotency-key, prefer, last-event-id, \
    ce-specversion, ce-id, ce-source, ce-type, ce-time, ce-subject, ce-dataschema";

/// True if pages of the origin come from `host`. The scheme is not compared: a proxy in front may speak TLS.
fn is_origin_of(origin: &HeaderValue, host: &Authority) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    // A browser leaves the default port out, in both headers; other clients may not.
    let bare =
        |authority: &str| authority.strip_suffix(default_port).unwrap_or(authority).to_ascii_lowercase();
    bare(authority) == bare(host.as_str())
}

fn bearer_token(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Compares in a time that does not depend on the place of the first difference.
fn is_same(given: &[u8], wanted: &[u8]) -> bool {
    let mut difference = given.len() ^ wanted.len();
    for (index, byte) in wanted.iter().enumerate() {
        difference |= usize::from(byte ^ given.get(index).copied().unwrap_or(!byte));
    }
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        Access {
            publish_token: "write".into(),
            read_token: "read".into(),
            admin_token: String::new(),
            origins: vec!["https://a".into()],
        }
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
                    Ok(()) => 200,
                    Err(problem) => problem.into_reply().status.as_u16(),
                };
                assert_eq!(status, expected, "{authorization:?} {scope:?}");
            }
        }
        assert!(access.check(&HeaderMap::new(), Scope::Read).is_err());
        assert!(Access::default().check(&HeaderMap::new(), Scope::Publish).is_ok());
    }

    #[test]
    fn a_token_is_never_shown() {
        let shown = format!("{:?}", access());
        assert!(!shown.contains("write") && !shown.contains("\"read\""), "{shown}");
    }

    #[test]
    fn a_page_may_call_the_host_that_it_comes_from_and_others_must_be_listed() {
        for (origin, host, is_allowed) in [
            ("http://localhost:3000", Some("localhost:3000"), true),
            ("https://inbox.example", Some("inbox.example"), true),
            ("https://inbox.example", Some("INBOX.example:443"), true),
            ("http://[::1]:3000", Some("[::1]:3000"), true),
            ("https://a", Some("localhost:3000"), true),
            ("http://localhost:3001", Some("localhost:3000"), false),
            ("http://localhost", Some("localhost:3000"), false),
            ("https://evil.example", Some("localhost:3000"), false),
            ("http://localhost:3000.evil.example", Some("localhost:3000"), false),
            ("null", Some("localhost:3000"), false),
            ("null", None, false),
            ("file://localhost:3000", Some("localhost:3000"), false),
        ] {
            let request = HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))]);
            let host = host.map(|host| host.parse().unwrap());
            assert_eq!(
                access().check_origin(&request, host.as_ref()).is_ok(),
                is_allowed,
                "{origin} {host:?}"
            );
        }
        assert!(access().check_origin(&HeaderMap::new(), None).is_ok(), "not a browser");
    }

    #[test]
    fn only_listed_origins_may_read_answers() {
        let answer = |origins: &[&str], origin: &'static str| {
            let access =
                Access { origins: origins.iter().map(|origin| (*origin).to_owned()).collect(), ..access() };
            let mut headers = HeaderMap::new();
            let request = HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))]);
            access.allow_origin(&request, &mut headers);
            headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(answer(&["https://a", "https://b"], "https://b").as_deref(), Some("https://b"));
        assert_eq!(answer(&["https://a"], "https://a.evil"), None);
        assert_eq!(answer(&["*"], "https://c").as_deref(), Some("https://c"));
        assert_eq!(answer(&[], "https://a"), None);
    }
}
