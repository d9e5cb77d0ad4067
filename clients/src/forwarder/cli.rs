//! The arguments of the forwarder.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use sekali_clients::arguments;

use crate::message::Form;
use crate::resign::Resign;
use crate::sign::Secret;

/// Sends each event to an endpoint, a command or a file, and keeps the place.
///
/// It is a consumer of the service with a POST: the service keeps what is delivered, what failed and what is next. While
/// the endpoint is away nothing is lost: the log is the queue.
#[derive(Debug, Parser)]
#[command(name = "forwarder", version, after_long_help = include_str!("after_help.txt").trim_end(), arg_required_else_help = true)]
pub struct Cli {
    /// Name of the consumer: whoever uses the name again goes on where it stood
    #[arg(required_unless_present = "ephemeral", value_parser = name)]
    pub name: Option<String>,

    #[command(flatten)]
    pub to: To,

    #[command(flatten)]
    pub consumer: Consumer,

    #[command(flatten)]
    pub delivery: Delivery,

    #[command(flatten)]
    pub signature: Signature,

    #[command(flatten)]
    pub service: Service,

    /// Print the result as one JSON object, and no progress
    #[arg(long)]
    pub json: bool,

    /// Answer with metrics for Prometheus at this address, such as 127.0.0.1:9400
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<SocketAddr>,
}

/// The destination of events.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
#[command(next_help_heading = "Where to")]
pub struct To {
    /// Endpoint that gets a POST for each event
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    pub to: Option<Url>,

    /// Shell command for each event, which is its standard input. Status 0 is success, 75 means later, any other a failure
    #[arg(long)]
    pub command: Option<String>,

    /// File that gets a line for each event; it is on disk before anything is committed
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
}

/// The consumer and its events.
#[derive(Debug, Args)]
#[command(next_help_heading = "Events (a consumer that is there keeps what is left out)")]
pub struct Consumer {
    /// Topic, or topics as in 'stripe.*'; may be repeated; '' is all again [of a new consumer: all]
    #[arg(short, long = "topic", value_name = "TOPIC")]
    pub topics: Vec<String>,

    /// Source; may be repeated; '' is all again [of a new consumer: all]
    #[arg(long = "source", value_name = "SOURCE")]
    pub sources: Vec<String>,

    /// First event of a new consumer: start, now, behind a seq, or at a time in RFC 3339 [of a new consumer: start;
    /// now with --ephemeral]
    #[arg(long, value_name = "PLACE")]
    pub from: Option<String>,

    /// Events that wait behind one that failed [of a new consumer: topic]
    #[arg(long, value_enum)]
    pub order: Option<Order>,

    /// Attempts after which an event is dead; 0 is without end [of a new consumer: 12, in 75
    /// hours]
    #[arg(long, value_name = "COUNT")]
    pub attempts: Option<u32>,

    /// Use a consumer of its own, which is deleted at the end
    #[arg(long, conflicts_with = "name")]
    pub ephemeral: bool,

    /// Seconds after which another takes over from a forwarder that is gone [of a new consumer: 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(3..=3600))]
    pub lease: Option<u32>,
}

/// Deliveries.
#[derive(Debug, Args)]
#[command(next_help_heading = "Delivery")]
pub struct Delivery {
    /// Form in which an event is sent
    #[arg(long, value_enum, default_value_t)]
    pub send: Form,

    /// Most deliveries at a time; of one topic there is one at a time
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub parallel: u16,

    /// Send up to so many events of a topic as one JSON array
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub batch: Option<u16>,

    /// Most events a second
    #[arg(long, value_name = "EVENTS", value_parser = arguments::rate)]
    pub rate: Option<f64>,

    /// Header of each request, as in 'Authorization: Bearer ...'; may be repeated
    #[arg(long = "header", value_name = "HEADER", value_parser = header, requires = "to",
        env = "SEKALI_FORWARDER_HEADER", hide_env_values = true)]
    pub headers: Vec<(HeaderName, HeaderValue)>,

    /// Time to connect
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = arguments::span)]
    pub connect_timeout: Duration,

    /// Time of a whole delivery
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = arguments::span)]
    pub timeout: Duration,

    /// Reach public addresses only: for an address that somebody else chose
    #[arg(long, requires = "to")]
    pub public_only: bool,
}

/// The signature of a request.
#[derive(Debug, Args)]
#[command(next_help_heading = "Signature")]
pub struct Signature {
    /// Sign by Standard Webhooks with whsec_... (or whsk_..., a private key); may be repeated while one replaces the
    /// other; prefer the variable, where spaces separate them
    #[arg(long = "secret", value_name = "SECRET", value_parser = Secret::parse, value_delimiter = ' ', requires = "to",
        env = "SEKALI_FORWARDER_SECRET", hide_env_values = true)]
    pub secrets: Vec<Secret>,

    /// Sign as a provider does, as in stripe=whsec_test, with a secret that your handler verifies by the provider's library
    #[arg(long, value_name = "KIND=SECRET", value_parser = Resign::parse, requires = "to", conflicts_with = "batch",
        env = "SEKALI_FORWARDER_RESIGN", hide_env_values = true)]
    pub resign: Option<Resign>,

    /// URL that the provider signs, where it is not that of --to
    #[arg(long, value_name = "URL", requires = "resign")]
    pub signed_url: Option<String>,
}

/// The service that has the events.
#[derive(Debug, Args)]
#[command(next_help_heading = "Service")]
pub struct Service {
    /// Address of the service
    #[arg(short, long, env = "SEKALI_URL", default_value = "http://127.0.0.1:3000", value_parser = arguments::address)]
    pub url: String,

    /// Token for reading; prefer the variable, which other users cannot see
    #[arg(long, env = "SEKALI_READ_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// The events that wait behind one that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// Everything
    Total,
    /// Later events of its topic
    Topic,
    /// Nothing
    None,
}

impl From<Order> for sekali_common::consumers::Order {
    fn from(order: Order) -> Self {
        match order {
            Order::Total => Self::Total,
            Order::Topic => Self::Topic,
            Order::None => Self::None,
        }
    }
}

impl Cli {
    /// An error in the combination of arguments, if there is one.
    pub fn contradiction(&self) -> Option<&'static str> {
        if self.signature.resign.is_some() && self.delivery.send != Form::Payload {
            return Some("--resign sends what the provider sent: leave out --send");
        }
        for names in [&self.consumer.topics, &self.consumer.sources] {
            if names.len() > 1 && names.iter().any(String::is_empty) {
                return Some("'' is all of them: name no other beside it");
            }
        }
        if self.to.command.is_some() && self.delivery.batch.is_some() {
            return Some("--command gets one event at a time: leave out --batch");
        }
        None
    }
}

/// The service's rule for names, checked here so that an invalid one is reported before anything is sent.
fn name(text: &str) -> Result<String, String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match (1..=64).contains(&text.len()) && text.bytes().all(is_allowed) {
        true => Ok(text.into()),
        false => Err("a name is 1 to 64 of the characters A-Z a-z 0-9 . _ -".into()),
    }
}

fn endpoint(text: &str) -> Result<Url, String> {
    let url: Url = arguments::address(text)?.parse().map_err(|error| format!("this is no URL: {error}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err("an endpoint is an http or https address".into()),
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let rule = "a header is a name, a colon and a value";
    let (name, value) = text.split_once(':').ok_or(rule)?;
    let name = name.trim().parse().map_err(|_| rule)?;
    let mut value: HeaderValue = value.trim().parse().map_err(|_| rule)?;
    value.set_sensitive(true);
    Ok((name, value))
}
