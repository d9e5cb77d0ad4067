//! Debian's nginx, HAProxy and Caddy between a client and the service.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use sekali_harness::deployment::repository;
use sekali_harness::host::free_port;
use sekali_harness::process::Process;
use sekali_harness::{Server, debian, eventually};
use serde_json::json;
use tempfile::TempDir;

/// A proxy that runs, with its files in a directory of its own.
struct Proxy {
    directory: TempDir,
    address: SocketAddr,
    /// Where it expects clients, such as `https://localhost:4433`.
    origin: String,
    process: Option<Process>,
}

impl Proxy {
    fn new() -> Self {
        let address = free_port().unwrap();
        let directory = tempfile::tempdir().unwrap();
        Self { directory, address, origin: format!("http://{address}"), process: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// nginx with these lines in its block `http`.
    fn nginx(mut self, lines: &str) -> Self {
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {kind};"))
            .concat();
        let configuration = format!(
            "daemon off; master_process off; pid pid; error_log stderr;\n\
            events {{}}\n\
            http {{ access_log off; {temporary}\n{lines}\n}}\n"
        );
        fs::write(self.path("nginx.conf"), configuration).unwrap();
        let mut nginx = Command::new(debian::program("/usr/sbin/nginx").unwrap());
        nginx.arg("-p").arg(self.directory.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
        self.start(nginx);
        self
    }

    fn haproxy(mut self, configuration: &str, server: &Server) -> Self {
        fs::write(self.path("haproxy.cfg"), configuration).unwrap();
        let mut haproxy = Command::new(debian::program("/usr/sbin/haproxy").unwrap());
        haproxy.args(["-db", "-f"]).arg(self.path("haproxy.cfg")).env("PROXY", self.address.to_string());
        haproxy.envs((1..=3).map(|host| (format!("HOST_{host}"), server.address().to_string())));
        self.start(haproxy);
        self
    }

    /// Caddy, which takes no port but its own, and makes certificates by an authority of its own.
    fn caddy(mut self, site: &str, server: &Server) -> Self {
        let globals = "{\nadmin off\nskip_install_trust\nlocal_certs\nauto_https disable_redirects\n}\n";
        fs::write(self.path("Caddyfile"), format!("{globals}{site}")).unwrap();
        let mut caddy = Command::new(debian::program("/usr/bin/caddy").unwrap());
        caddy.args(["run", "--config"]).arg(self.path("Caddyfile"));
        caddy.env("XDG_DATA_HOME", self.directory.path()).env("HOME", self.directory.path());
        caddy.env("SEKALI_NAME", &self.origin).env("SEKALI_LISTEN", server.address().to_string());
        self.start(caddy);
        let authority = self.path("caddy/pki/authorities/local/root.crt");
        if self.origin.starts_with("https:") {
            eventually("it has an authority", || fs::copy(&authority, self.path("authority.pem")).ok());
        }
        self
    }

    fn start(&mut self, mut command: Command) {
        command.current_dir(self.directory.path());
        let mut process = Process::start(command).unwrap();
        process.wait_until_it_listens(self.address).unwrap();
        self.process = Some(process);
    }

    /// The proxy speaks TLS as `localhost`, by the certificate `authority.pem` and its key `key.pem`.
    fn with_certificate(mut self) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(self.path("authority.pem"), made.cert.pem()).unwrap();
        fs::write(self.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
        self.origin = format!("https://localhost:{}", self.address.port());
        self
    }

    /// curl, which trusts the authority of the proxy, if it has one.
    fn curl(&self, arguments: &[&str], path: &str) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["-sSi", "--no-buffer", "--max-time", "120"]).args(arguments);
        if self.origin.starts_with("https:") {
            curl.arg("--cacert").arg(self.path("authority.pem"));
        }
        curl.arg(format!("{}{path}", self.origin));
        curl
    }

    fn follow(&self) -> Lines {
        let mut curl = self.curl(&["-H", "accept: text/event-stream"], "/events");
        let mut child = curl.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send((Instant::now(), line)))
        });
        Lines { child, lines }
    }
}

/// What a client gets, line by line, and when.
struct Lines {
    child: Child,
    lines: Receiver<(Instant, String)>,
}

impl Lines {
    /// Waits for a line that begins so, and returns when it came.
    fn wait_for(&self, start: &str) -> Instant {
        let began = Instant::now();
        loop {
            let left = Duration::from_secs(20).saturating_sub(began.elapsed());
            match self.lines.recv_timeout(left) {
                Ok((at, line)) if line.starts_with(start) => return at,
                Ok(_) => {}
                Err(error) => panic!("no line begins with {start:?} within 20 s: {error}"),
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// A follower behind the proxy hears the head at once, and each event within half a second.
#[track_caller]
fn assert_followed_at_once(server: &Server, proxy: &Proxy) {
    let follower = proxy.follow();
    follower.wait_for(": following");
    let mut times: Vec<_> = (1..=5)
        .map(|n| {
            let sent = Instant::now();
            server.publish(&json!({"topic": "t", "event_id": n.to_string()}));
            follower.wait_for(&format!("id: {n}")) - sent
        })
        .collect();
    // Only the fastest counts, because a loaded machine delays some of them.
    times.sort();
    assert!(times[0] < Duration::from_millis(500), "{times:?}");
}

/// The console's own requests are not foreign behind the proxy, and the service itself refuses what is too large.
#[track_caller]
fn assert_published_from_its_own_pages(proxy: &Proxy) {
    let answer = |arguments: &[&str]| {
        let output = proxy.curl(arguments, "/publish").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let origin = format!("origin: {}", proxy.origin);
    let stored = answer(&["--json", r#"{"topic":"t","event_id":"page"}"#, "-H", &origin]);
    assert!(stored.contains(r#""stored":1"#), "{stored}");
    let large = proxy.path("large");
    fs::write(&large, vec![b' '; 9 << 20]).unwrap();
    let refused = answer(&["--json", &format!("@{}", large.display())]);
    assert!(refused.contains(r#""type":"/problems/too-large""#), "{refused}");
}

/// A file of deploy/ with parts of it replaced by those of a test.
#[track_caller]
fn deployed(name: &str, replaced: &[(&str, &str)]) -> String {
    let text = fs::read_to_string(repository().join("deploy").join(name)).unwrap();
    replaced.iter().fold(text, |text, (part, by)| {
        assert!(text.contains(part), "{name} has no {part:?}");
        text.replace(part, by)
    })
}

#[test]
fn a_follower_behind_nginx_with_its_defaults_hears_at_once() {
    let (server, proxy) = (Server::start(), Proxy::new());
    let site = format!(
        "server {{ listen {}; location / {{ proxy_pass {}; }} }}",
        proxy.address,
        server.url("").trim_end_matches('/')
    );
    assert_followed_at_once(&server, &proxy.nginx(&site));
}

#[test]
fn a_follower_behind_haproxy_with_its_defaults_hears_at_once() {
    let (server, proxy) = (Server::start(), Proxy::new());
    let configuration = format!(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 50s\n  timeout server 50s\n\
        frontend f\n  bind {}\n  default_backend b\nbackend b\n  server s {}\n",
        proxy.address,
        server.address()
    );
    assert_followed_at_once(&server, &proxy.haproxy(&configuration, &server));
}

#[test]
fn a_follower_behind_caddy_with_its_defaults_hears_at_once() {
    let (server, proxy) = (Server::start(), Proxy::new());
    let site = format!("{} {{\nreverse_proxy {}\n}}\n", proxy.origin, server.address());
    assert_followed_at_once(&server, &proxy.caddy(&site, &server));
}

#[test]
fn the_haproxy_of_deploy_passes_on_what_clients_send_and_follow() {
    let (server, proxy) = (Server::start(), Proxy::new());
    let proxy = proxy.haproxy(&deployed("haproxy.cfg", &[]), &server);
    eventually("it has found its hosts", || {
        let ready = proxy.curl(&[], "/readyz").output().unwrap();
        String::from_utf8(ready.stdout).unwrap().contains(" 200 ").then_some(())
    });
    assert_followed_at_once(&server, &proxy);
    assert_published_from_its_own_pages(&proxy);
}

#[test]
fn the_nginx_of_deploy_speaks_tls_and_passes_on_what_clients_send_and_follow() {
    let (server, proxy) = (Server::start(), Proxy::new().with_certificate());
    let plain = free_port().unwrap();
    let site = deployed(
        "nginx.conf",
        &[
            ("127.0.0.1:3000", &server.address().to_string()),
            ("listen 80;", &format!("listen {plain};")),
            ("listen 443 ", &format!("listen {} ", proxy.address)),
            ("inbox.example.org;", "localhost;"),
            ("/etc/letsencrypt/live/inbox.example.org/fullchain.pem", "authority.pem"),
            ("/etc/letsencrypt/live/inbox.example.org/privkey.pem", "key.pem"),
        ],
    );
    let proxy = proxy.nginx(&site);
    assert_followed_at_once(&server, &proxy);
    assert_published_from_its_own_pages(&proxy);
    let moved =
        Command::new("curl").args(["-si", &format!("http://{plain}/events?limit=1")]).output().unwrap();
    let moved = String::from_utf8(moved.stdout).unwrap();
    assert!(moved.contains(" 308 ") && moved.contains("/events?limit=1"), "{moved}");
}

#[test]
fn the_caddy_of_deploy_speaks_tls_and_passes_on_what_clients_send_and_follow() {
    let (mut server, mut proxy) = (Server::start(), Proxy::new());
    proxy.origin = format!("https://localhost:{}", proxy.address.port());
    let proxy = proxy.caddy(&deployed("Caddyfile", &[]), &server);
    assert_followed_at_once(&server, &proxy);
    assert_published_from_its_own_pages(&proxy);
    // A request that comes while the service restarts waits for it.
    let asked = server.crash_while(|_| {
        let child = proxy.curl(&[], "/healthz").stdout(Stdio::piped()).spawn().unwrap();
        thread::sleep(Duration::from_millis(300));
        child
    });
    let answer = String::from_utf8(asked.wait_with_output().unwrap().stdout).unwrap();
    assert!(answer.contains(" 200"), "{answer}");
}
