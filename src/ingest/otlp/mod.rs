//! OpenTelemetry's logs (OTLP 1.x, <https://opentelemetry.io/docs/specs/otlp/>): an event a record, from protobuf and from
//! JSON alike.
//!
//! Both are read by the tables in `schema` into OTLP's JSON with one way to write each value, so that the encoding makes
//! no difference, neither to what is stored nor to the id that a record has by its content.

mod json;
mod origin;
mod protobuf;
mod schema;
#[cfg(test)]
mod tests;

use http::HeaderMap;
use serde_json::Value as Json;

use self::origin::Origin;
use self::schema::{Field, Kind, Message};
use super::collect::{Collector, Context, FieldErrors, IngestError, Ingested, utf8, without_mark};
use super::content_id::ContentIds;
use super::format::Unsupported;
use super::media_type;

/// The encoding of a request, and of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The binary one.
    Protobuf,
    /// The one in JSON.
    Json,
}

impl Encoding {
    /// The encoding that the content type of a request names.
    ///
    /// # Errors
    /// [`Unsupported`] names another content type, and those that are supported.
    pub fn of(headers: &HeaderMap) -> Result<Self, Unsupported> {
        match media_type(headers).as_str() {
            "application/x-protobuf" | "application/protobuf" => Ok(Self::Protobuf),
            "application/json" => Ok(Self::Json),
            other => Err(Unsupported::MediaType(format!(
                "content-type '{other}' is not supported; supported are application/x-protobuf and application/json"
            ))),
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    /// An `ExportLogsServiceResponse`: the number of records that were rejected, and why.
    pub fn response(self, rejected: usize, why: &str) -> Vec<u8> {
        match self {
            Self::Protobuf => {
                let mut partial = Vec::new();
                if rejected > 0 {
                    protobuf::write_number(&mut partial, 1, rejected as u64);
                }
                protobuf::write_bytes(&mut partial, 2, why.as_bytes());
                let mut response = Vec::new();
                protobuf::write_bytes(&mut response, 1, &partial);
                response
            }
            Self::Json if rejected == 0 => b"{}".to_vec(),
            Self::Json => format!(
                r#"{{"partialSuccess":{{"rejectedLogRecords":"{rejected}","errorMessage":{}}}}}"#,
                Json::from(why)
            )
            .into(),
        }
    }

    /// A `google.rpc.Status`: an error by its code in gRPC, and what it is.
    pub fn status(self, code: u8, message: &str) -> Vec<u8> {
        match self {
            Self::Protobuf => {
                let mut status = Vec::new();
                protobuf::write_number(&mut status, 1, code.into());
                protobuf::write_bytes(&mut status, 2, message.as_bytes());
                status
            }
            Self::Json => format!(r#"{{"code":{code},"message":{}}}"#, Json::from(message)).into(),
        }
    }
}

/// Reads the records of an `ExportLogsServiceRequest`. One that is malformed is rejected alone.
///
/// # Errors
/// [`IngestError::Malformed`] where the records cannot even be found, and the limits of a request.
pub fn logs(encoding: Encoding, body: &[u8], context: &Context) -> Result<Ingested, IngestError> {
    let mut records = Records { collector: Collector::new(context), ids: ContentIds::default() };
    match encoding {
        Encoding::Protobuf => protobuf::records(body, &mut records)?,
        Encoding::Json => json::records(utf8(without_mark(body))?, &mut records)?,
    }
    records.collector.finish()
}

/// The records of a request, as far as they are read.
struct Records<'c> {
    collector: Collector<'c>,
    ids: ContentIds,
}

impl Records<'_> {
    /// Takes the records of a scope. What the resource or the scope has that is malformed is an error of each.
    fn take(
        &mut self,
        resource: &Result<Object, Malformed>,
        scope: Result<Object, Malformed>,
        records: &mut dyn Iterator<Item = Result<Object, Malformed>>,
    ) -> Result<(), IngestError> {
        let origin = Origin::of(resource, scope);
        for record in records {
            self.collector.take(|_| {
                let origin = origin.as_ref().map_err(Clone::clone);
                Ok(origin.and_then(|origin| origin.event(record.map_err(Malformed::told)?, &mut self.ids)))
            })?;
        }
        Ok(())
    }
}

/// A message that was read: OTLP's JSON, where each value is written in one way and the members are in one order.
type Object = serde_json::Map<String, Json>;

/// A field whose value is not what OTLP says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not what OTLP says")]
struct Malformed(&'static str);

impl Malformed {
    /// The error as one of an event, which has no such field.
    fn told(self) -> FieldErrors {
        vec![("".into(), self.to_string())]
    }
}

impl From<Malformed> for IngestError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Sets a field, or leaves it out where its value means the same as its absence.
fn set(object: &mut Object, message: &Message, field: &Field, value: Json) {
    let is_default = match (&value, field.kind) {
        (Json::String(text), Kind::Fixed64) => text == "0",
        (Json::String(text), _) => text.is_empty(),
        (Json::Number(number), _) => number.as_u64() == Some(0),
        _ => false,
    };
    if message.is_oneof {
        object.clear(); // the last of them counts
    } else if is_default {
        object.remove(field.name);
        return;
    }
    object.insert(field.name.to_owned(), value);
}

/// Appends to a field with many values.
fn push(object: &mut Object, name: &str, value: Json) {
    match object.get_mut(name) {
        Some(Json::Array(values)) => values.push(value),
        _ => _ = object.insert(name.to_owned(), Json::Array(vec![value])),
    }
}

/// A floating-point number; a string if JSON has no number for it.
fn double(value: f64) -> Json {
    match value {
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        value if value.is_nan() => "NaN".into(),
        value => value.into(),
    }
}
