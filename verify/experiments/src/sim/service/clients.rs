//! The clients of a scenario, and the instances of the service that they send to.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sekali::http::app::App;
use sekali::http::reply::Reply;
use sekali::store::Store;
use sekali::testing::service::{read, reply};
use sekali_harness::Answer;

use super::attempts::{Answered, Attempts, Message};
use super::fakes::SimPlatform;
use super::writes::Writes;
use crate::sim::executor::{Handle, TaskId};

/// The clients.
pub struct Clients<S: Store> {
    /// Access to the executor.
    pub sim: Handle,
    /// The instances of the service, which share a store.
    pub instances: Vec<App<SimPlatform<S>>>,
    /// What was sent and answered.
    pub attempts: Rc<Attempts>,
    /// The account of the writes, where the store keeps one.
    pub writes: Option<Rc<Writes>>,
}

/// The answers to `GET /events` and `GET /stats` when all others have ended.
pub type Reading = Rc<RefCell<Option<(String, String)>>>;

impl<S: Store> Clients<S> {
    /// A client that sends a request, and often sends it again: the more so if it was not carried out.
    pub fn spawn(
        self: &Rc<Self>,
        (message, key): (Rc<Message>, Option<&'static str>),
        tries: u32,
        start: Duration,
    ) -> TaskId {
        let clients = Rc::clone(self);
        self.sim.spawn("client", async move {
            clients.sim.sleep(start).await;
            for _ in 0..tries {
                let status = clients.send(&message, key).await.status;
                if status < 500 && status != 409 && clients.sim.chance(0.5) {
                    break;
                }
                clients.sim.sleep(clients.sim.below_millis(300)).await;
            }
        })
    }

    /// Sends every request with a key that was answered once more.
    pub fn spawn_repetitions(self: &Rc<Self>) {
        for attempt in self.attempts.all().into_iter().filter(|attempt| attempt.receipt().is_some()) {
            if attempt.key.is_some() {
                let clients = Rc::clone(self);
                self.sim.spawn("repetition", async move {
                    clients.send(&attempt.message, attempt.key).await;
                });
            }
        }
    }

    /// Reads everything after a time by which all others have ended.
    pub fn spawn_reader(self: &Rc<Self>, after: Duration) -> Reading {
        let (clients, found) = (Rc::clone(self), Reading::default());
        let result = Rc::clone(&found);
        self.sim.spawn("reader", async move {
            clients.sim.sleep(after).await;
            let events = clients.exchange("GET", "/events", &[], vec![]).await;
            let stats = clients.exchange("GET", "/stats", &[], vec![]).await;
            *result.borrow_mut() = Some((events.text, stats.text));
        });
        found
    }

    /// Sends a request, and notes what happens.
    pub async fn send(&self, message: &Rc<Message>, key: Option<&'static str>) -> Answered {
        let wait = self.writes.as_ref().map(|writes| writes.arrive(self.attempts.under_way()));
        let begun = self.attempts.begin(message, key);
        let request = &message.request;
        self.sim.log(format!("attempt {} under {key:?}: {}", begun.number, request.head()));
        let spelled = self.sim.draw(fastrand::Rng::bool) && request.path == "/publish";
        let target = if spelled { "/publish?partial=false" } else { request.path };
        let mut headers: Vec<_> =
            request.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        headers.extend(key.map(|key| ("idempotency-key", key)));
        let answer = Answered::of(&self.exchange("POST", target, &headers, request.body.clone()).await);
        let (status, is_replayed) = (answer.status, answer.is_replayed);
        self.sim.log(format!("attempt {}: {status}, replayed: {is_replayed}", begun.number));
        if let Some(wait) = wait {
            wait.check(begun.number, &answer);
        }
        begun.answer(answer.clone());
        answer
    }

    /// A request to any instance, and its whole answer.
    pub async fn exchange(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let instance = self.sim.draw(|random| random.usize(..self.instances.len()));
        read(reply(&self.instances[instance], method, target, headers, body).await).await
    }

    /// A live stream of the events that a query selects, behind a seq.
    pub async fn follow(&self, target: &str, after: i64) -> Reply {
        let headers = [("accept", "text/event-stream"), ("last-event-id", &after.to_string())];
        reply(&self.instances[0], "GET", target, &headers, vec![]).await
    }
}
