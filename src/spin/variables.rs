//! Spin's variables.

use crate::http::settings::{InvalidSetting, InvalidSettings, Settings};

/// Reads the settings of the service.
///
/// # Errors
/// Names every one that is invalid.
pub async fn settings() -> Result<Settings, InvalidSettings> {
    let unreadable = |error| InvalidSetting::new("settings", format_args!("cannot be read: {error}"));
    let text = spin_sdk::variables::get("settings").await;
    let text = text.map_err(|error| InvalidSettings(vec![unreadable(error)]))?;
    let hooks = spin_sdk::variables::get("hooks").await.unwrap_or_default();
    let tokens = spin_sdk::variables::get("tokens").await.unwrap_or_default();
    Settings::read(&text, &hooks, &tokens)
}

/// The metrics that sekali-host keeps in a variable; other hosts leave it empty.
pub async fn host_metrics() -> String {
    spin_sdk::variables::get("host_metrics").await.unwrap_or_default()
}
