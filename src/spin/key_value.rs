//! Spin's key-value interface.

use spin_sdk::key_value::Store;

use crate::http::saved_answers::KeyValue;

/// The key-value store with the label `default`.
pub struct DefaultKeyValue;

impl KeyValue for DefaultKeyValue {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        let store = Store::open_default().await.map_err(|error| error.to_string())?;
        store.get(key).await.map_err(|error| error.to_string())
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), String> {
        let store = Store::open_default().await.map_err(|error| error.to_string())?;
        store.set(key, value).await.map_err(|error| error.to_string())
    }
}
