//! The messages of OTLP's logs as tables (opentelemetry-proto 1.x, `logs.proto`, `common.proto` and `resource.proto`):
//! each field by its number in protobuf and its name in JSON. What is not here is skipped, as both encodings ask.

/// A message.
pub struct Message {
    pub fields: &'static [Field],
    /// True if at most one of the fields is there: then it also tells its default from its absence.
    pub is_oneof: bool,
}

/// A field of a message.
pub struct Field {
    pub number: u64,
    pub name: &'static str,
    pub kind: Kind,
}

/// The content of a field.
#[derive(Clone, Copy)]
pub enum Kind {
    Text,
    Bool,
    /// A varint that is a number in JSON: `uint32`, or an enum, whose names OTLP leaves out of JSON.
    Small,
    /// `fixed32`.
    Fixed32,
    /// `int64`, which is a string in JSON.
    Int64,
    /// `fixed64`, without a sign, which is a string in JSON.
    Fixed64,
    Double,
    /// Bytes that are hexadecimal in JSON: ids, and nothing else.
    Hex,
    /// Bytes that are base64 in JSON.
    Base64,
    One(&'static Message),
    Many(&'static Message),
}

const fn message(fields: &'static [Field]) -> Message {
    Message { fields, is_oneof: false }
}

const fn field(number: u64, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind }
}

/// The fields, by number and name, that lead from a request down to its records. These are taken out of it one by one: a
/// record that is malformed is no error of the others.
pub const RESOURCE_LOGS: (u64, &str) = (1, "resourceLogs");
pub const SCOPE_LOGS: (u64, &str) = (2, "scopeLogs");
pub const LOG_RECORDS: (u64, &str) = (2, "logRecords");

/// `ResourceLogs` without its `ScopeLogs`.
pub static ORIGIN: Message =
    message(&[field(1, "resource", Kind::One(&RESOURCE)), field(3, "schemaUrl", Kind::Text)]);

/// `ScopeLogs` without its records.
pub static SCOPE_ORIGIN: Message =
    message(&[field(1, "scope", Kind::One(&SCOPE)), field(3, "schemaUrl", Kind::Text)]);

static RESOURCE: Message = message(&[
    field(1, "attributes", Kind::Many(&KEY_VALUE)),
    field(2, "droppedAttributesCount", Kind::Small),
]);

static SCOPE: Message = message(&[
    field(1, "name", Kind::Text),
    field(2, "version", Kind::Text),
    field(3, "attributes", Kind::Many(&KEY_VALUE)),
    field(4, "droppedAttributesCount", Kind::Small),
]);

/// `LogRecord`.
pub static LOG_RECORD: Message = message(&[
    field(1, "timeUnixNano", Kind::Fixed64),
    field(2, "severityNumber", Kind::Small),
    field(3, "severityText", Kind::Text),
    field(5, "body", Kind::One(&ANY_VALUE)),
    field(6, "attributes", Kind::Many(&KEY_VALUE)),
    field(7, "droppedAttributesCount", Kind::Small),
    field(8, "flags", Kind::Fixed32),
    field(9, "traceId", Kind::Hex),
    field(10, "spanId", Kind::Hex),
    field(11, "observedTimeUnixNano", Kind::Fixed64),
    field(12, "eventName", Kind::Text),
]);

static KEY_VALUE: Message = message(&[field(1, "key", Kind::Text), field(2, "value", Kind::One(&ANY_VALUE))]);

static ANY_VALUE: Message = Message {
    fields: &[
        field(1, "stringValue", Kind::Text),
        field(2, "boolValue", Kind::Bool),
        field(3, "intValue", Kind::Int64),
        field(4, "doubleValue", Kind::Double),
        field(5, "arrayValue", Kind::One(&ARRAY_VALUE)),
        field(6, "kvlistValue", Kind::One(&KEY_VALUE_LIST)),
        field(7, "bytesValue", Kind::Base64),
    ],
    is_oneof: true,
};

static ARRAY_VALUE: Message = message(&[field(1, "values", Kind::Many(&ANY_VALUE))]);

static KEY_VALUE_LIST: Message = message(&[field(1, "values", Kind::Many(&KEY_VALUE))]);
