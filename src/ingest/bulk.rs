//! Elasticsearch's bulk format: a line with an action, and a line with the document that it is about.
//! <https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk> has it.

use sekali_common::webhooks::pointer::{child, scalar};
use serde_json::Value as Json;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::canonical;
use super::collect::{Collector, Context, FieldErrors, IngestError, Ingested, utf8, without_mark};
use super::content_id::ContentIds;
use crate::event::{EventId, InvalidField, NewEvent, Timestamp, Topic};
use crate::payload::Payload;

/// What is to be done with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Store it unless its id is known.
    Create,
    /// Store it in the place of what has its id.
    Index,
    /// Change one: refused.
    Update,
    /// Delete one: refused.
    Delete,
}

impl Operation {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Index => "index",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Create, Self::Index, Self::Update, Self::Delete].into_iter().find(|known| known.name() == name)
    }
}

/// An action of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Action {
    /// What is to be done.
    pub operation: Operation,
    /// The index that it names, or the path of the request.
    pub index: Option<String>,
    /// The id that it names.
    pub id: Option<String>,
}

/// Reads the actions of a request, and the event of each that is valid. `index` is that of the path.
///
/// # Errors
/// [`IngestError::Malformed`] where a line is no action, so that it is unknown what the next ones are; and the limits of a
/// request.
pub fn actions(
    body: &[u8],
    index: Option<&str>,
    context: &Context,
) -> Result<(Vec<Action>, Ingested), IngestError> {
    let mut collector = Collector::new(context);
    let mut ids = ContentIds::default();
    let mut actions = Vec::new();
    let mut lines = (1..).zip(without_mark(body).split(|byte| *byte == b'\n'));
    while let Some((number, line)) = lines.next() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let malformed = |message: &str| IngestError::Malformed(format!("line {number}: {message}"));
        let action = action(line, index).map_err(|message| malformed(&message))?;
        let document = match action.operation {
            Operation::Delete => &[],
            _ => lines.next().ok_or_else(|| malformed("the document of this action is missing"))?.1,
        };
        collector.take(|_| Ok(event(&action, document, &mut ids)))?;
        actions.push(action);
    }
    Ok((actions, collector.finish()?))
}

fn action(line: &[u8], index: Option<&str>) -> Result<Action, String> {
    const SHAPE: &str = r#"must be an action, such as {"create":{"_index":"logs","_id":"1"}}"#;
    let line = utf8(line).map_err(|error| error.to_string())?;
    let json: Json = serde_json::from_str(line).map_err(|error| format!("{SHAPE}: {error}"))?;
    let action = json.as_object().filter(|action| action.len() == 1).and_then(|action| action.iter().next());
    let (name, options) = action.ok_or(SHAPE)?;
    let operation = Operation::of(name).ok_or_else(|| format!("{SHAPE}, not {name}"))?;
    let text = |name| match &options[name] {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    };
    Ok(Action { operation, index: text("_index").or_else(|| index.map(Into::into)), id: text("_id") })
}

fn event(action: &Action, document: &[u8], ids: &mut ContentIds) -> Result<NewEvent, FieldErrors> {
    let told = |field: &'static str, error: String| vec![(field.into(), error)];
    if let Operation::Update | Operation::Delete = action.operation {
        let name = action.operation.name();
        return Err(told(
            "",
            format!("{name} is not supported: an event is stored once, and stays as it is"),
        ));
    }
    let index = action.index.clone().ok_or_else(|| told("_index", "is required".into()))?;
    let invalid = |field| move |error: InvalidField| told(field, error.to_string());
    let topic = Topic::parse(index).map_err(invalid("_index"))?;
    let document: &RawValue = utf8(document.trim_ascii())
        .and_then(|text| Ok(serde_json::from_str(text)?))
        .map_err(|error| told("", format!("the document is malformed: {error}")))?;
    if !document.get().starts_with('{') {
        return Err(told("", "a document must be a JSON object".into()));
    }
    let payload = Payload::new(document, 0).map_err(|error| told("", error.to_string()))?;
    let event_id = match &action.id {
        Some(id) => EventId::parse(id.as_str()).map_err(invalid("_id"))?,
        None => {
            let content = Sha256::new_with_prefix(topic.as_str()).chain_update([0]);
            ids.next(content.chain_update(canonical::content(payload.as_json())))?
        }
    };
    let timestamp = child(document, "@timestamp").and_then(scalar).and_then(|text| moment(&text));
    Ok(NewEvent { topic, event_id, timestamp, source: None, payload, attributes: None })
}

/// A moment as Elasticsearch reads one by default: a date, or milliseconds since 1970.
fn moment(text: &str) -> Option<Timestamp> {
    match text.parse::<i64>() {
        Ok(millis) => {
            let nanos = u32::try_from(millis.rem_euclid(1000)).ok()? * 1_000_000;
            Timestamp::of_unix(millis.div_euclid(1000), nanos)
        }
        Err(_) => Timestamp::parse(text).ok(),
    }
}
