//! `GET /hooks`: the receivers, without their secrets.

use http::StatusCode;

use crate::http::app::{App, Platform};
use crate::http::negotiate::JSON;
use crate::http::reply::Reply;

/// Lists the receivers in the order of their names.
pub fn list<P: Platform>(app: &App<P>) -> Reply {
    let listed: Vec<_> = app.receivers.values().map(|receiver| receiver.described.as_str()).collect();
    Reply::new(StatusCode::OK, JSON, format!("[{}]", listed.join(",")))
}
