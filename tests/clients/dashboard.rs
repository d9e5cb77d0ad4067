//! Grafana's dashboard and the alerts, on a Prometheus that looks at a host under load. Grafana itself is in no registry
//! that the tests use, so what it draws was not seen: each of its queries is asked as Grafana asks it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use sekali_harness::Server;
use sekali_harness::host::free_port;
use sekali_harness::process::Process;
use serde_json::{Value, json};

use crate::{installed, repository};

/// The window that Grafana puts in the place of `$__rate_interval`, of at least four scrapes.
const RATE_INTERVAL: &str = "4s";

/// A Prometheus that scrapes a host every second.
struct Prometheus {
    url: String,
    _directory: tempfile::TempDir,
    _process: Process,
}

impl Prometheus {
    fn that_looks_at(server: &Server) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = free_port().unwrap();
        let rules = repository("deploy/prometheus/alerts.yaml");
        let configuration = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
            rule_files: [\"{}\"]\n\
            scrape_configs:\n  - job_name: sekali\n    static_configs: [{{ targets: [\"{}\"] }}]\n",
            rules.display(),
            server.address()
        );
        fs::write(directory.path().join("prometheus.yml"), configuration).unwrap();
        let mut prometheus = Command::new(program());
        prometheus
            .current_dir(directory.path())
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
        prometheus.arg(format!("--web.listen-address={address}"));
        let mut process = Process::start(prometheus).unwrap();
        process.wait_until_it_listens(address).unwrap();
        Self { url: format!("http://{address}"), _directory: directory, _process: process }
    }

    fn ask(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let request = ureq::get(format!("{}/api/v1/{path}", self.url)).query_pairs(query.iter().copied());
        let request = request.config().http_status_as_error(false).build();
        let answer: Value = request.call().unwrap().body_mut().read_json().unwrap();
        assert_eq!(answer["status"], "success", "{query:?}: {answer}");
        answer["data"].clone()
    }

    /// The series that an expression of the dashboard gives now.
    fn series(&self, expression: &str) -> Vec<Value> {
        let expression = expression.replace("$job", "sekali").replace("$__rate_interval", RATE_INTERVAL);
        self.ask("query", &[("query", &expression)])["result"].as_array().unwrap().clone()
    }
}

fn program() -> std::path::PathBuf {
    let found = Path::new("/usr/bin/prometheus");
    if found.exists() { found.to_owned() } else { installed("prometheus/usr/bin/prometheus") }
}

/// Publishes events, duplicates and conflicts for so long, and delivers what a receiver refuses.
fn publish(server: &Server, time: Duration) {
    let began = Instant::now();
    for n in 0.. {
        if began.elapsed() > time {
            return;
        }
        for payload in [0, 0, 1] {
            let event =
                json!({"topic": format!("t{}", n % 3), "event_id": n.to_string(), "payload": payload});
            assert_eq!(server.publish(&event).status, 200);
        }
        assert_eq!(server.send("POST", "/hooks/shop", &[("x-signature", "00")], b"{}").status, 401);
    }
}

#[test]
#[ignore = "needs Prometheus"]
fn every_panel_of_the_dashboard_shows_a_host_under_load() {
    let hooks = json!({"shop": {"kind": "custom", "secrets": ["s"], "signature": {"header": "x-signature"}}});
    let server = Server::with_variables(&[("hooks", &hooks.to_string())]);
    assert_eq!(server.send("PUT", "/consumers/c", &[], b"{}").status, 201);
    let prometheus = Prometheus::that_looks_at(&server);
    let _follower = server.connect_follower("/events");
    thread::scope(|scope| {
        scope.spawn(|| publish(&server, Duration::from_secs(15)));
        thread::sleep(Duration::from_secs(8));
        let text = fs::read_to_string(repository("deploy/grafana/sekali.json")).unwrap();
        let dashboard: Value = serde_json::from_str(&text).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                let (expression, legend) =
                    (target["expr"].as_str().unwrap(), target["legendFormat"].as_str().unwrap());
                let series = prometheus.series(expression);
                assert!(!series.is_empty(), "{}: {expression}", panel["title"]);
                for one in &series {
                    let value: f64 = one["value"][1].as_str().unwrap().parse().unwrap();
                    assert!(value.is_finite(), "{}: {expression} is {value}", panel["title"]);
                    for label in legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
                        assert!(one["metric"][label].is_string(), "{expression} has no label {label}");
                    }
                }
            }
        }
        let value = |expression: &str| -> f64 {
            prometheus.series(expression)[0]["value"][1].as_str().unwrap().parse().unwrap()
        };
        let rate = |counter: &str| value(&format!("sum(rate(sekali_events_{counter}_total[4s]))"));
        assert!(rate("received") > 0.0 && rate("conflict") > 0.0);
        assert_eq!(value("sekali_followers{job=\"$job\"}"), 1.0);
        let restarts = dashboard["annotations"]["list"][0]["expr"].as_str().unwrap();
        assert!(!prometheus.series(restarts).is_empty(), "it has started just now");
        let jobs = prometheus.ask("label/job/values", &[("match[]", "sekali_build_info")]);
        assert_eq!(jobs, json!(["sekali"]), "the dashboard's list of jobs");
    });
    let rules = prometheus.ask("rules", &[]);
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
}
