//! Components in a few long-lived instances, each of which serves many requests at once.
//!
//! Spin starts an instance whenever all others compute. Here their number is fixed: a component with a
//! database is fast because the requests of one instance share a write, and more instances than cores only
//! contend for the write lock.

mod body;
mod program;

use std::cell::Cell;
use std::rc::Rc;

use anyhow::{Context, Result, anyhow};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::header;
use http::uri::Scheme;
use http_body_util::BodyExt;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3::bindings::Service;
use wasmtime_wasi_http::{Error, FieldMap, WasiBody, p3};

pub use self::body::SharedBody;
pub use self::program::{Program, engine};

use crate::metrics::METRICS;
use crate::spin::guest::{Guest, HttpRules};

/// Requests that may wait for one instance, beside those that run in it. Further ones are refused, so that nobody waits
/// without a bound.
const QUEUE: usize = 1024;

/// Requests that may run in one instance at once.
const CONCURRENT: usize = 1024;

/// A request on its way to a component.
pub type Request = http::Request<SharedBody>;
/// An answer of a component.
pub type Response = http::Response<WasiBody>;

/// The reason for which a request has no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// Too many requests wait for each instance.
    Overloaded,
    /// The instance trapped, or the component returned an error in place of an answer.
    Failed(anyhow::Error),
}

/// Running instances of one component, all on the thread that started them.
pub struct Instances {
    queues: Vec<mpsc::Sender<Job>>,
    next: Cell<usize>,
    tasks: Vec<JoinHandle<()>>,
}

struct Job {
    request: Request,
    response: oneshot::Sender<Result<Response>>,
}

impl Instances {
    /// Starts `count` instances as tasks of this thread.
    pub fn start(program: &Program, count: usize) -> Self {
        let (mut queues, mut tasks) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (queue, jobs) = mpsc::channel(QUEUE);
            queues.push(queue);
            let program = program.clone();
            let run = move |jobs| run(program.clone(), jobs);
            tasks.push(tokio::task::spawn_local(supervise(run, jobs)));
        }
        Self { queues, next: Cell::new(0), tasks }
    }

    /// Answers a request in one of the instances, which take turns.
    ///
    /// # Errors
    /// See [`Unanswered`].
    pub async fn handle(&self, request: Request) -> Result<Response, Unanswered> {
        let turn = self.next.get();
        self.next.set((turn + 1) % self.queues.len());
        let (response, answered) = oneshot::channel();
        let mut job = Job { request, response };
        let (before, from_here) = self.queues.split_at(turn);
        for queue in from_here.iter().chain(before) {
            job = match queue.try_send(job) {
                Ok(()) => {
                    let answer = answered.await.context("the instance trapped");
                    return answer.flatten().map_err(Unanswered::Failed);
                }
                Err(TrySendError::Full(job)) => job,
                Err(TrySendError::Closed(_)) => {
                    return Err(Unanswered::Failed(anyhow!("the instance has ended")));
                }
            };
        }
        Err(Unanswered::Overloaded)
    }

    /// One instance whose queue is full.
    #[cfg(test)]
    pub fn busy() -> Self {
        let (queue, jobs) = mpsc::channel(1);
        std::mem::forget((queue.clone().try_reserve_owned(), jobs)); // it stays full
        Self { queues: vec![queue], next: Cell::new(0), tasks: vec![] }
    }

    /// One instance that has ended, to which no request gets.
    #[cfg(test)]
    pub fn ended() -> Self {
        Self { queues: vec![mpsc::channel(1).0], next: Cell::new(0), tasks: vec![] }
    }

    /// Ends the instances after their requests, which closes their databases.
    pub async fn stop(self) {
        drop(self.queues);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

/// Runs `run` again if it panics: a fault of the host in one instance must not close its queue for ever. The requests
/// in it end without an answer.
async fn supervise<T, R>(run: impl Fn(Queue<T>) -> R, jobs: mpsc::Receiver<T>)
where
    R: Future<Output = ()> + 'static,
{
    let jobs = Rc::new(Mutex::new(jobs));
    while let Err(error) = tokio::task::spawn_local(run(Rc::clone(&jobs))).await {
        METRICS.replaced.inc();
        sekali_common::log::error("instance", format_args!("an instance panicked and is replaced: {error}"));
    }
}

/// The jobs of an instance, which outlive it.
type Queue<T> = Rc<Mutex<mpsc::Receiver<T>>>;

/// Runs one instance after another, because a trap ends an instance and the requests in it.
async fn run(program: Program, jobs: Queue<Job>) {
    let mut jobs = jobs.lock().await;
    while let Err(error) = run_one(&program, &mut jobs).await {
        METRICS.replaced.inc();
        sekali_common::log::error("instance", format_args!("an instance ended and is replaced: {error:?}"));
    }
}

/// Runs one instance until the queue is closed and every request is answered.
async fn run_one(program: &Program, jobs: &mut mpsc::Receiver<Job>) -> wasmtime::Result<()> {
    // The instance starts with its first request, so that one that cannot start is not retried in a loop.
    let Some(first) = jobs.recv().await else { return Ok(()) };
    let (mut store, service) = program.instantiate().await?;
    store
        .run_concurrent(async |accessor| {
            let mut running = FuturesUnordered::new();
            running.push(answer(accessor, &service, first));
            let mut open = true;
            while open || !running.is_empty() {
                tokio::select! {
                    Some(result) = running.next() => result?,
                    job = jobs.recv(), if open && running.len() < CONCURRENT => match job {
                        Some(job) => running.push(answer(accessor, &service, job)),
                        None => open = false,
                    },
                }
            }
            Ok(())
        })
        .await?
}

/// Answers one request. An error that the component returns is its answer; a trap is an error of this
/// function.
async fn answer(accessor: &Accessor<Guest>, service: &Service, job: Job) -> wasmtime::Result<()> {
    #[cfg(feature = "faults")]
    crate::faults::make(accessor, job.request.headers())?;
    let (request, sent) = into_wasi(job.request);
    let response = match service.handle(accessor, request).await? {
        Ok(response) => {
            accessor.with(|mut store| response.into_http(&mut store, sent)).map_err(anyhow::Error::from)
        }
        Err(code) => Err(anyhow!("the component returned the error {code:?}")),
    };
    // The connection may have ended.
    let _ = job.response.send(response);
    Ok(())
}

/// The request as the component sees it, and what becomes of its body. The host that it names is its authority there,
/// and no header (RFC 9110, section 7.2, and wasi:http's list of forbidden headers). An authority needs a scheme.
fn into_wasi(request: Request) -> (p3::Request, impl Future<Output = Result<(), Error>> + Send) {
    let (head, body) = request.into_parts();
    let target = head.uri.into_parts();
    let named = || head.headers.get(header::HOST)?.to_str().ok()?.parse().ok();
    let authority = target.authority.or_else(named);
    let headers = FieldMap::new_immutable(&mut HttpRules, head.headers);
    let body = body.map_err(|error| Error::InternalError(Some(error.to_string())));
    let scheme = target.scheme.or_else(|| authority.is_some().then_some(Scheme::HTTP));
    p3::Request::new(head.method, scheme, authority, target.path_and_query, headers, None, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_instance_that_panics_is_replaced_and_its_queue_goes_on() {
        let local = tokio::task::LocalSet::new();
        let answers = local.run_until(async {
            let (queue, jobs) = mpsc::channel::<oneshot::Sender<()>>(8);
            let runs = Cell::new(0);
            let run = move |jobs: Queue<oneshot::Sender<()>>| {
                let is_first = runs.replace(runs.get() + 1) == 0;
                async move {
                    while let Some(job) = jobs.lock().await.recv().await {
                        assert!(!is_first, "a fault of the host");
                        let _ = job.send(());
                    }
                }
            };
            let task = tokio::task::spawn_local(supervise(run, jobs));
            let answers: Vec<_> = (0..3)
                .map(|_| {
                    let (job, answer) = oneshot::channel();
                    queue.try_send(job).unwrap();
                    answer
                })
                .collect();
            drop(queue);
            task.await.unwrap();
            futures::future::join_all(answers).await
        });
        let answered: Vec<_> = answers.await.iter().map(Result::is_ok).collect();
        assert_eq!(answered, [false, true, true]);
    }
}
