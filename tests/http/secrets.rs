//! Secrets are planted in every place that has one, and nothing that others may see shows them: the log, the bodies of
//! problems, the metrics, and the list of processes.

use std::fs;
use std::path::Path;

use sekali_harness::deployment::{Setup, repository};
use sekali_harness::process::Process;
use sekali_harness::{Server, eventually, is_skipped_on_postgres, is_skipped_on_spin};
use serde_json::json;

/// A part of each secret.
const SECRET: &str = "pl4nted";

fn secret(name: &str) -> String {
    format!("{name}-{SECRET}-9")
}

#[track_caller]
fn assert_is_kept(shown: &str, place: &str) {
    assert!(!shown.contains(SECRET), "{place} shows a secret:\n{shown}");
}

/// What the process list shows of the host: anybody on the machine may read it.
fn process_list() -> String {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let command = |directory: fs::DirEntry| fs::read(directory.path().join("cmdline")).unwrap_or_default();
    processes.map(|entry| String::from_utf8_lossy(&command(entry)).replace('\0', " ")).collect()
}

#[test]
fn the_tokens_of_a_service_that_runs_are_seen_nowhere() {
    let tokens = ["publish_token", "read_token", "admin_token"].map(|name| (name, secret(name)));
    let mut variables: Vec<_> = tokens.iter().map(|(name, token)| (*name, token.as_str())).collect();
    variables.push(("log_format", "json"));
    let hooks = json!({
        "code": {"kind": "github", "secrets": [secret("hook")]},
        "meta": {"kind": "meta", "secrets": [secret("hook")], "verify_token": secret("verify_token")},
    });
    let named = json!({"shop": {"token": secret("named"), "publish": ["shop.*"], "read": ["shop.*"]}});
    let (hooks, named_token) = (hooks.to_string(), ("named", secret("named")));
    let named = named.to_string();
    variables.extend([("hooks", hooks.as_str()), ("tokens", named.as_str())]);
    let server = Server::with_variables(&variables);
    let with = |token: &str| format!("Bearer {token}");
    for (name, token) in tokens.iter().chain([&named_token]) {
        for given in [with(token), with(&format!("{token}x")), format!("Basic {token}"), token.clone()] {
            for (method, path, body) in [
                ("POST", "/publish", &b"{"[..]),
                ("POST", "/publish", b"[{}]"),
                ("GET", "/events?topics=t", b""),
                ("GET", "/stats", b""),
                ("GET", "/metrics", b""),
                ("DELETE", "/events/t/1", b""),
                ("GET", "/nothing", b""),
                ("GET", "/hooks", b""),
                ("POST", "/hooks/code", b"{}"),
                ("GET", "/hooks/meta?hub.mode=subscribe&hub.verify_token=pl4&hub.challenge=1", b""),
            ] {
                let key = secret("key");
                let headers = [("authorization", given.as_str()), ("idempotency-key", key.as_str())];
                let answer = server.send(method, path, &headers, body);
                assert_is_kept(&answer.text, &format!("the answer to {method} {path} with the {name}"));
            }
        }
    }
    assert_is_kept(&server.log(), "the log");
    assert_is_kept(&process_list(), "the list of processes");
}

#[test]
fn the_password_of_a_database_that_cannot_be_reached_is_seen_nowhere() {
    for url in [
        "postgres://u:SECRET@127.0.0.1:1/d",
        "postgres://u:SECRET@127.0.0.1:1/d?sslmode=disable",
        "postgres://u:SEC@RET@127.0.0.1:1/d",
        "host=127.0.0.1 port=1 user=u password=SECRET",
        "host=127.0.0.1 port=1 user=u password='SECRET",
        "postgres://u:SECRET@127.0.0.1:1/d?sslmode=SECRET",
        "postgres://u:SECRET@127.0.0.1:1/d?nosuch=SECRET",
        "postgres://u:SECRET@127.0.0.1:SECRET/d",
        "SECRET",
    ] {
        let url = url.replace("SEC@RET", &format!("a@{SECRET}")).replace("SECRET", &secret("password"));
        let setup = Setup::on_database(&url, ([127, 0, 0, 1], 1).into()).unwrap();
        match setup.start() {
            Ok(host) => {
                let answer = ureq::get(format!("http://{}/readyz", host.address()))
                    .config()
                    .http_status_as_error(false)
                    .build()
                    .call();
                let body = answer.unwrap().body_mut().read_to_string().unwrap();
                assert_is_kept(&body, &format!("/readyz with {url}"));
                eventually("it is logged", || host.log().contains("readyz").then_some(()));
                assert_is_kept(&host.log(), &format!("the log with {url}"));
            }
            Err(error) => {
                let told = format!("{error:#}");
                assert!(told.contains("database_url"), "{told}");
                assert_is_kept(&told, &format!("the refusal of {url}"));
            }
        }
    }
}

/// sekali-host with a manifest and a runtime config, which it is to refuse.
fn refused(directory: &Path, manifest: &Path, arguments: &[&str]) -> String {
    let Setup { host, .. } = Setup::from_environment().unwrap();
    let mut command = host.command(manifest, host.free_address().unwrap(), directory);
    command.args(arguments).current_dir(directory);
    let mut process = Process::start(command).unwrap();
    let ended = eventually("it ends", || process.exit_status().unwrap());
    assert!(!ended.success());
    process.log()
}

#[test]
fn a_broken_file_is_named_without_its_text() {
    if is_skipped_on_spin("its messages are its own") || is_skipped_on_postgres("it is the same there") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (config, token) = (directory.path().join("config.toml"), secret("token"));
    let manifest = repository().join("spin.toml");
    for text in [
        format!("[sqlite_database.default]\ntype = \"libsql\"\nurl = \"http://x\"\ntoken = \"{token}"),
        format!("[sqlite_database.default]\ntype = \"libsql\"\nurl = \"http://x\"\ntoken = {token}"),
        format!("[sqlite_database.default]\ntype = \"libsql\"\nurl = \"http://x\"\ntokens = \"{token}\""),
        format!("[sqlite_database.default]\ntype = \"libsql\"\ntoken = [\"{token}\"]\nurl = \"http://x\""),
    ] {
        fs::write(&config, &text).unwrap();
        let told = refused(directory.path(), &manifest, &["--runtime-config-file", "config.toml"]);
        assert!(told.contains("config.toml"), "{told}");
        assert_is_kept(&told, &text);
    }
    // A manifest may have a secret as a default.
    let text = fs::read_to_string(&manifest).unwrap();
    let broken = directory.path().join("spin.toml");
    for line in
        [format!("read_token = {{ default = \"{token}"), format!("read_token = {{ defaults = \"{token}\" }}")]
    {
        fs::write(&broken, text.replace("read_token = { default = \"\", secret = true }", &line)).unwrap();
        let told = refused(directory.path(), &broken, &[]);
        assert!(told.contains("spin.toml"), "{told}");
        assert_is_kept(&told, &line);
    }
    let told = refused(directory.path(), &manifest, &["--variable", &format!("nosuch={token}")]);
    assert!(told.contains("nosuch"), "{told}");
    assert_is_kept(&told, "--variable");
}
