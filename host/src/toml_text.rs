//! TOML texts, whose errors name the place and the reason. The library's own show the line, which may have a secret.

use std::ops::Range;

use anyhow::{Result, anyhow};
use serde::de::DeserializeOwned;
use toml::{Spanned, Table};

/// Reads a text.
///
/// # Errors
/// Names line and column, and the key or the reason.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let place = error.span().map(|span| format!("{}: ", place(text, &span))).unwrap_or_default();
        anyhow!("{place}{}", reason(error.message()))
    })
}

/// Reads a table of a text.
///
/// # Errors
/// Names the line of the table, and the key or the reason.
pub fn parse_table<T: DeserializeOwned>(text: &str, table: Spanned<Table>) -> Result<T> {
    let place = place(text, &table.span());
    table
        .into_inner()
        .try_into()
        .map_err(|error: toml::de::Error| anyhow!("{place}: {}", reason(error.message())))
}

/// Line and column of a part of a text, both from 1 on.
fn place(text: &str, part: &Range<usize>) -> String {
    let before = text.get(..part.start).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    format!("line {}, column {}", before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// The reason without the value, which these messages of serde have: ``invalid type: string "...", expected u32``.
fn reason(message: &str) -> String {
    let message = message.trim_end();
    for kind in ["invalid type", "invalid value", "invalid length"] {
        if message.starts_with(&format!("{kind}: ")) {
            let expected = message.rsplit_once(", expected ").map_or("another", |(_, expected)| expected);
            return format!("{kind}, expected {expected}");
        }
    }
    message.to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
    enum Store {
        Libsql { _token: String, _port: Option<u16> },
    }

    fn error(line: &str) -> String {
        let text = format!("[store.default]\ntype = \"libsql\"\n{line}\n");
        let read = |text: &str| -> Result<()> {
            #[derive(Deserialize)]
            struct File {
                store: BTreeMap<String, Spanned<Table>>,
            }
            for (_, table) in parse::<File>(text)?.store {
                parse_table::<Store>(text, table)?;
            }
            Ok(())
        };
        read(&text).unwrap_err().to_string()
    }

    #[test]
    fn an_error_has_its_place_and_reason_and_never_the_text() {
        for (line, expected) in [
            ("_token = \"s3cret", "line 3, column 17: invalid basic string, expected `\"`"),
            ("_token = s3cret", "line 3, column 10: string values must be quoted, expected literal string"),
            ("_token \"s3cret\"", "line 3, column 8: key with no value, expected `=`"),
            ("_token = \"a\"\n_token = \"s3cret\"", "line 4, column 1: duplicate key"),
            ("_token = [\"s3cret\"]", "line 1, column 1: invalid type, expected a string"),
            ("_token = \"a\"\n_port = \"s3cret\"", "line 1, column 1: invalid type, expected u16"),
            ("_token = \"a\"\n_port = 70000", "line 1, column 1: invalid value, expected u16"),
            ("_tokn = \"s3cret\"", "line 1, column 1: unknown field `_tokn`, expected `_token` or `_port`"),
            ("", "line 1, column 1: missing field `_token`"),
            ("[store.other]\ntoken = \"s3cret\"", "line 1, column 1: missing field `_token`"),
            ("[x]\n\u{e9} = 1", "line 4, column 1: "),
        ] {
            let error = error(line);
            assert!(error.starts_with(expected), "{line}: {error}");
            assert!(!error.contains("s3cret"), "{line}: {error}");
        }
    }
}
