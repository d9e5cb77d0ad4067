//! The resources of the site, by path.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use crate::problems;

/// A resource.
pub struct Resource {
    /// Its media type.
    pub content_type: &'static str,
    /// Its `Cache-Control`.
    pub cache_control: &'static str,
    /// Its content security policy.
    pub policy: &'static str,
    /// Its content.
    pub content: Content,
    /// A hash of its content.
    pub hash: u64,
}

/// The content of a resource.
pub enum Content {
    /// The bytes themselves.
    Plain(Cow<'static, [u8]>),
    /// The bytes, compressed.
    Gzipped(&'static [u8]),
}

/// The resource at a path, if there is one.
pub fn find(path: &str) -> Option<&'static Resource> {
    SITE.get(path)
}

/// The resources by path, made at the first request of an instance.
static SITE: LazyLock<HashMap<Cow<'static, str>, Resource>> = LazyLock::new(|| {
    let console = include_bytes!("../site/console/index.html");
    let receivers = include_bytes!("../site/console/receivers.html");
    let consumers = include_bytes!("../site/console/consumers.html");
    let docs = include_bytes!("../site/docs.html");
    let mut site = HashMap::from([
        ("/".into(), page(OWN_POLICY, console.as_slice())),
        ("/receivers".into(), page(OWN_POLICY, receivers.as_slice())),
        ("/console/consumers".into(), page(OWN_POLICY, consumers.as_slice())),
        ("/docs".into(), page(DOCS_POLICY, docs.as_slice())),
        ("/docs/".into(), page(DOCS_POLICY, docs.as_slice())),
        ("/openapi.json".into(), resource(JSON, REVALIDATE, plain(include_str!("../../openapi.json")))),
        ("/docs/style.css".into(), asset(CSS, plain(include_str!("../site/style.css")))),
        ("/docs/docs.js".into(), asset(JAVASCRIPT, plain(include_str!("../site/docs.js")))),
        ("/docs/icon.svg".into(), asset("image/svg+xml", plain(include_str!("../site/icon.svg")))),
        (
            "/docs/uplot.js".into(),
            asset(JAVASCRIPT, Content::Gzipped(include_bytes!("../assets/uplot.js.gz"))),
        ),
        ("/docs/uplot.css".into(), asset(CSS, plain(include_str!("../assets/uplot.css")))),
        ("/docs/uplot.LICENSE.txt".into(), asset(TEXT, plain(include_str!("../assets/uplot.LICENSE.txt")))),
        (
            "/docs/swagger-ui-bundle.js".into(),
            asset(JAVASCRIPT, Content::Gzipped(include_bytes!("../assets/swagger-ui-bundle.js.gz"))),
        ),
        (
            "/docs/swagger-ui-bundle.js.LICENSE.txt".into(),
            asset(TEXT, plain(include_str!("../assets/swagger-ui-bundle.js.LICENSE.txt"))),
        ),
        (
            "/docs/swagger-ui.css".into(),
            asset(CSS, Content::Gzipped(include_bytes!("../assets/swagger-ui.css.gz"))),
        ),
    ]);
    for (path, text) in CONSOLE {
        let content_type = if path.ends_with(".css") { CSS } else { JAVASCRIPT };
        site.insert(path.into(), resource(content_type, REVALIDATE, plain(text)));
    }
    for explanation in problems::ALL {
        let path = format!("/problems/{}", explanation.kind.name);
        site.insert(path.into(), page(OWN_POLICY, explanation.page().into_bytes()));
    }
    site
});

/// Names of files as their paths and contents.
macro_rules! console {
    ($($name:literal)*) => {
        [$((concat!("/docs/console/", $name), include_str!(concat!("../site/console/", $name)))),*]
    };
}

/// The parts of the console. They belong together, so none may be older than another.
const CONSOLE: [(&str, &str); 28] = console! {
    "access.js" "account.js" "act.js" "address.js" "api.js" "console.css" "consumers.js" "curl.js" "demo.js"
    "entry.js" "event.js" "events.js" "failed.js" "lag.js" "main.js" "page.js" "place.js" "providers.js" "publish.js"
    "receivers.js" "sample.js" "search.js" "service.js" "signing.js" "spark.js" "state.js" "topics.js" "tree.js"
};

const JSON: &str = "application/json";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// For content that changes with a version, at the same path: a client asks again, and gets a 304.
const REVALIDATE: &str = "no-cache";

/// A resource that is not a page may do nothing, and a page only what it needs.
pub const NO_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";
const OWN_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The library of the reference styles elements one by one, and has its icons in its style sheet.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn plain(text: &'static str) -> Content {
    Content::Plain(text.as_bytes().into())
}

fn page(policy: &'static str, html: impl Into<Cow<'static, [u8]>>) -> Resource {
    let content = Content::Plain(html.into());
    Resource { policy, ..resource("text/html; charset=utf-8", REVALIDATE, content) }
}

fn asset(content_type: &'static str, content: Content) -> Resource {
    resource(content_type, "public, max-age=3600", content)
}

fn resource(content_type: &'static str, cache_control: &'static str, content: Content) -> Resource {
    let mut hasher = DefaultHasher::new();
    match &content {
        Content::Plain(bytes) => bytes.hash(&mut hasher),
        Content::Gzipped(bytes) => bytes.hash(&mut hasher),
    }
    Resource { content_type, cache_control, policy: NO_POLICY, content, hash: hasher.finish() }
}
