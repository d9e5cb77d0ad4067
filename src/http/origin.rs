//! The access of pages in browsers: the names by which they may address the service, and the origins that may call it
//! (CORS, the Fetch standard; CloudEvents' web hooks, version 1.0, section 4).

use std::net::Ipv4Addr;

use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::problem::Problem;

/// The rules for requests of browsers that bring no token.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// Origins whose pages may call; `*` stands for all.
    pub listed: Vec<String>,
    /// Origins of servers that may deliver web hooks, as they name themselves; `*` stands for all.
    pub webhooks: Vec<String>,
    /// Names of the service beside those that always lead here; `*` stands for all.
    pub hosts: Vec<String>,
}

/// True if the request shows that a browser made it.
///
/// `Origin` and `Sec-Fetch-Site` do not suffice: browsers leave both out of a GET to a page's own host, when that has
/// a name and no TLS (Fetch Metadata, section 2), which is how a rebound name is called. What else they send, a page
/// can change at most in part.
pub fn is_from_browser(request: &HeaderMap) -> bool {
    let is =
        |name, matches: fn(&[u8]) -> bool| request.get(name).is_some_and(|value| matches(value.as_bytes()));
    request.contains_key(header::ORIGIN)
        || request.contains_key(SEC_FETCH_SITE)
        || is(header::USER_AGENT, |agent| agent.starts_with(b"Mozilla/"))
        // Node's fetch has a star here, and nobody's language.
        || is(header::ACCEPT_LANGUAGE, |languages| languages != b"*")
}

impl Origins {
    /// Checks that a page is one of this service, which is addressed as `host`, or of a listed origin. Browsers name
    /// the origin in every request that can change something.
    ///
    /// # Errors
    /// [`Problem::ForeignOrigin`].
    pub fn check_origin(&self, request: &HeaderMap, host: Option<&Authority>) -> Result<(), Problem> {
        let is_own = |origin: &HeaderValue| host.is_some_and(|host| is_origin_of(origin, host));
        let mut origins = request.get_all(header::ORIGIN).iter();
        match origins.find(|origin| !lists(&self.listed, origin) && !is_own(origin)) {
            None => Ok(()),
            Some(origin) => {
                let addressed = host.filter(|host| is_behind_proxy(request, origin, host));
                Err(Problem::ForeignOrigin { addressed: addressed.map(ToString::to_string) })
            }
        }
    }

    /// Checks that a browser addresses the service by a name of it: a page can make a name of its own lead here, and
    /// then its own origin is the service's (DNS rebinding).
    ///
    /// # Errors
    /// [`Problem::UnknownHost`]; [`Problem::InvalidHeader`] where there is no host.
    pub fn check_host(&self, host: Option<&Authority>) -> Result<(), Problem> {
        let Some(host) = host else {
            let message = "is required: it names the service".into();
            return Err(Problem::InvalidHeader { name: "host", message });
        };
        let name = host.host().trim_end_matches('.');
        let is_local = |name: &str| {
            let name = name.to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        };
        let is_address = name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok();
        let is_listed = || self.hosts.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(name));
        match is_address || is_local(name) || is_listed() {
            true => Ok(()),
            false => Err(Problem::UnknownHost { name: name.to_owned() }),
        }
    }

    /// The headers that let a page of the request's origin read the answer.
    pub fn allow_origin(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        if self.listed.is_empty() {
            return;
        }
        answer.append(header::VARY, HeaderValue::from_static("origin"));
        let Some(origin) = request.get(header::ORIGIN) else { return };
        if lists(&self.listed, origin) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
    }

    /// The headers that answer a CORS preflight.
    pub fn allow_request(&self, request: &HeaderMap, methods: &'static str, answer: &mut HeaderMap) {
        if self.listed.is_empty() {
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

    /// The headers that let a sender of web hooks deliver here, if it asks by `WebHook-Request-Origin` and is listed.
    /// Returns true if so. Without them it has no permission, whatever the status.
    pub fn allow_webhook(&self, request: &HeaderMap, answer: &mut HeaderMap) -> bool {
        let asks = request.get(WEBHOOK_REQUEST_ORIGIN).filter(|sender| lists(&self.webhooks, sender));
        let Some(sender) = asks else { return false };
        answer.insert(WEBHOOK_ALLOWED_ORIGIN, sender.clone());
        answer.insert(WEBHOOK_ALLOWED_RATE, HeaderValue::from_static("*"));
        true
    }
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const WEBHOOK_REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const WEBHOOK_ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const WEBHOOK_ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// Headers of an answer that a page may read.
const EXPOSED: &str = "link, retry-after, preference-applied, idempotent-replayed, sekali-ignored";

/// Headers of a request that a page may send.
const ACCEPTED: &str = "authorization, content-type, content-encoding, idempotency-key, prefer, last-event-id, \
    ce-specversion, ce-id, ce-source, ce-type, ce-time, ce-subject, ce-dataschema";

fn lists(listed: &[String], origin: &HeaderValue) -> bool {
    listed.iter().any(|listed| listed == "*" || listed.as_bytes() == origin.as_bytes())
}

/// True if pages of the origin come from `host`. The scheme is not compared: a proxy in front may speak TLS.
fn is_origin_of(origin: &HeaderValue, host: &Authority) -> bool {
    let Some((scheme, authority)) = parts(origin) else { return false };
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

/// True if the page is most likely the service's own, and a proxy between them has changed the host: only the port
/// differs, the browser says that they are one site, or the proxy has left its name.
fn is_behind_proxy(request: &HeaderMap, origin: &HeaderValue, host: &Authority) -> bool {
    let same_name = parts(origin)
        .and_then(|(_, authority)| authority.parse::<Authority>().ok())
        .is_some_and(|page| page.host().eq_ignore_ascii_case(host.host()));
    let is_same_origin = request.get(SEC_FETCH_SITE).is_some_and(|site| site == "same-origin");
    let is_forwarded = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host"]
        .iter()
        .any(|name| request.contains_key(*name));
    same_name || is_same_origin || is_forwarded
}

/// The scheme and the authority of an origin.
fn parts(origin: &HeaderValue) -> Option<(&str, &str)> {
    origin.to_str().ok()?.split_once("://")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(origins: &[&str]) -> Origins {
        let listed = origins.iter().map(|&origin| origin.to_owned()).collect();
        Origins { listed, hosts: vec!["inbox.example".into()], ..Origins::default() }
    }

    fn with(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let headers = headers
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        headers.collect()
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
            let host = host.map(|host| host.parse().unwrap());
            let checked = listing(&["https://a"]).check_origin(&with(&[("origin", origin)]), host.as_ref());
            assert_eq!(checked.is_ok(), is_allowed, "{origin} {host:?}");
        }
        assert!(listing(&[]).check_origin(&HeaderMap::new(), None).is_ok(), "not a browser");
    }

    #[test]
    fn a_foreign_origin_that_a_proxy_made_foreign_is_told_of_the_proxy() {
        let own = ("origin", "https://inbox.example");
        for (headers, host, is_told) in [
            (&[own][..], "inbox.example:8080", true),
            (&[own, ("x-forwarded-for", "10.0.0.1")], "backend", true),
            (&[own, ("sec-fetch-site", "same-origin")], "127.0.0.1:3000", true),
            (&[own], "127.0.0.1:3000", false),
            (&[own, ("sec-fetch-site", "cross-site")], "127.0.0.1:3000", false),
        ] {
            let checked = listing(&[]).check_origin(&with(headers), Some(&host.parse().unwrap()));
            let told = checked.unwrap_err().to_string();
            assert_eq!(told.contains("proxy") && told.contains(host), is_told, "{headers:?}: {told}");
        }
    }

    #[test]
    fn the_names_of_the_service_are_addresses_localhost_and_those_that_are_listed() {
        for (host, is_known) in [
            ("127.0.0.1:3000", true),
            ("10.1.2.3", true),
            ("[::1]:3000", true),
            ("localhost", true),
            ("LocalHost.:3000", true),
            ("inbox.localhost:3000", true),
            ("inbox.example", true),
            ("Inbox.Example.:8443", true),
            ("evil.example", false),
            ("inbox.example.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("notlocalhost", false),
            ("127.0.0.1.", true),
        ] {
            let checked = listing(&[]).check_host(Some(&host.parse().unwrap()));
            assert_eq!(checked.is_ok(), is_known, "{host}");
        }
        let all = Origins { hosts: vec!["*".into()], ..Origins::default() };
        assert!(all.check_host(Some(&"any.example".parse().unwrap())).is_ok());
        assert!(listing(&[]).check_host(None).unwrap_err().to_string().contains("host"));
    }

    #[test]
    fn a_browser_is_known_by_what_a_page_cannot_leave_out() {
        for (headers, is_browser) in [
            (&[("origin", "null")][..], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("user-agent", "Mozilla/5.0 (X11; Linux x86_64)")], true),
            (&[("user-agent", "curl"), ("accept-language", "de-DE,de;q=0.9")], true),
            (&[("user-agent", "curl/8.5.0"), ("accept", "*/*")], false),
            (&[("user-agent", "node"), ("accept-language", "*"), ("sec-fetch-mode", "cors")], false),
            (&[], false),
        ] {
            assert_eq!(is_from_browser(&with(headers)), is_browser, "{headers:?}");
        }
    }

    #[test]
    fn only_listed_origins_may_read_answers() {
        let answer = |origins: &[&str], origin: &'static str| {
            let mut headers = HeaderMap::new();
            listing(origins).allow_origin(&with(&[("origin", origin)]), &mut headers);
            headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(answer(&["https://a", "https://b"], "https://b").as_deref(), Some("https://b"));
        assert_eq!(answer(&["https://a"], "https://a.evil"), None);
        assert_eq!(answer(&["*"], "https://c").as_deref(), Some("https://c"));
        assert_eq!(answer(&[], "https://a"), None);
    }

    #[test]
    fn only_listed_senders_of_web_hooks_are_allowed() {
        let allowed = |listed: &str| {
            let origins = Origins { webhooks: vec![listed.into()], ..Origins::default() };
            let mut answer = HeaderMap::new();
            let asked = with(&[("webhook-request-origin", "eventgrid.example")]);
            assert_eq!(origins.allow_webhook(&asked, &mut answer), !answer.is_empty());
            let header = |name: &str| answer.get(name).map(|value| value.to_str().unwrap().to_owned());
            header("webhook-allowed-origin").zip(header("webhook-allowed-rate"))
        };
        let expected = Some(("eventgrid.example".to_owned(), "*".to_owned()));
        assert_eq!(allowed("eventgrid.example"), expected);
        assert_eq!(allowed("*"), expected);
        assert_eq!(allowed("other.example"), None);
    }
}
