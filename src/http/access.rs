//! Access: bearer tokens (RFC 6750). What pages in browsers may do without one is in [`super::origin`].

use http::{HeaderMap, header};
use subtle::ConstantTimeEq;

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
}

impl std::fmt::Debug for Access {
    /// Shows which tokens are set, and never their values.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("publish_token", &!self.publish_token.is_empty())
            .field("read_token", &!self.read_token.is_empty())
            .field("admin_token", &!self.admin_token.is_empty())
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
        let is_given = |token: &String| is_token(given, token);
        if is_given(wanted) {
            Ok(())
        } else if others.into_iter().any(is_given) {
            Err(Problem::Forbidden)
        } else {
            Err(Problem::Unauthorized { presented: true })
        }
    }

    /// True if the request brings one of the tokens, whatever it is for. A page of another site cannot know one.
    pub fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(given) = bearer_token(headers) else { return false };
        let tokens = [&self.publish_token, &self.read_token, &self.admin_token];
        tokens.into_iter().any(|token| is_token(given, token))
    }
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
        Access { publish_token: "write".into(), read_token: "read".into(), admin_token: String::new() }
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
    fn any_token_is_known_and_an_empty_one_is_none() {
        for (authorization, is_known) in
            [("Bearer write", true), ("Bearer read", true), ("Bearer other", false), ("Bearer ", false)]
        {
            assert_eq!(access().knows(&with(authorization)), is_known, "{authorization}");
        }
        assert!(!Access::default().knows(&with("Bearer ")));
    }
}
