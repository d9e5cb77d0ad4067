//! Receivers beside `/publish`: the same payload of two kilobytes by either, and forged deliveries.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use sekali::receivers::mac::{Hash, hmac};
use sekali_harness::deployment::Setup;

use crate::http;
use crate::load::{self, Measured, Requests, Until};
use crate::report::{Report, median};

/// Clients, as many as those of single events.
const CLIENTS: usize = 64;

/// Requests of each client in a measurement. They are made before it: to sign them takes a client's time.
const REQUESTS: usize = 600;

const SECRET: &str = "whsec_bench";
const HOOKS: &str = r#"{"stripe":{"kind":"stripe","secrets":["whsec_bench"]}}"#;

/// Measures each, in turns, on fresh stores.
///
/// # Errors
/// When something does not serve, or an answer is another than it should be.
pub fn run(setup: &Setup, rounds: usize, report: &mut Report) -> Result<()> {
    let mut setup = setup.clone();
    setup.variables.push(("hooks".into(), HOOKS.into()));
    let mut rates = [(); 3].map(|()| Vec::new());
    for round in 0..rounds {
        for (way, rates) in [Way::Published, Way::Delivered, Way::Forged].into_iter().zip(&mut rates) {
            let server = setup.clone().start()?;
            let clients =
                (0..CLIENTS).map(|client| Prepared::new(way, &format!("{round}-{client}"))).collect();
            let measured: Measured = load::run(server.address(), clients, Until::Requests(REQUESTS as u64))?;
            rates.push(measured.rate());
            report.requests(way.name(), &measured);
        }
    }
    let [published, delivered, forged] = rates.map(median);
    report.ratio("verified deliveries / the same payload by /publish", delivered / published);
    report.ratio("forged deliveries refused / verified ones stored", forged / delivered);
    Ok(())
}

/// A way of an event to the service.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Published,
    Delivered,
    /// Like a delivery, signed by somebody else.
    Forged,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Published => "2 KB by /publish, 64 clients",
            Self::Delivered => "2 KB by a receiver of Stripe's, 64 clients",
            Self::Forged => "the same, forged",
        }
    }
}

/// Requests that are made already, and the status of their answers.
struct Prepared {
    requests: std::vec::IntoIter<Vec<u8>>,
    status: u16,
}

impl Prepared {
    fn new(way: Way, client: &str) -> Self {
        let requests: Vec<_> = (0..REQUESTS).map(|n| request(way, &format!("evt_{client}-{n:06}"))).collect();
        Self { requests: requests.into_iter(), status: if way == Way::Forged { 401 } else { 200 } }
    }
}

impl Requests for Prepared {
    fn next(&mut self, request: &mut Vec<u8>) {
        request.extend(self.requests.next().unwrap_or_default());
    }

    fn answer(&mut self, buffer: &[u8]) -> Result<Option<usize>> {
        let Some((status, bytes)) = http::any_answer(buffer)? else { return Ok(None) };
        ensure!(status == self.status, "the server answered {status}: {}", String::from_utf8_lossy(buffer));
        Ok(Some(bytes))
    }
}

fn request(way: Way, id: &str) -> Vec<u8> {
    let (payload, mut request) = (event(id), Vec::new());
    if way == Way::Published {
        let body = format!(
            r#"{{"topic":"stripe.charge.succeeded","event_id":"{id}","timestamp":"2026-11-21T01:00:00Z","payload":{payload}}}"#
        );
        http::write(&mut request, "POST", "/publish", "", body.as_bytes());
        return request;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let secret = if way == Way::Forged { "whsec_guessed" } else { SECRET };
    let signature = hmac(Hash::Sha256, secret.as_bytes(), format!("{now}.{payload}").as_bytes());
    let signature: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
    let headers = format!("stripe-signature: t={now},v1={signature}\r\n");
    http::write(&mut request, "POST", "/hooks/stripe", &headers, payload.as_bytes());
    request
}

/// An event of Stripe's, of its usual size.
fn event(id: &str) -> String {
    let card = r#"{"brand":"visa","checks":{"address_line1_check":null,"address_postal_code_check":"pass","cvc_check":"pass"},"country":"US","exp_month":4,"exp_year":2030,"fingerprint":"mToisGZ01V71BCos","funding":"credit","installments":null,"last4":"4242","mandate":null,"network":"visa","three_d_secure":null,"wallet":null}"#;
    let metadata: Vec<_> = (0..18)
        .map(|n| format!(r#""field_{n:02}":"a value of an order, {n:02}, as shops note them""#))
        .collect();
    format!(
        r#"{{"id":"{id}","object":"event","api_version":"2026-01-01","created":1795741200,"data":{{"object":{{"id":"ch_{id}","object":"charge","amount":2000,"amount_captured":2000,"balance_transaction":"txn_1","currency":"usd","description":null,"livemode":false,"metadata":{{{}}},"paid":true,"payment_method_details":{{"card":{card},"type":"card"}},"status":"succeeded"}}}},"livemode":false,"pending_webhooks":1,"request":{{"id":null,"idempotency_key":null}},"type":"charge.succeeded"}}"#,
        metadata.join(",")
    )
}
