//! Ships all inputs of a configuration, each by itself: one that fails does not keep the others waiting, and is started
//! again at its checkpoint, so that nobody has to come when the reason has gone.

use std::time::Duration;

use anyhow::Result;
use sekali_clients::interrupt::Interrupt;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::ending::Ending;
use crate::shipment::{Prepared, Shipment};

/// The first pause before an input that failed is started again. Each is twice the one before.
const SHORTEST: Duration = Duration::from_secs(1);

/// The longest of these pauses. After an attempt that took longer, they are short again.
const LONGEST: Duration = Duration::from_secs(60);

/// Ships all inputs until the last of them ends, and reports on each when it does.
pub async fn run(shipments: Vec<(Shipment, Prepared)>, interrupt: &Interrupt) -> Result<Ending> {
    let mut tasks = JoinSet::new();
    for (shipment, prepared) in shipments {
        tasks.spawn(keep_shipping(shipment, prepared, interrupt.clone()));
    }
    let mut ending = Ending::default();
    while let Some(ended) = tasks.join_next().await {
        let (shipment, error) = ended?;
        shipment.report(error.as_deref());
        ending.add(error.is_some(), &shipment.tally);
    }
    Ok(ending)
}

/// Ships an input until it ends, or a signal ends it. The error is that of the last attempt.
async fn keep_shipping(
    mut shipment: Shipment,
    prepared: Prepared,
    interrupt: Interrupt,
) -> (Shipment, Option<String>) {
    let mut prepared = Some(prepared);
    let mut pause = SHORTEST;
    loop {
        let began = Instant::now();
        let Err(error) = attempt(&mut shipment, prepared.take()).await else { return (shipment, None) };
        if interrupt.exit_code().is_some() {
            return (shipment, Some(error));
        }
        if began.elapsed() > LONGEST {
            pause = SHORTEST;
        }
        shipment.complain(&format!("{error}\nstarting it again in {} s", pause.as_secs()));
        shipment.tally.progress.has_failed.set(true);
        tokio::select! {
            () = sleep(pause) => {}
            () = interrupt.requested() => return (shipment, Some(error)),
        }
        shipment.tally.progress.has_failed.set(false);
        pause = LONGEST.min(2 * pause);
    }
}

/// Ships what was prepared, or is now.
async fn attempt(shipment: &mut Shipment, prepared: Option<Prepared>) -> Result<(), String> {
    let prepared = match prepared {
        Some(prepared) => prepared,
        None => shipment.prepare().await.map_err(|error| format!("{error:#}"))?,
    };
    shipment.ship(prepared).await.map_err(|stop| stop.to_text())
}
