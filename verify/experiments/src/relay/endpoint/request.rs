//! What the forwarder sends.

use std::collections::HashMap;
use std::io::{self, BufRead, Error, ErrorKind};

use sekali_harness::webhooks::{Provider, Scheme};

/// Who signs what arrives: the forwarder.
pub const SIGNER: Provider = Provider {
    name: "relay",
    path: "/hook",
    topic: "",
    scheme: Scheme::Standard,
    secret: "relay: a secret of 32 characters",
};

/// A request, as far as it is noted.
pub struct Request {
    /// Its `webhook-id`.
    pub id: String,
    /// Its `sekali-topic`.
    pub topic: String,
    /// Its body.
    pub body: String,
    /// True if the forwarder has signed it.
    pub is_signed: bool,
}

impl Request {
    /// Reads a request; `None` at the end of the connection.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut headers = HashMap::new();
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            if line.trim_end().is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or(ErrorKind::InvalidData)?;
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
        let mut body = vec![0; header("content-length").parse().map_err(Error::other)?];
        reader.read_exact(&mut body)?;
        let (id, at) = (header("webhook-id"), header("webhook-timestamp").parse().unwrap_or_default());
        // What the forwarder makes is one of the signatures of a provider who signs so.
        let signatures = SIGNER.headers(&id, at, &body).swap_remove(0).1;
        let is_signed = signatures.split(' ').any(|signature| signature == header("webhook-signature"));
        let body = String::from_utf8(body).map_err(Error::other)?;
        Ok(Some(Self { id, topic: header("sekali-topic"), body, is_signed }))
    }
}
