//! Receivers: webhooks of any provider, verified over the bytes as they came, and made into events.
//!
//! A receiver is data: where the signature is, what is signed, and templates for the parts of an event. Its kind is a row
//! of [`KINDS`](sekali_common::webhooks::KINDS) that presets all of that, so a provider is added without code; only
//! [`twilio`] has some. The language of that table is in [`sekali_common::webhooks`].
//!
//! - [`settings`]: receivers as they are written, checked at start
//! - [`delivery`]: a request, and the values that templates take from it
//! - [`signature`], [`mac`] and [`twilio`]: is it the provider's?
//! - [`handshake`]: what providers ask before they deliver
//! - [`events`]: what it brings

pub mod delivery;
pub mod events;
pub mod handshake;
pub mod mac;
pub mod settings;
pub mod signature;
#[cfg(test)]
mod tests;
pub mod twilio;

use sekali_common::webhooks::pointer::Pointer;
use sekali_common::webhooks::template::Template;

use self::events::Layout;
use self::handshake::Handshake;
use self::signature::Verification;

/// A receiver of one provider's deliveries.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Its name, which is the end of its path.
    pub name: String,
    /// Its path. There are as many as receivers, for as long as the instance lives, so the log can tell them apart.
    pub path: &'static str,
    /// Its name, path and fields as a JSON object, without its secrets.
    pub described: String,
    /// How its provider is known; `None` if everybody with the token to publish may deliver.
    pub verification: Option<Verification>,
    /// Where the events are in a body.
    pub layout: Layout,
    /// What an event is made of.
    pub mapping: Mapping,
    /// The URL that the provider signs, if it signs one.
    pub public_url: Option<String>,
    /// What the provider asks before it delivers.
    pub handshake: Option<Handshake>,
    /// True if a delivery that is stored is answered without a body, unless it has `Prefer`, which no provider sends:
    /// Discord takes nothing else, and Twilio takes a body for instructions.
    pub answers_empty: bool,
}

/// The templates of the parts of an event.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// The topic.
    pub topic: Template,
    /// The id.
    pub event_id: Template,
    /// The type, a part of the topic.
    pub r#type: Option<Template>,
    /// The moment.
    pub timestamp: Option<Template>,
    /// The sender.
    pub source: Option<Template>,
    /// Names of headers that are kept, in lower case; each may end in `*`.
    pub headers: Vec<String>,
    /// Places that may differ between deliveries of one event.
    pub volatile: Vec<Pointer>,
}
