//! Spin's variables.

use std::collections::HashMap;

use anyhow::{Context, Result};

use crate::http::settings::Settings;

/// Reads the settings of the service.
pub async fn settings() -> Result<Settings> {
    let mut variables = HashMap::new();
    for name in Settings::VARIABLES {
        let value = spin_sdk::variables::get(name).await;
        variables.insert(name, value.with_context(|| format!("variable {name}"))?);
    }
    Ok(Settings::read(|name| variables.get(name).cloned().unwrap_or_default())?)
}

/// The metrics that sekali-host keeps in a variable; other hosts leave it empty.
pub async fn host_metrics() -> String {
    spin_sdk::variables::get("host_metrics").await.unwrap_or_default()
}
