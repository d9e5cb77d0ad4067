//! Bodies and texts as providers write them.

use sekali_common::webhooks::pointer::Pointer;
use serde_json::Value as Json;
use serde_json::value::RawValue;

/// Replaces a scalar in a JSON text, and leaves all else as it is. A string stays one.
pub fn replace(body: &mut Vec<u8>, place: &str, text: &str) -> Result<(), String> {
    let lacks = || format!("its payload lacks {place}, where the provider signs");
    let pointer = Pointer::parse(place)?;
    let document: &RawValue = serde_json::from_slice(body).map_err(|_| lacks())?;
    let found = pointer.find(document).ok_or_else(lacks)?.get();
    let start = found.as_ptr().addr() - body.as_ptr().addr();
    let text = match found.starts_with('"') {
        true => Json::from(text).to_string(),
        false => text.to_owned(),
    };
    let range = start..start + found.len();
    body.splice(range, text.into_bytes());
    Ok(())
}

/// The fields of a JSON object as a form; `None` for other JSON.
pub fn form(body: &[u8]) -> Option<Vec<u8>> {
    let fields: serde_json::Map<String, Json> = serde_json::from_slice(body).ok()?;
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in &fields {
        match value {
            Json::String(text) => _ = form.append_pair(name, text),
            Json::Array(texts) => {
                for text in texts {
                    form.append_pair(name, text.as_str()?);
                }
            }
            _ => return None,
        }
    }
    Some(form.finish().into_bytes())
}

/// The fields of a form as Twilio signs them.
pub fn sorted_fields(form: &[u8]) -> String {
    let mut fields: Vec<_> = form_urlencoded::parse(form).collect();
    fields.sort_unstable();
    fields.dedup();
    fields.iter().map(|(name, value)| format!("{name}{value}")).collect()
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a text in hexadecimal.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
