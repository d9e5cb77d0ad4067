//! docs/INTEGRATIONS.md: every receiver in it takes what its command sends, and every recipe finds what was missed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};

use sekali_harness::Server;
use serde_json::{Map, Value, json};

use crate::readme::{assert_examples, blocks};
use crate::recorded::recorded;
use crate::vendors::{Signed, assert_outcome, sign};
use crate::{repository, run};

fn document() -> String {
    std::fs::read_to_string(repository("docs/INTEGRATIONS.md")).unwrap()
}

/// All receivers of the document.
fn receivers(document: &str) -> Map<String, Value> {
    let read = |block: &&str| -> Map<String, Value> { serde_json::from_str(block).unwrap() };
    blocks(document, "json").iter().flat_map(read).collect()
}

/// A server with all receivers of the document, written as people write them.
fn server(document: &str, variables: &[(&str, &str)]) -> Server {
    let hooks = serde_json::to_string_pretty(&receivers(document)).unwrap();
    Server::with_variables(&[&[("hooks", hooks.as_str())], variables].concat())
}

#[test]
#[ignore = "needs curl, jq and openssl"]
fn every_command_of_the_integrations_prints_what_it_says_and_then_a_duplicate() {
    let document = document();
    let server = server(&document, &[]);
    let directory = tempfile::tempdir().unwrap();
    let functions = directory.path().join("functions");
    std::fs::write(&functions, blocks(&document, "sh")[0]).unwrap();
    let environment = [("BASH_ENV", functions.to_str().unwrap())];
    let again = document.replace(r#""stored":1,"duplicates":0"#, r#""stored":0,"duplicates":1"#);
    for document in [&document, &again] {
        assert_examples(document, 17, &server, directory.path(), &environment);
    }
    let events = server.events();
    let topics: Vec<_> = events.iter().map(|event| event["topic"].as_str().unwrap()).collect();
    let expected = [
        "stripe.invoice.paid",
        "github.push",
        "gitlab.push",
        "gitlab-signed.push",
        "shopify.orders/create",
        "shopify-events.Product",
        "slack.app_mention",
        "clerk.user.created",
        "openai.user.created",
        "twilio.delivered",
        "meta.messages",
        "sendgrid.dropped",
        "discord.APPLICATION_AUTHORIZED",
        "shop.coupon.created",
        "crm.added.deal",
    ];
    assert_eq!(topics, expected);
    assert_eq!(server.stats()["duplicate_dropped"], expected.len());
    server.assert_books_balance();
}

#[test]
#[ignore = "with the others of the integrations"]
fn every_kind_and_every_field_of_a_receiver_is_in_the_document() {
    let document = document();
    let read = |path: &str| std::fs::read_to_string(repository(path)).unwrap();
    let kinds: BTreeMap<String, Value> =
        serde_json::from_str(&read("common/src/webhooks/kinds.json")).unwrap();
    for kind in kinds.keys() {
        let is_there =
            document.contains(&format!("`{kind}`")) || document.contains(&format!(r#""kind": "{kind}""#));
        assert!(is_there, "no kind {kind}");
    }
    let settings = read("src/receivers/settings.rs");
    let name = regex::Regex::new(r#"\b(?:take|template)(?:::<\w+>)?\(\s*"(\w+)""#).unwrap();
    let fields: Vec<_> = name.captures_iter(&settings).map(|found| found[1].to_owned()).collect();
    assert!(fields.len() >= 17, "{fields:?}");
    let (_, reference) = document.split_once("\n### Fields\n").unwrap();
    for field in fields {
        assert!(reference.contains(&format!("`{field}`")), "no field {field}");
    }
}

/// The commands of a recipe, by its heading.
fn recipe_of(heading: &str) -> String {
    let document = document();
    let (_, recipes) = document.split_once("\n## Which webhooks did I miss?\n").unwrap();
    let (_, recipe) = recipes.split_once(&format!("\n### {heading}\n")).unwrap();
    blocks(recipe, "sh")[0].to_owned()
}

/// The API of a provider, which answers each path with a text.
struct Api {
    address: SocketAddr,
    requests: Receiver<String>,
}

impl Api {
    fn start(answers: impl Fn(&str) -> Option<String> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let head = head_of(stream.as_ref().unwrap());
                let path = head.split(' ').nth(1).unwrap_or_default();
                let answer = answers(path);
                let status = if answer.is_some() { "200 OK" } else { "404 Not Found" };
                let body = answer.unwrap_or_default();
                let length = body.len();
                write!(
                    stream.unwrap(),
                    "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                )
                .unwrap();
                if sender.send(head).is_err() {
                    return;
                }
            }
        });
        Self { address, requests }
    }
}

fn head_of(stream: &TcpStream) -> String {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// A recipe, and where it asks.
struct Case {
    receiver: &'static str,
    recipe: String,
    origin: &'static str,
    /// The deliveries in the list, also those that are in it again.
    listed: u64,
}

impl Case {
    /// Delivers all but one, lets the recipe ask the provider's API, and asserts that it found one. Returns it.
    #[track_caller]
    fn assert_finds(&self, deliveries: &[Signed], missed: usize, api: &Api) -> Value {
        let server = server(&document(), &[("publish_token", "p")]);
        for (_, delivery) in deliveries.iter().enumerate().filter(|(number, _)| *number != missed) {
            assert_outcome(&delivery.deliver(&server, self.receiver), 1, 0, self.receiver);
        }
        assert!(self.recipe.contains(self.origin), "{}", self.recipe);
        let recipe = self.recipe.replace(self.origin, &format!("http://{}", api.address));
        let recipe = recipe.replace("localhost:3000", &server.address().to_string());
        for stored in [1, 0] {
            let mut bash = Command::new("bash");
            bash.args(["-c", &recipe]).env("NO_PROXY", "127.0.0.1").env("SEKALI_TOKEN", "p");
            bash.envs(["STRIPE_KEY", "GITHUB_TOKEN", "SHOPIFY_TOKEN"].map(|name| (name, "t0ken")));
            let printed = run(&mut bash);
            let answers = serde_json::Deserializer::from_str(&printed).into_iter::<Value>();
            let answers: Vec<_> = answers.collect::<Result<_, _>>().unwrap_or_else(|_| panic!("{printed}"));
            let sum = |field: &str| answers.iter().map(|answer| answer[field].as_u64().unwrap()).sum::<u64>();
            let sums = ["total_received", "stored", "conflicts"].map(sum);
            assert_eq!(sums, [self.listed, stored, 0], "{printed}");
        }
        for head in api.requests.try_iter() {
            let has_key = head.contains("t0ken") || head.to_lowercase().contains("authorization: basic ");
            assert!(has_key, "{head}");
        }
        server.assert_books_balance();
        let events = server.events();
        assert_eq!(events.len(), deliveries.len());
        events.last().unwrap().clone()
    }
}

/// The secret of a receiver of the document.
fn secret_of(receiver: &str) -> String {
    receivers(&document())[receiver]["secrets"][0].as_str().unwrap().to_owned()
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn a_list_of_stripes_events_stores_exactly_the_one_that_was_missed() {
    let events = recorded("stripe");
    let secret = secret_of("stripe");
    let deliveries = sign(events.iter().map(|event| event.unsigned("pypi/stripe", &secret)).collect());
    // Newest first, after everybody has taken it, and seven a page.
    let listed: Vec<Value> = events
        .iter()
        .rev()
        .map(|event| {
            let mut event: Value = serde_json::from_str(event.body.get()).unwrap();
            event["pending_webhooks"] = 0.into();
            event
        })
        .collect();
    let missed = listed[9]["id"].clone();
    let api = Api::start(move |path| {
        let after = path.strip_prefix("/v1/events?limit=100")?.strip_prefix("&starting_after=");
        let start = after.map_or(0, |id| listed.iter().position(|event| event["id"] == id).unwrap() + 1);
        let end = listed.len().min(start + 7);
        let page = json!({"object": "list", "data": listed[start..end], "has_more": end < listed.len()});
        Some(page.to_string())
    });
    let recipe = recipe_of("Stripe's events");
    let case = Case { receiver: "stripe", recipe, origin: "https://api.stripe.com", listed: 13 };
    let found = case.assert_finds(&deliveries, 12 - 9, &api);
    assert_eq!(found["event_id"], missed);
    assert_eq!(found["topic"], format!("stripe.{}", found["payload"]["type"].as_str().unwrap()));
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn a_list_of_githubs_deliveries_stores_exactly_the_one_that_was_missed() {
    /// Of the size that GitHub's have, which is beyond what a double can tell apart.
    const FIRST_ID: u64 = 9_007_199_254_740_993;
    let recorded = recorded("github");
    let secret = secret_of("github");
    let deliveries = sign(recorded.iter().map(|delivery| delivery.unsigned("npm/github", &secret)).collect());
    let details: Vec<String> = (FIRST_ID..)
        .zip(&recorded)
        .map(|(id, delivery)| {
            let headers = delivery.headers();
            let (guid, event) = (&headers["x-github-delivery"], &headers["x-github-event"]);
            let request = format!(r#"{{"headers":{},"payload":{}}}"#, json!(headers), delivery.body.get());
            format!(r#"{{"id":{id},"guid":"{guid}","redelivery":false,"event":"{event}","request":{request},"response":{{}}}}"#)
        })
        .collect();
    let api = Api::start(move |path| {
        let rest = path.strip_prefix("/repos/octo/hello/hooks/42/deliveries")?;
        match rest.strip_prefix('/') {
            Some(id) => details.get(usize::try_from(id.parse::<u64>().ok()? - FIRST_ID).ok()?).cloned(),
            // The newest first, and the first two once more, because somebody had them delivered again.
            None => {
                let end = FIRST_ID + details.len() as u64;
                let ids = (FIRST_ID..end).rev().chain([FIRST_ID, FIRST_ID + 1]);
                let item =
                    |id| format!(r#"{{"id":{id},"guid":"...","installation_id":7,"repository_id":8}}"#);
                Some(format!("[{}]", ids.map(item).collect::<Vec<_>>().join(",")))
            }
        }
    });
    let recipe = recipe_of("GitHub's deliveries");
    let case = Case { receiver: "github", recipe, origin: "https://api.github.com", listed: 12 };
    let found = case.assert_finds(&deliveries, 6, &api);
    assert_eq!(
        (&found["topic"], &found["event_id"]),
        (&json!("github.push"), &json!("0aac0a4e-bbaa-11ed-9d55-67911e83930e"))
    );
    assert_eq!(found["source"], found["payload"]["repository"]["full_name"]);
}

#[test]
#[ignore = "needs the clients that tests/clients/install installs"]
fn a_list_of_shopifys_orders_stores_exactly_the_one_that_was_missed() {
    let secret = secret_of("orders");
    let recorded = recorded("shopify");
    let order =
        recorded.iter().find(|delivery| delivery.headers()["x-shopify-topic"] == "orders/create").unwrap();
    let orders: Vec<String> = (1..=5)
        .map(|number| {
            let body = order.body.get().replace("820982911946154500", &format!("82098291194615450{number}"));
            body.replace("2021-12-31T19:00:00-05:00", &format!("2021-12-31T19:00:0{number}-05:00"))
        })
        .collect();
    let unsigned = |body: &String| {
        let mut delivery = order.unsigned("npm/shopify", &secret);
        delivery.body.clone_from(body);
        delivery
    };
    let deliveries = sign(orders.iter().map(unsigned).collect());
    let list = format!(r#"{{"orders":[{}]}}"#, orders.join(","));
    let api = Api::start(move |path| {
        (path == "/admin/api/2026-07/orders.json?status=any&limit=250").then(|| list.clone())
    });
    let recipe = recipe_of("Shopify's orders");
    let case = Case { receiver: "orders", recipe, origin: "https://shop.myshopify.com", listed: 5 };
    let found = case.assert_finds(&deliveries, 2, &api);
    let expected = ("orders", "820982911946154503:2021-12-31T19:00:03-05:00");
    assert_eq!((found["topic"].as_str().unwrap(), found["event_id"].as_str().unwrap()), expected);
}
