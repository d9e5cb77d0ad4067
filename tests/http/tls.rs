//! Connections to PostgreSQL are encrypted, and the server's certificate is verified, unless the address says otherwise.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
};
use sekali_harness::deployment::Setup;
use sekali_harness::postgres::Postgres;
use sekali_harness::{Server, eventually};
use serde_json::json;
use tempfile::NamedTempFile;

/// An authority, and the file of its certificate.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: NamedTempFile,
}

/// With a subject of its own: a certificate whose issuer has the same name is taken for one that signed itself.
fn named(name: &str, mut params: CertificateParams) -> CertificateParams {
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Authority {
    fn new() -> Self {
        let mut params = named("a test authority", CertificateParams::default());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(certificate.pem().as_bytes()).unwrap();
        Self { issuer: Issuer::new(params, key), file }
    }

    /// A certificate of a name, valid to the end of a year, and its key.
    fn certificate(&self, name: &str, to_year: i32) -> (String, String) {
        let mut params = named("a server", CertificateParams::new([name.to_owned()]).unwrap());
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(to_year, 12, 31));
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A host that trusts the authorities of a file and has an address.
fn host(url: &str, server: SocketAddr, authorities: &Path) -> Server {
    let mut setup = Setup::on_database(url, server).unwrap();
    setup.environment.push(("SSL_CERT_FILE".into(), authorities.display().to_string()));
    Server::of(setup)
}

fn is_stored(host: &Server) -> bool {
    match host.publish(&json!({"topic": "t", "event_id": "1"})).status {
        200 => true,
        503 => false,
        other => panic!("{other}: {}", host.log()),
    }
}

#[test]
fn a_database_is_reached_by_tls_and_only_with_a_certificate_of_its_name_that_is_valid_and_trusted() {
    let (known, unknown) = (Authority::new(), Authority::new());
    let server = Postgres::start().unwrap();
    let database = server.create_database().unwrap();
    let port = server.address().port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let url = |mode: &str| format!("postgres://sekali:s3cret@127.0.0.1:{port}/{database}{mode}");
    let trusts = |mode: &str| host(&url(mode), address, known.file.path());
    let certificates = [
        ("127.0.0.1", &known, 2100, true),
        ("other.example", &known, 2100, false),
        ("127.0.0.1", &known, 2021, false),
        ("127.0.0.1", &unknown, 2100, false),
    ];
    for (name, authority, to_year, is_good) in certificates {
        let (certificate, key) = authority.certificate(name, to_year);
        server.serve_tls(Some((&certificate, &key))).unwrap();
        for mode in if is_good { &["", "?sslmode=verify-full"][..] } else { &[""] } {
            let host = trusts(mode);
            assert_eq!(is_stored(&host), is_good, "{name} {to_year}: {}", host.log());
            let sessions =
                "select count(*) from pg_stat_ssl join pg_stat_activity using (pid) where ssl and datname = ";
            let encrypted = server.query("postgres", &format!("{sessions}'{database}'")).unwrap();
            assert_eq!(encrypted != "0", is_good, "{name} {to_year}");
            assert!(!host.log().contains("s3cret"));
        }
    }
    server.serve_tls(None).unwrap();
    assert!(!is_stored(&trusts("")), "a server that refuses TLS");
    assert!(is_stored(&trusts("?sslmode=disable")));
}

#[test]
fn a_server_that_refuses_tls_is_told_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
    let hears = Arc::clone(&heard);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, hears) = (stream.unwrap(), Arc::clone(&hears));
            thread::spawn(move || {
                let mut request = [0; 8];
                let _ = stream.read_exact(&mut request).and_then(|()| stream.write_all(b"N"));
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest);
                hears.lock().unwrap().extend(request.into_iter().chain(rest));
            });
        }
    });
    for mode in ["", "?sslmode=prefer"] {
        let url = format!("postgres://sekali:s3cret@{address}/events{mode}");
        let host = Server::of(Setup::on_database(&url, address).unwrap());
        assert!(!is_stored(&host));
        // A request for TLS, and then nothing.
        let heard = heard.lock().unwrap();
        assert!(!heard.is_empty() && heard.len().is_multiple_of(8), "{heard:?}");
        assert!(heard.chunks(8).all(|request| request == [0, 0, 0, 8, 4, 210, 22, 47]), "{heard:?}");
    }
}

#[test]
fn a_server_that_the_manifest_does_not_allow_is_refused_at_once_by_the_name_of_the_variable() {
    let server = Postgres::shared().unwrap();
    let setup = Setup::on_database(&server.url("postgres"), ([127, 0, 0, 1], 1).into()).unwrap();
    let began = Instant::now();
    let told = match setup.start() {
        Err(error) => format!("{error:#}"), // sekali-host does not even start
        Ok(host) => {
            let status = |request: Result<_, _>| match request {
                Err(ureq::Error::StatusCode(status)) => status,
                other => panic!("{other:?}"),
            };
            let address = host.address();
            let event = r#"{"topic":"t","event_id":"1"}"#;
            assert_eq!(status(ureq::post(format!("http://{address}/publish")).send(event)), 500);
            assert_eq!(status(ureq::get(format!("http://{address}/readyz")).call()), 503);
            eventually("the log names it", || host.log().contains("database_host").then(|| host.log()))
        }
    };
    assert!(told.contains("database_host"), "{told}");
    assert!(began.elapsed().as_secs() < 30, "it was tried again");
    let lines = told.lines().filter(|line| line.contains("does not allow")).count();
    assert!((1..=6).contains(&lines), "{lines} lines:\n{told}");
}
