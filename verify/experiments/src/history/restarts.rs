//! `history`: one host that is killed and ended again and again, with retention, erasure and ageing in turn.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use fastrand::Rng;
use sekali_harness::deployment::{Deployment, Setup};
use sekali_harness::is_on_spin;
use serde_json::Value;

use super::client::Client;
use super::operator::{KEPT_DAYS, Place};
use super::record::{History, Span, Turn};
use super::stage::{Cast, Stage};
use super::{CATCH_UP, KEPT, ROUND, System, play_and_check, variables};
use crate::{Effort, Tally};

/// The average time between two restarts.
const LIFE: Duration = Duration::from_secs(2);

/// Plays one round or several, each against a service with fresh state.
///
/// # Errors
/// When the service cannot be started.
pub fn run(seed: u64, effort: Effort) -> Result<Tally> {
    let mut tally = Tally::default();
    for round in 0..effort.pick(2, 9) {
        let seed = seed.wrapping_mul(1_000).wrapping_add(round);
        let mut setup = Setup::from_environment()?;
        // Without retention, with that by number, and in a long form with that by age.
        let (kept, ages) = ((round % 3 == 1).then_some(KEPT), round % 3 == 2);
        setup.variables.extend(variables(kept));
        if ages {
            setup.variables.push(("retention_days".into(), KEPT_DAYS.to_string()));
        }
        play_and_check(seed, kept, &mut Single { deployment: setup.start()?, ages }, &mut tally)?;
    }
    Ok(tally)
}

/// A service of one host.
struct Single {
    deployment: Deployment,
    /// True if its events become too old in the midst of the round.
    ages: bool,
}

impl Single {
    fn store(&self) -> Place<'_> {
        match self.deployment.postgres() {
            Some((server, database)) => Place::Tables(server, database),
            None => Place::Files(self.deployment.state().to_owned()),
        }
    }

    /// A count of `/stats`.
    fn count(&self, name: &str) -> Result<u64> {
        let client = Client::new(&[self.deployment.address()]);
        let answer = client.send("GET", "/stats", &[], b"").map_err(|failure| anyhow!("{failure:?}"))?;
        let stats: Value = serde_json::from_slice(&answer.body).with_context(|| answer.text())?;
        stats[name].as_u64().with_context(|| answer.text())
    }
}

impl System for Single {
    fn hosts(&mut self) -> Vec<&mut Deployment> {
        vec![&mut self.deployment]
    }

    fn cast(&self) -> Cast {
        Cast { workers: 3, ..Cast::default() }
    }

    /// Restarts the service at random moments, by SIGKILL and by SIGTERM in turn, until the round is over.
    fn torment(
        &mut self,
        rng: &mut Rng,
        stage: &Stage,
        history: &mut History,
        tally: &mut Tally,
    ) -> Result<()> {
        let (began, mut old) = (Instant::now(), 0);
        for number in rng.usize(..2).. {
            let life = LIFE.mul_f64(0.5 + rng.f64());
            if began.elapsed() + life > ROUND {
                break;
            }
            thread::sleep(life / 2);
            if self.ages && matches!(history.turn, Turn::None) {
                let began = stage.clock.tick();
                old = self.count("unique_processed")?;
                self.store().age()?;
                history.turn = Turn::Aged(Span { began, ended: stage.clock.tick() });
            }
            self.store().hasten();
            thread::sleep(life / 2);
            // Spin closes its database while requests run, which then get 500.
            if number % 2 == 0 && !is_on_spin() {
                self.deployment.ask_to_end();
                let status = self.deployment.wait_for_end()?;
                if !status.success() {
                    let log = self.deployment.log();
                    tally.violated(format!("after SIGTERM the host ended with {status}: {log}"));
                }
            }
            self.deployment.crash_while(|_| ())?;
        }
        self.store().hasten();
        thread::sleep(ROUND.saturating_sub(began.elapsed()));
        let ended = Instant::now();
        while self.count("expired")? < old && ended.elapsed() < CATCH_UP {
            self.store().hasten();
            thread::sleep(LIFE / 10);
        }
        Ok(())
    }

    fn place(&self) -> Option<Place<'_>> {
        Some(self.store())
    }
}
