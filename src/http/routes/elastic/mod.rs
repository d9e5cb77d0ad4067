//! `/elastic/`: as much of Elasticsearch as shippers of logs ask for before they send, and its bulk API.
//!
//! - `bulk`: what they send
//! - this file: what they ask

mod bulk;
#[cfg(test)]
mod tests;

pub use self::bulk::post;

use http::{HeaderName, HeaderValue, StatusCode};

use crate::http::negotiate::JSON;
use crate::http::reply::Reply;

/// The header by which clients know Elasticsearch. Without it they refuse to speak to a server.
const PRODUCT: HeaderName = HeaderName::from_static("x-elastic-product");

/// A server that clients of version 7 and later take for one they know: the last of version 8.
const INFO: &str = concat!(
    r#"{"name":"sekali","cluster_name":"sekali","cluster_uuid":"sekali","version":{"number":"8.19.0","#,
    r#""build_flavor":"default","build_type":"tar","build_hash":"unknown","build_date":"2025-07-23T00:00:00Z","#,
    r#""build_snapshot":false,"lucene_version":"9.12.2","minimum_wire_compatibility_version":"7.17.0","#,
    r#""minimum_index_compatibility_version":"7.0.0"},"tagline":"You Know, for Search"}"#
);

const LICENSE: &str =
    r#"{"license":{"status":"active","uid":"sekali","type":"basic","mode":"basic","issued_to":"sekali"}}"#;

const HEALTH: &str = r#"{"cluster_name":"sekali","status":"green","timed_out":false,"number_of_nodes":1,"number_of_data_nodes":1}"#;

/// What a client sets up before it sends: none of it means anything here, so all of it is there, and taken.
const SETUPS: [&str; 6] =
    ["_template", "_index_template", "_component_template", "_ilm", "_ingest", "_data_stream"];

/// A resource of Elasticsearch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'p> {
    /// The server itself.
    Info,
    /// Its license.
    License,
    /// The health of its cluster.
    Health,
    /// A template, a policy, a pipeline or an index.
    Setup,
    /// The bulk API.
    Bulk {
        /// The index of actions that name none, percent-encoded.
        index: Option<&'p str>,
    },
}

/// The part of a path behind `/elastic`.
pub fn rest_of(path: &str) -> Option<&str> {
    path.strip_prefix("/elastic").filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl<'p> Resource<'p> {
    /// The resource of a path behind `/elastic`.
    pub fn of(rest: &'p str) -> Option<Self> {
        let rest = rest.trim_matches('/');
        Some(match rest.split_once('/') {
            None if rest.is_empty() => Self::Info,
            None if rest == "_license" => Self::License,
            None if rest == "_bulk" => Self::Bulk { index: None },
            None if !rest.starts_with('_') => Self::Setup,
            Some(("_cluster" | "_cat", "health")) => Self::Health,
            Some((kind, _)) if SETUPS.contains(&kind) => Self::Setup,
            Some((index, "_bulk")) if !index.starts_with('_') => Self::Bulk { index: Some(index) },
            _ => return None,
        })
    }

    /// The form of its paths, for the log.
    pub fn pattern(self) -> &'static str {
        match self {
            Self::Bulk { index: None } => "/elastic/_bulk",
            Self::Bulk { index: Some(_) } => "/elastic/{index}/_bulk",
            _ => "/elastic/",
        }
    }

    /// The answer to a client that asks for it.
    pub fn told(self) -> Reply {
        let body = match self {
            Self::Info => INFO,
            Self::License => LICENSE,
            Self::Health => HEALTH,
            _ => "{}",
        };
        with_product(Reply::new(StatusCode::OK, JSON, body))
    }

    /// The answer to a client that sets it up.
    pub fn acknowledged() -> Reply {
        with_product(Reply::new(StatusCode::OK, JSON, r#"{"acknowledged":true}"#))
    }
}

/// An answer by which clients know the product.
pub fn with_product(mut reply: Reply) -> Reply {
    reply.headers.insert(PRODUCT, HeaderValue::from_static("Elasticsearch"));
    reply
}
