//! The start of the service. A component cannot see the start of its host process, so either the host tells it in the
//! variable `started_at`, or the first request ever served has left a marker in key-value.

use spin_sdk::key_value::{Error, Store};

use crate::event::Timestamp;

/// The key of the marker.
const KEY: &str = "started_at";

/// The moment of the first request, which is now if there is no marker yet.
///
/// Two instances may both set the marker, within one request of each other: that is close enough. It is also now if
/// key-value fails: uptime is not worth an outage.
pub async fn first_request() -> Timestamp {
    let now = Timestamp::now();
    match read_or_set(&now).await {
        Ok(moment) => moment,
        Err(error) => {
            sekali_common::log::error(
                "key-value",
                format_args!("the start of the service cannot be read: {error}"),
            );
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
