//! The consumer's place in the service.

use std::sync::Arc;
use std::time::Duration;

use sekali_clients::client::{Client, Failure};
use sekali_clients::retry::{Patience, persist};
use sekali_common::consumers::{Claim, ClaimRequest, Commit, Committed, Specification};

use crate::board::Board;
use crate::forward::Service;

/// The pauses between attempts while the service is away. It is never given up: the log waits.
const PATIENCE: Patience = Patience { longest_pause: Duration::from_secs(5), give_up_after: None };

/// A consumer that this process holds, or wants to.
#[derive(Clone)]
pub struct Place {
    /// The service.
    pub client: Client,
    /// The name of the consumer.
    pub name: String,
    /// The name of this process.
    pub holder: String,
    /// The board that shows when the service is away.
    pub board: Arc<Board>,
}

impl Place {
    /// Makes the consumer, or changes it. Returns what it is.
    pub async fn put(&self, wanted: &Specification) -> Result<Specification, Failure> {
        let note = |failure: &Failure| self.board.is_cut_off(failure);
        let put = persist(PATIENCE, note, || self.client.put_consumer(&self.name, wanted)).await?;
        Ok(put.specification)
    }

    /// Deletes the consumer.
    pub async fn delete(&self) -> Result<(), Failure> {
        let note = |failure: &Failure| self.board.is_cut_off(failure);
        persist(PATIENCE, note, || self.client.delete_consumer(&self.name)).await
    }
}

impl Service for Place {
    async fn claim(&self, limit: u32, lease: Duration, wait: u32) -> Result<Option<Claim>, Failure> {
        let wanted = ClaimRequest {
            holder: self.holder.clone(),
            limit: Some(limit),
            lease: Some(lease.as_secs() as u32),
            wait: Some(wait),
        };
        let note = |failure: &Failure| self.board.is_cut_off(failure);
        persist(PATIENCE, note, || self.client.claim(&self.name, &wanted)).await
    }

    async fn consumer(&self) -> Result<Specification, Failure> {
        let note = |failure: &Failure| self.board.is_cut_off(failure);
        let consumer = persist(PATIENCE, note, || self.client.consumer(&self.name)).await?;
        Ok(consumer.specification)
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, Failure> {
        let note = |failure: &Failure| self.board.is_cut_off(failure);
        persist(PATIENCE, note, || self.client.commit(&self.name, &commit)).await
    }
}
