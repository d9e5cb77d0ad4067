//! All that is wrong with the settings, before anything is served: a host must not start healthy and then answer 500.
//!
//! The host knows its own part, and asks the component about the rest. A component whose variables are invalid says so in
//! its answer to `/healthz`, which touches no store.

use std::time::Duration;

use anyhow::{Result, ensure};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use tokio::task::LocalSet;
use tokio::time::timeout;

use crate::instance::{Instances, Program, SharedBody};
use crate::routes::Routes;

/// The path by which a component tells that it lives.
const PROBE: &str = "/healthz";

/// The longest wait for the answer. Without one, the service starts: it may be only slow.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The most bytes of the answer.
const MOST_BYTES: usize = 64 << 10;

/// The part of the answer that counts.
#[derive(Default, Deserialize)]
struct Health {
    #[serde(default)]
    invalid_settings: Vec<String>,
}

/// Refuses to go on if anything is wrong: with what the host found itself, and with what the component finds that answers
/// the probe. A variable that both find is named once.
///
/// # Errors
/// Names all of it.
pub async fn check(mut invalid: Vec<String>, programs: &[Program], routes: &Routes) -> Result<()> {
    if let Some(program) = routes.find(PROBE).and_then(|index| programs.get(index)) {
        for setting in LocalSet::new().run_until(invalid_of(program)).await {
            // Both begin with `variable NAME `.
            let name: Vec<_> = setting.splitn(3, ' ').take(2).collect();
            if !invalid.iter().any(|known| known.starts_with(&format!("{} ", name.join(" ")))) {
                invalid.push(setting);
            }
        }
    }
    ensure!(invalid.is_empty(), "settings are invalid, so nothing is served:\n  {}", invalid.join("\n  "));
    Ok(())
}

/// The settings that a component says are invalid.
async fn invalid_of(program: &Program) -> Vec<String> {
    let instances = Instances::start(program, 1);
    let mut request = http::Request::new(SharedBody::none());
    *request.uri_mut() = http::Uri::from_static(PROBE);
    let ask = async {
        let answer = instances.handle(request).await.ok()?;
        let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await.ok()?;
        serde_json::from_slice::<Health>(&body.to_bytes()).ok()
    };
    let health = timeout(LONGEST_WAIT, ask).await.ok().flatten().unwrap_or_default();
    instances.stop().await;
    health.invalid_settings
}
