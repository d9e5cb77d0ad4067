//! The metrics of the process, in Prometheus' text format, version 0.0.4.
//!
//! All instances count together here, which they cannot do themselves. A component that declares the variable
//! `host_metrics` reads them from it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{LazyLock, PoisonError, RwLock};
use std::time::Instant;

use http::{HeaderName, Response, StatusCode};
use prometheus::{
    Encoder, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder,
    register_histogram_vec_with_registry, register_histogram_with_registry,
    register_int_counter_vec_with_registry, register_int_counter_with_registry,
    register_int_gauge_with_registry,
};

/// The variable from which a component reads the metrics.
pub const VARIABLE: &str = "host_metrics";

/// The beginning of the paths of receivers. Only one that exists refuses with [`REFUSED`], and there is one path to each,
/// so there are as many series as receivers have reasons, whatever clients ask for.
const RECEIVERS: &str = "/hooks/";

/// The header in which a receiver says why it refused a delivery. It stays in the answer, whose text says the same.
const REFUSED: HeaderName = HeaderName::from_static("sekali-refused");

/// The most routes that are told apart. The others are counted as `other`.
const ROUTES: usize = 32;

/// Upper bounds of latency, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Upper bounds of the rows that a statement writes.
const ROWS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];

/// The metrics of this process.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    // It fails only for a name that is invalid or taken.
    #[allow(clippy::expect_used)]
    Metrics::register().expect("the names of metrics are valid and different")
});

/// The metrics of a process.
pub struct Metrics {
    requests: IntCounterVec,
    latency: HistogramVec,
    refused: IntCounterVec,
    /// Open connections.
    pub connections: IntGauge,
    /// Requests that wait for the head of their answer.
    pub waiting: IntGauge,
    /// Answers whose body is not sent yet, live streams excepted.
    pub answering: IntGauge,
    /// Live streams.
    pub following: IntGauge,
    /// Live streams that wait until their clients take what was sent.
    pub blocked: IntGauge,
    /// Instances that trapped or panicked.
    pub replaced: IntCounter,
    written_rows: Histogram,
    busy: IntCounter,
    database_bytes: IntGauge,
    wal_bytes: IntGauge,
    free_bytes: IntGauge,
    /// The routes that have answered with success. Those that clients invent are not among them.
    routes: RwLock<BTreeSet<String>>,
    registry: Registry,
    /// The metrics of the database files. Only a host with such files has them: zero bytes would be a wrong answer.
    of_files: Registry,
}

/// A count that goes down when this is dropped.
pub struct Counted(&'static IntGauge);

impl Counted {
    /// Counts one more.
    pub fn new(gauge: &'static IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    fn register() -> prometheus::Result<Self> {
        let (registry, of_files) = (Registry::new(), Registry::new());
        Ok(Self {
            requests: register_int_counter_vec_with_registry!(
                "sekali_http_requests_total",
                "Requests by the first part of their path and the status of their answer.",
                &["route", "status"],
                registry
            )?,
            latency: register_histogram_vec_with_registry!(
                "sekali_http_request_seconds",
                "Time from the head of a request to the head of its answer.",
                &["route"],
                SECONDS.to_vec(),
                registry
            )?,
            refused: register_int_counter_vec_with_registry!(
                "sekali_receiver_refused_total",
                "Deliveries that a receiver refused because its provider had not signed them, by the reason.",
                &["receiver", "reason"],
                registry
            )?,
            connections: register_int_gauge_with_registry!(
                "sekali_connections",
                "Open connections.",
                registry
            )?,
            waiting: register_int_gauge_with_registry!(
                "sekali_http_requests_in_flight",
                "Requests that are read or carried out: their answers have not begun.",
                registry
            )?,
            answering: register_int_gauge_with_registry!(
                "sekali_http_answers_in_flight",
                "Answers that are being sent, live streams excepted.",
                registry
            )?,
            following: register_int_gauge_with_registry!("sekali_followers", "Live streams.", registry)?,
            blocked: register_int_gauge_with_registry!(
                "sekali_followers_blocked",
                "Live streams whose clients do not take what is sent.",
                registry
            )?,
            replaced: register_int_counter_with_registry!(
                "sekali_instances_replaced_total",
                "Instances that ended by a fault and were replaced.",
                registry
            )?,
            written_rows: register_histogram_with_registry!(
                "sekali_write_rows",
                "Rows that a statement wrote: the events of a group.",
                ROWS.to_vec(),
                registry
            )?,
            busy: register_int_counter_with_registry!(
                "sekali_busy_total",
                "Statements that found the database locked and were tried again later.",
                registry
            )?,
            database_bytes: register_int_gauge_with_registry!(
                "sekali_database_bytes",
                "Size of the database files.",
                of_files
            )?,
            wal_bytes: register_int_gauge_with_registry!(
                "sekali_wal_bytes",
                "Size of the write-ahead logs.",
                of_files
            )?,
            free_bytes: register_int_gauge_with_registry!(
                "sekali_free_disk_bytes",
                "Space that is left for the database, the least if there are several.",
                of_files
            )?,
            routes: RwLock::default(),
            registry,
            of_files,
        })
    }

    /// Counts an answer whose head is ready.
    pub fn answered<B>(&self, path: &str, response: &Response<B>, since: Instant) {
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED
            && let Some(receiver) = path.strip_prefix(RECEIVERS)
            && let Some(reason) = response.headers().get(REFUSED).and_then(|reason| reason.to_str().ok())
        {
            self.refused.with_label_values(&[receiver, reason]).inc();
        }
        let route = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let route = if self.knows(route, status) { route } else { "other" };
        self.requests.with_label_values(&[route, status.as_str()]).inc();
        self.latency.with_label_values(&[route]).observe(since.elapsed().as_secs_f64());
    }

    /// True for a route that has answered with success once, and was among the first to do so.
    fn knows(&self, route: &str, status: StatusCode) -> bool {
        if self.routes.read().unwrap_or_else(PoisonError::into_inner).contains(route) {
            return true;
        }
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        status.is_success() && routes.len() < ROUTES && routes.insert(route.to_owned())
    }

    /// Counts a statement that wrote rows.
    pub fn wrote(&self, rows: u64) {
        self.written_rows.observe(rows as f64);
    }

    /// Counts a statement that failed, if the reason was a lock.
    pub fn failed(&self, error: &rusqlite::Error) {
        if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) {
            self.busy.inc();
        }
    }

    /// The metrics as text, with the sizes of these database files at this moment.
    pub fn render<'p>(&self, databases: impl IntoIterator<Item = &'p Path>) -> String {
        let mut families = self.registry.gather();
        let mut databases = databases.into_iter().peekable();
        if databases.peek().is_some() {
            self.measure(databases);
            families.extend(self.of_files.gather());
        }
        let mut text = Vec::new();
        // Writing to memory cannot fail.
        let _ = TextEncoder::new().encode(&families, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    fn measure<'p>(&self, databases: impl IntoIterator<Item = &'p Path>) {
        let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let (mut database, mut wal, mut free) = (0, 0, None);
        for path in databases {
            database += bytes(path);
            wal += bytes(Path::new(&format!("{}-wal", path.display())));
            free = free.into_iter().chain(free_bytes(path)).min();
        }
        let gauges = [(&self.database_bytes, database), (&self.wal_bytes, wal)];
        for (gauge, bytes) in gauges.into_iter().chain(free.map(|free| (&self.free_bytes, free))) {
            gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }
}

/// The space that is left where a file is.
fn free_bytes(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_files_and_not_zero_where_there_are_none() {
        let metrics = Metrics::register().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a page").unwrap();
        let text = metrics.render([file.path()]);
        assert!(text.lines().any(|line| line == "sekali_database_bytes 6"), "{text}");
        assert!(text.contains("\nsekali_free_disk_bytes "), "{text}");
        let text = metrics.render([]);
        assert!(text.contains("sekali_followers ") && !text.contains("_bytes"), "{text}");
    }

    fn answer(status: StatusCode, refused: Option<&str>) -> Response<()> {
        let mut answer = http::Response::builder().status(status);
        if let Some(reason) = refused {
            answer = answer.header(REFUSED, reason);
        }
        answer.body(()).unwrap()
    }

    #[test]
    fn what_receivers_refuse_is_counted_by_receiver_and_reason_and_unknown_ones_make_no_series() {
        let (metrics, since) = (Metrics::register().unwrap(), Instant::now());
        for (path, status, refused) in [
            ("/hooks/stripe", StatusCode::UNAUTHORIZED, Some("no-match")),
            ("/hooks/stripe", StatusCode::UNAUTHORIZED, Some("no-match")),
            ("/hooks/stripe", StatusCode::UNAUTHORIZED, Some("too-old")),
            ("/hooks/open", StatusCode::UNAUTHORIZED, None),
            ("/hooks/stripe", StatusCode::OK, None),
            ("/hooks/invented", StatusCode::NOT_FOUND, None),
            ("/publish", StatusCode::UNAUTHORIZED, Some("no-match")),
        ] {
            metrics.answered(path, &answer(status, refused), since);
        }
        let text = metrics.render([]);
        let mut counted: Vec<_> =
            text.lines().filter(|line| line.starts_with("sekali_receiver_refused_total{")).collect();
        counted.sort_unstable();
        let expected = [("no-match", 2), ("too-old", 1)].map(|(reason, count)| {
            format!(r#"sekali_receiver_refused_total{{reason="{reason}",receiver="stripe"}} {count}"#)
        });
        assert_eq!(counted, expected);
    }

    #[test]
    fn routes_that_clients_invent_are_not_told_apart() {
        let (metrics, since) = (Metrics::register().unwrap(), Instant::now());
        let answered = |path: &str, status| metrics.answered(path, &answer(status, None), since);
        answered("/publish", StatusCode::OK);
        answered("/publish", StatusCode::BAD_REQUEST);
        answered("/events/a/b", StatusCode::OK);
        answered("/invented", StatusCode::NOT_FOUND);
        for n in 0..100 {
            answered(&format!("/page{n}"), StatusCode::OK);
        }
        let text = metrics.render([]);
        for line in [
            r#"sekali_http_requests_total{route="publish",status="200"} 1"#,
            r#"sekali_http_requests_total{route="publish",status="400"} 1"#,
            r#"sekali_http_requests_total{route="events",status="200"} 1"#,
            r#"sekali_http_requests_total{route="other",status="404"} 1"#,
            r#"sekali_http_request_seconds_count{route="publish"} 2"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing:\n{text}");
        }
        let series = text.lines().filter(|line| line.starts_with("sekali_http_requests_total{")).count();
        assert!(series <= 2 * ROUTES, "{series} series");
    }
}
