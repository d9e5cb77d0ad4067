//! When this service started. A component cannot see when its process did, so either the host says
//! it, in the variable `started_at`, or the first request ever served has set a mark in key-value.

use spin_sdk::key_value::{Error, Store};

use crate::event::Timestamp;

/// Where the mark is kept.
const KEY: &str = "started_at";

/// The moment of the mark, which is now if there is none yet.
///
/// Two instances may both set it, within one request of each other: that is close enough.
/// So is now, when key-value fails: uptime is worth no outage.
pub async fn since_mark() -> Timestamp {
    let now = Timestamp::now();
    match read_or_set(&now).await {
        Ok(mark) => mark,
        Err(error) => {
            eprintln!("error: key-value does not say when the service started: {error}");
            now
        }
    }
}

async fn read_or_set(now: &Timestamp) -> Result<Timestamp, Error> {
    let store = Store::open_default().await?;
    let mark = store.get(KEY).await?;
    if let Some(mark) = mark.and_then(|bytes| Timestamp::parse(std::str::from_utf8(&bytes).ok()?).ok()) {
        return Ok(mark);
    }
    store.set(KEY, now.to_string()).await?;
    Ok(now.clone())
}
