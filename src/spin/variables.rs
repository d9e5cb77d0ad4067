//! Spin's variables.

use anyhow::{Context, Result};

use crate::http::settings::Settings;

/// Reads the settings of the service.
pub async fn settings() -> Result<Settings> {
    let text = spin_sdk::variables::get("settings").await.context("variable settings")?;
    Ok(Settings::read(&text)?)
}

/// The metrics that sekali-host keeps in a variable; other hosts leave it empty.
pub async fn host_metrics() -> String {
    spin_sdk::variables::get("host_metrics").await.unwrap_or_default()
}
