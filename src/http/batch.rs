//! The events of a request, from their limits to the receipt: what every way in does with them.

use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::access::Grant;
use super::app::{App, Platform};
use super::budget::Share;
use super::prefer::Preference;
use super::problem::Problem;
use super::receipt::Receipt;
use super::saved_answers::SavedAnswer;
use crate::clock::Clock;
use crate::event::NewEvent;
use crate::ingest::{Context, Ingested, Invalid};
use crate::store::{Outcome, RequestKey, StoreError};

/// The events of a request, before and after they are stored.
pub struct Batch {
    /// The valid ones.
    pub events: Rc<[NewEvent]>,
    /// The time at which the store was asked for their topics, if it was.
    asked_at: Option<Duration>,
    /// Their places in the request.
    pub indexes: Vec<usize>,
    /// The errors of the others.
    pub rejected: Invalid,
    /// The names of fields that were ignored.
    ignored: Vec<String>,
    /// The share of the budget of bodies that they hold.
    share: Share,
}

impl Batch {
    /// Takes the events of a body, whose share of the budget goes with them: they take about as much memory, and may wait
    /// for a while.
    ///
    /// # Errors
    /// [`Problem::ForbiddenTopic`] when they may not be stored; [`Problem::InvalidEvents`] with the events of one topic
    /// more than the store may have.
    pub async fn of<P: Platform>(
        app: &App<P>,
        grant: Grant<'_>,
        mut ingested: Ingested,
        context: &Context,
        share: Share,
    ) -> Result<Self, Problem> {
        grant.check_events(&ingested.events)?;
        let asked_at = (!app.topics.are_known(&ingested.events)).then(|| app.clock.now());
        let refused = app.topics.refused(&ingested.events).await?;
        if !refused.is_empty() {
            let message =
                format!("is new, and the store has the {} topics that max_topics allows", app.topics.most());
            let is_refused = |event: &NewEvent| refused.contains(&event.topic);
            ingested = ingested.refuse(context, is_refused, "topic", &message)?;
        }
        let Ingested { events, indexes, rejected, ignored } = ingested;
        Ok(Self { events: events.into(), asked_at, indexes, rejected, ignored, share })
    }

    /// Stores the events.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn commit<P: Platform>(
        &self,
        app: &App<P>,
        key: Option<RequestKey>,
    ) -> Result<Vec<Outcome>, StoreError> {
        let outcomes = app.committer.commit_request(Rc::clone(&self.events), key, self.asked_at).await?;
        if self.asked_at.is_some() {
            app.topics.remember(&self.events);
        }
        Ok(outcomes)
    }

    /// The share of the budget, for an answer of so many bytes: once events are stored, there has to be room for it.
    pub fn into_share(mut self, bytes: usize) -> Share {
        self.share.replace(bytes);
        self.share
    }

    /// The answer, and the share of the budget that it holds. Its bytes take the place of the body's: once events are
    /// stored, there has to be room for their answer.
    ///
    /// # Errors
    /// [`Problem::Internal`] if it cannot be rendered.
    pub fn answer(
        mut self,
        outcomes: &[Outcome],
        preference: Option<Preference>,
    ) -> Result<(SavedAnswer, Share), Problem> {
        let mut receipt = Receipt::new(&self.events, &self.indexes, outcomes, preference);
        let is_listed = preference == Some(Preference::Representation);
        let ignored = (!self.ignored.is_empty()).then_some(self.ignored.as_slice());
        if is_listed {
            receipt.ignored = ignored;
        }
        let mut status = StatusCode::OK;
        if self.rejected.events > 0 {
            status = StatusCode::MULTI_STATUS;
            receipt.add_rejected(&self.rejected);
        }
        let body = serde_json::to_string(&receipt).map_err(|error| Problem::Internal(error.to_string()))?;
        let preference = preference.map(|preference| preference.name().to_owned());
        self.share.replace(body.len());
        let ignored = ignored.filter(|_| !is_listed).map(header_of_names);
        Ok((SavedAnswer { status: status.as_u16(), preference, ignored, body }, self.share))
    }
}

/// Names of fields as a list in a header; what a header cannot hold is percent-encoded.
fn header_of_names(names: &[String]) -> String {
    const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b',').add(b'%').add(b'"');
    let names: Vec<_> = names.iter().map(|name| utf8_percent_encode(name, ENCODED).to_string()).collect();
    names.join(", ")
}
