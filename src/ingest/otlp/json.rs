//! OTLP's JSON (the protobuf mapping, but for ids in hexadecimal and enums as numbers), read by the tables of `schema`
//! into the one form that has each value in one way: 64-bit integers are strings, defaults are left out.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::schema::{Field, Kind, LOG_RECORD, Message, ORIGIN, SCOPE_ORIGIN};
use super::{Malformed, Object, Records, double};
use crate::ingest::IngestError;

/// A message on the way from a request to its records, which are not read yet. Each has some of these fields: one type for
/// all of them is less code than three.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Branch<'b> {
    resource_logs: Option<Vec<Branch<'b>>>,
    #[serde(borrow)]
    resource: Option<&'b RawValue>,
    scope_logs: Option<Vec<Branch<'b>>>,
    scope: Option<&'b RawValue>,
    schema_url: Option<&'b RawValue>,
    log_records: Option<Vec<&'b RawValue>>,
}

/// Reads the records of a request.
pub fn records(body: &str, records: &mut Records<'_>) -> Result<(), IngestError> {
    let request: Branch<'_> = serde_json::from_str(body)?;
    for logs in request.resource_logs.unwrap_or_default() {
        let resource = origin("resource", logs.resource, logs.schema_url, &ORIGIN);
        for logs in logs.scope_logs.unwrap_or_default() {
            let scope = origin("scope", logs.scope, logs.schema_url, &SCOPE_ORIGIN);
            let of_scope = logs.log_records.unwrap_or_default();
            let mut of_scope =
                of_scope.into_iter().map(|record| read(parse(record, "logRecords")?, &LOG_RECORD));
            records.take(&resource, scope, &mut of_scope)?;
        }
    }
    Ok(())
}

/// Reads what the records of a message have in common.
fn origin(
    name: &'static str,
    message: Option<&RawValue>,
    schema_url: Option<&RawValue>,
    table: &Message,
) -> Result<Object, Malformed> {
    let mut origin = Object::new();
    for (name, value) in [(name, message), ("schemaUrl", schema_url)] {
        if let Some(value) = value {
            origin.insert(name.to_owned(), parse(value, name)?);
        }
    }
    read(origin.into(), table)
}

/// A value as a tree. Half a character in it, or too deep a nesting, is an error of this value alone.
fn parse(value: &RawValue, name: &'static str) -> Result<Json, Malformed> {
    serde_json::from_str(value.get()).map_err(|_| Malformed(name))
}

/// Reads a message.
fn read(json: Json, message: &Message) -> Result<Object, Malformed> {
    let Json::Object(mut given) = json else { return Err(Malformed("message")) };
    let mut object = Object::new();
    for field in message.fields {
        match (field.kind, given.remove(field.name)) {
            (_, None | Some(Json::Null)) => {}
            (Kind::Many(_), Some(Json::Array(items))) => {
                for item in items {
                    super::push(&mut object, field.name, value(field, item)?);
                }
            }
            (Kind::Many(_), Some(_)) => return Err(Malformed(field.name)),
            (_, Some(given)) => super::set(&mut object, message, field, value(field, given)?),
        }
    }
    Ok(object)
}

fn value(field: &Field, given: Json) -> Result<Json, Malformed> {
    let malformed = || Malformed(field.name);
    // A number, or the text of one.
    let number = |given: &Json| match given {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    };
    Ok(match (field.kind, given) {
        (Kind::Text, text @ Json::String(_)) => text,
        (Kind::Bool, truth @ Json::Bool(_)) => truth,
        (Kind::Small | Kind::Fixed32, given) => {
            // An enum may be negative, and is then what protobuf makes of it.
            let number: i64 = number(&given).and_then(|text| text.parse().ok()).ok_or_else(malformed)?;
            (number as u32).into()
        }
        (Kind::Int64, given) => {
            let number: i64 = number(&given).and_then(|text| text.parse().ok()).ok_or_else(malformed)?;
            number.to_string().into()
        }
        (Kind::Fixed64, given) => {
            let number: u64 = number(&given).and_then(|text| text.parse().ok()).ok_or_else(malformed)?;
            number.to_string().into()
        }
        (Kind::Double, given) => {
            double(number(&given).and_then(|text| text.parse().ok()).ok_or_else(malformed)?)
        }
        (Kind::Hex, Json::String(digits)) if is_hex(&digits) => digits.to_ascii_lowercase().into(),
        (Kind::Base64, Json::String(text)) if BASE64_STANDARD.decode(&text).is_ok() => text.into(),
        (Kind::One(inner) | Kind::Many(inner), given) => read(given, inner)?.into(),
        _ => return Err(malformed()),
    })
}

fn is_hex(digits: &str) -> bool {
    digits.len().is_multiple_of(2) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}
