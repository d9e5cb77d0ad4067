//! Values of JSON, one a line.

use anyhow::{Result, anyhow};
use serde_json::value::RawValue;

/// The value of a line.
pub fn read(line: &[u8]) -> Result<&RawValue> {
    serde_json::from_slice(line)
        .map_err(|error| anyhow!("is not JSON: {error}{}", hint(line, &error, "json")))
}

/// The remedy for a line that ends too early, or is only an end: it is part of JSON over several lines.
pub fn hint(line: &[u8], error: &serde_json::Error, format: &str) -> String {
    let is_end = matches!(line.trim_ascii(), [b'}' | b']', ..]) || line.trim_ascii().ends_with(b",");
    match error.is_eof() || is_end {
        true => format!("; for JSON over several lines: jq -c . FILE | publisher --format {format} ..."),
        false => String::new(),
    }
}
