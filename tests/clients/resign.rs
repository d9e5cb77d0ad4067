//! What the forwarder signs is what handlers take: the packages of providers verify it, after it came from one of them
//! through a receiver and a consumer.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use sekali_harness::Server;
use serde_json::{Value, json};

use crate::vendors::{Vendor, program_of, sign};
use crate::{installed, repository, run};

/// The private key of the row of SendGrid: the forwarder signs with it, as SendGrid does.
const SENDGRID: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEjRWeJCrze+hRANCAASfrYSurgi7738BABTYLO9qCd4rDPhxtc4MTx0TpZpZNAfLRXafEHDiwkcP5bG/5jEzwLDNxk6kvzeRqOwqB/1P";

/// The receiver of a provider. Shopify's package wants a header that has no part of the event, so it is kept.
fn receiver(name: &str, vendor: &Vendor) -> Value {
    let mut receiver = vendor.receiver(name);
    if receiver["kind"] == "shopify" {
        receiver["headers"] = json!(["x-shopify-api-version"]);
    }
    receiver
}

/// A request that a handler got.
struct Got {
    headers: BTreeMap<String, String>,
    body: String,
}

/// Takes requests at a port of its own, until the test ends.
fn handler() -> (String, Receiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let sender = sender.clone();
            std::thread::spawn(move || take(stream.unwrap(), &sender));
        }
    });
    (url, receiver)
}

fn take(stream: TcpStream, sender: &Sender<Got>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let lines: Vec<_> =
            reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let headers = lines.iter().skip(1).filter_map(|line| line.split_once(": "));
        let headers: BTreeMap<_, _> =
            headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        sender.send(Got { headers, body: String::from_utf8(body).unwrap() }).ok()?;
        (&stream).write_all(b"HTTP/1.1 204 No Content\r\n\r\n").ok()?;
    }
}

/// Forwards all events of a server whose topics begin so, and returns what the handler gets.
fn forward(server: &Server, name: &str, arguments: &[&str], count: usize) -> Vec<Got> {
    let (to, got) = handler();
    let mut forwarder = Command::new(repository("scripts/forwarder"));
    forwarder.args(["--ephemeral", "--from", "start", "--topic", name, "--topic", &format!("{name}.*")]);
    forwarder.args(["--url", &server.url(""), "--to", &to]).args(arguments);
    let mut forwarder = forwarder.stdout(Stdio::null()).spawn().unwrap();
    // The first builds the program.
    let got = (0..count).map(|_| got.recv_timeout(Duration::from_secs(300)).unwrap()).collect();
    run(Command::new("kill").args(["-INT", &forwarder.id().to_string()]));
    forwarder.wait().unwrap();
    got
}

/// Lets a package verify deliveries. At once: some take none that is older than a few seconds.
fn verify(package: &str, secret: &str, url: &str, deliveries: &[Got]) {
    let of = |got: &Got| json!({"package": package, "secret": secret, "url": url, "headers": got.headers, "body": got.body});
    let directory = tempfile::tempdir_in(installed("")).unwrap();
    let path = directory.path().join("deliveries.json");
    let deliveries: Vec<_> = deliveries.iter().map(of).collect();
    serde_json::to_writer(File::create(&path).unwrap(), &deliveries).unwrap();
    let (registry, _) = package.split_at(package.find('/').unwrap() + 1);
    run(program_of(registry, "verify", directory.path()).stdin(File::open(path).unwrap()));
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn what_is_signed_again_is_verified_by_the_packages_of_providers() {
    // The kinds as they are: not with another signature, nor for what has no template.
    let is_plain = |vendor: &Vendor| {
        let receiver = vendor.receiver.as_object().unwrap();
        let is_form = vendor.package != "pypi/twilio" || vendor.body.is_string();
        receiver["kind"] != "custom"
            && !receiver.contains_key("signature")
            && vendor.algorithm.is_none()
            && is_form
    };
    let vendors: BTreeMap<_, _> = Vendor::all().into_iter().filter(|(_, vendor)| is_plain(vendor)).collect();
    let hooks: BTreeMap<_, _> = vendors.iter().map(|(name, vendor)| (name, receiver(name, vendor))).collect();
    let server = Server::with_variables(&[("hooks", &json!(hooks).to_string())]);
    let signed = sign(vendors.iter().map(|(name, vendor)| vendor.delivery(name, &vendor.body, 2)).collect());
    for (name, signed) in vendors.keys().zip(&signed) {
        assert!(signed.deliver(&server, name).status < 300, "{name}");
    }
    for (name, vendor) in &vendors {
        let secret = if vendor.package == "pypi/sendgrid" { SENDGRID } else { &vendor.secret };
        let resign = format!("{}={secret}", vendor.receiver["kind"].as_str().unwrap());
        let url = Vendor::url(name);
        let got = forward(&server, name, &["--resign", &resign, "--signed-url", &url], vendor.events);
        verify(&vendor.package, &vendor.secret, &url, &got);
        // What the provider says beside the signature is there, too.
        let is_part =
            |name: &str| ["event", "delivery", "topic", "identifier"].iter().any(|end| name.ends_with(end));
        for name in vendor.headers.keys().filter(|name| is_part(name)) {
            assert_eq!(got[0].headers.get(name), vendor.headers.get(name), "{name}");
        }
    }
    assert!(vendors.len() >= 16, "{}", vendors.len());
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn what_the_forwarder_signs_by_itself_is_verified_by_standard_webhooks() {
    let server = Server::start();
    let event = json!({"topic": "shop", "event_id": "1", "payload": {"name": "漢 é", "price": 1.50}});
    assert_eq!(server.publish(&event).status, 200);
    let [old, new] = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"];
    let got = forward(&server, "shop", &["--secret", old, "--secret", new], 1);
    for package in ["pypi/standardwebhooks", "npm/standardwebhooks"] {
        for secret in [old, new] {
            verify(package, secret, "", &got);
        }
    }
}
