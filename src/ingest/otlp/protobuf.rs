//! Protobuf's wire format (<https://protobuf.dev/programming-guides/encoding/>), read by the tables of `schema`, and
//! written for answers.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value as Json;

use super::schema::{
    Field, Kind, LOG_RECORD, LOG_RECORDS, Message, ORIGIN, RESOURCE_LOGS, SCOPE_LOGS, SCOPE_ORIGIN,
};
use super::{Malformed, Object, Records, double};
use crate::ingest::IngestError;
use crate::ingest::content_id::hex;

/// Messages inside each other, at most: as many as other readers take.
const MAX_DEPTH: usize = 100;

/// The value of a field on the wire.
#[derive(Clone, Copy)]
enum Wire<'b> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'b [u8]),
    Fixed32([u8; 4]),
}

/// The fields of a message in their order, each with its number. The last is `None` if the bytes are no message.
struct Fields<'b>(&'b [u8]);

impl<'b> Iterator for Fields<'b> {
    type Item = Option<(u64, Wire<'b>)>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_empty()).then(|| {
            let field = self.field();
            if field.is_none() {
                self.0 = &[];
            }
            field
        })
    }
}

impl<'b> Fields<'b> {
    fn field(&mut self) -> Option<(u64, Wire<'b>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(self.fixed()?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Wire::Bytes(self.0.split_off(..length)?)
            }
            5 => Wire::Fixed32(self.fixed()?),
            _ => return None, // groups, which nobody writes any more
        };
        Some((tag >> 3, value))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for place in 0..10 {
            let byte = *self.0.split_off_first()?;
            value |= u64::from(byte & 127) << (7 * place);
            if byte < 128 {
                return Some(value);
            }
        }
        None
    }

    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.0.split_off(..N)?.try_into().ok()
    }
}

/// Reads the records of a request.
pub fn records(request: &[u8], records: &mut Records<'_>) -> Result<(), IngestError> {
    for logs in children(request, RESOURCE_LOGS)? {
        let resource = read(logs, &ORIGIN, 0);
        for logs in children(logs, SCOPE_LOGS)? {
            let scope = read(logs, &SCOPE_ORIGIN, 0);
            let mut of_scope =
                children(logs, LOG_RECORDS)?.into_iter().map(|record| read(record, &LOG_RECORD, 0));
            records.take(&resource, scope, &mut of_scope)?;
        }
    }
    Ok(())
}

/// The messages in a field of a message, still encoded.
fn children<'b>(message: &'b [u8], (wanted, name): (u64, &'static str)) -> Result<Vec<&'b [u8]>, Malformed> {
    let mut children = Vec::new();
    for field in Fields(message) {
        match field.ok_or(Malformed(name))? {
            (number, Wire::Bytes(child)) if number == wanted => children.push(child),
            (number, _) if number == wanted => return Err(Malformed(name)),
            _ => {}
        }
    }
    Ok(children)
}

/// Reads a message, which stands inside `depth` others.
fn read(bytes: &[u8], message: &Message, depth: usize) -> Result<Object, Malformed> {
    let mut object = Object::new();
    for wire in Fields(bytes) {
        let (number, wire) = wire.ok_or(Malformed("message"))?;
        let Some(field) = message.fields.iter().find(|field| field.number == number) else { continue };
        let value = value(field, wire, depth + 1)?;
        match field.kind {
            Kind::Many(_) => super::push(&mut object, field.name, value),
            _ => super::set(&mut object, message, field, value),
        }
    }
    Ok(object)
}

fn value(field: &Field, wire: Wire<'_>, depth: usize) -> Result<Json, Malformed> {
    let malformed = Malformed(field.name);
    Ok(match (field.kind, wire) {
        (Kind::Text, Wire::Bytes(bytes)) => std::str::from_utf8(bytes).map_err(|_| malformed)?.into(),
        (Kind::Bool, Wire::Varint(number)) => (number != 0).into(),
        (Kind::Small, Wire::Varint(number)) => (number as u32).into(),
        (Kind::Fixed32, Wire::Fixed32(bytes)) => u32::from_le_bytes(bytes).into(),
        (Kind::Int64, Wire::Varint(number)) => number.cast_signed().to_string().into(),
        (Kind::Fixed64, Wire::Fixed64(bytes)) => u64::from_le_bytes(bytes).to_string().into(),
        (Kind::Double, Wire::Fixed64(bytes)) => double(f64::from_le_bytes(bytes)),
        (Kind::Hex, Wire::Bytes(bytes)) => hex(bytes).into(),
        (Kind::Base64, Wire::Bytes(bytes)) => BASE64_STANDARD.encode(bytes).into(),
        (Kind::One(inner) | Kind::Many(inner), Wire::Bytes(bytes)) if depth < MAX_DEPTH => {
            read(bytes, inner, depth)?.into()
        }
        _ => return Err(malformed),
    })
}

/// Appends a field with bytes: a text, or another message. An empty one is left out.
pub fn write_bytes(message: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    if !bytes.is_empty() {
        write_varint(message, number << 3 | 2);
        write_varint(message, bytes.len() as u64);
        message.extend(bytes);
    }
}

/// Appends a field with a number.
pub fn write_number(message: &mut Vec<u8>, number: u64, value: u64) {
    write_varint(message, number << 3);
    write_varint(message, value);
}

fn write_varint(message: &mut Vec<u8>, mut value: u64) {
    while value > 127 {
        message.push(value as u8 | 128);
        value >>= 7;
    }
    message.push(value as u8);
}
