//! From a record and where it comes from to an event.

use serde_json::Value as Json;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{Malformed, Object};
use crate::event::{EventId, InvalidField, MAX_NAME_BYTES, NewEvent, Timestamp, Topic};
use crate::ingest::collect::FieldErrors;
use crate::ingest::content_id::ContentIds;
use crate::payload::Payload;

/// Where records come from: what they have in common.
pub struct Origin {
    topic: Topic,
    /// The resource and the scope, as the last members of the object that a record is.
    text: Text,
    /// The hash of the part that is the same each time.
    hash: Sha256,
}

/// The text of an object, without its braces.
struct Text {
    full: String,
    /// The same without what another reader of the same record may see in another way: when it came, what was left out of
    /// it, and in which order its attributes stand.
    stable: String,
}

impl Text {
    fn of(mut object: Object) -> Self {
        let text = |object: &Object| {
            // A map of JSON values cannot fail to become JSON.
            let text = serde_json::to_string(object).unwrap_or_else(|_| "{}".into());
            text[1..text.len() - 1].to_owned()
        };
        let full = text(&object);
        object.remove(OBSERVED);
        object.remove("droppedAttributesCount");
        object.values_mut().for_each(unordered);
        Self { stable: text(&object), full }
    }
}

const OBSERVED: &str = "observedTimeUnixNano";

impl Origin {
    /// The origin of records by the resource and the scope that they are of.
    pub fn of(
        resource: &Result<Object, Malformed>,
        scope: Result<Object, Malformed>,
    ) -> Result<Self, FieldErrors> {
        let resource = resource.as_ref().map_err(|error| error.told())?;
        let topic = topic(resource).map_err(|error| vec![("topic".into(), error.to_string())])?;
        let resource = Text::of(inner(resource.clone(), "resource"));
        let scope = Text::of(inner(scope.map_err(Malformed::told)?, "scope"));
        let joined = |resource, scope| format!(r#""resource":{{{resource}}},"scope":{{{scope}}}"#);
        let text =
            Text { full: joined(resource.full, scope.full), stable: joined(resource.stable, scope.stable) };
        Ok(Self { topic, hash: Sha256::new_with_prefix(&text.stable), text })
    }

    /// The event of a record. A record whose `log.record.uid` is no id of an event has one by its content.
    pub fn event(&self, record: Object, ids: &mut ContentIds) -> Result<NewEvent, FieldErrors> {
        let timestamp = moment(&record, "timeUnixNano").or_else(|| moment(&record, OBSERVED));
        let uid = attribute(&record, "log.record.uid").and_then(|uid| EventId::parse(uid).ok());
        let Text { full, stable } = Text::of(record);
        let event_id = match uid {
            Some(uid) => uid,
            None => ids.next(self.hash.clone().chain_update(&stable))?,
        };
        let payload = self.payload(&full, &stable).map_err(|error| vec![("".into(), error)])?;
        Ok(NewEvent {
            topic: self.topic.clone(),
            event_id,
            timestamp,
            source: None,
            payload,
            attributes: None,
        })
    }

    /// The record with its origin, which is compared with that of a repetition by what is the same each time.
    fn payload(&self, full: &str, stable: &str) -> Result<Payload, String> {
        let with = |record: &str, origin: &str| match record {
            "" => format!("{{{origin}}}"),
            record => format!("{{{record},{origin}}}"),
        };
        let text = with(full, &self.text.full);
        let json: &RawValue = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let mut payload = Payload::new(json, 0).map_err(|error| error.to_string())?;
        payload.compare_as(&with(stable, &self.text.stable)).map_err(|error| error.to_string())?;
        Ok(payload)
    }
}

/// Makes objects of the attributes and the maps in a value, by key, because they have no order: the Collector reads the
/// same line with its attributes in another one each time. What has a key twice keeps its values in their order.
fn unordered(value: &mut Json) {
    match value {
        Json::Array(values) => {
            values.iter_mut().for_each(unordered);
            if values.iter().all(|pair| pair["key"].is_string()) {
                let mut by_key = Object::new();
                for pair in values {
                    let key = pair["key"].as_str().unwrap_or_default();
                    let equals = by_key.entry(key).or_insert_with(|| Json::Array(Vec::new()));
                    equals.as_array_mut().into_iter().for_each(|equals| equals.push(pair["value"].take()));
                }
                *value = by_key.into();
            }
        }
        Json::Object(members) => members.values_mut().for_each(unordered),
        _ => {}
    }
}

/// The message in a field, with the URL of its schema, which stands beside it: beside a record there would be two.
fn inner(mut origin: Object, name: &str) -> Object {
    let mut inner = match origin.remove(name) {
        Some(Json::Object(inner)) => inner,
        _ => Object::new(),
    };
    inner.append(&mut origin);
    inner
}

/// The text of an attribute.
fn attribute<'o>(object: &'o Object, key: &str) -> Option<&'o str> {
    let attributes = object.get("attributes")?.as_array()?;
    let attribute = attributes.iter().find(|attribute| attribute["key"] == key)?;
    attribute["value"]["stringValue"].as_str()
}

/// The topic of a resource: the name of its service, with `_` for what no topic may have, or `logs`.
fn topic(origin: &Object) -> Result<Topic, InvalidField> {
    let name = origin.get("resource").and_then(Json::as_object);
    let name = name.and_then(|resource| attribute(resource, "service.name")).unwrap_or_default();
    let mut name = name.replace(char::is_control, "_");
    name.truncate(name.floor_char_boundary(MAX_NAME_BYTES));
    if name.ends_with(".*") {
        name.pop();
        name.push('_');
    }
    Topic::parse(name).or_else(|_| Topic::parse("logs"))
}

/// The moment of a field in nanoseconds since 1970.
fn moment(record: &Object, name: &str) -> Option<Timestamp> {
    let nanos: u64 = record.get(name)?.as_str()?.parse().ok()?;
    Timestamp::of_unix((nanos / 1_000_000_000).cast_signed(), (nanos % 1_000_000_000) as u32)
}
