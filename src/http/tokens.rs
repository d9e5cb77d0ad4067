//! Named tokens: the variable `tokens`, each with what it is for, by topics.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::event::TopicPattern;

/// A token with a name, and what it is for.
#[derive(Clone)]
pub struct NamedToken {
    /// Its name, which may be shown.
    pub name: String,
    /// The token itself.
    pub token: String,
    /// Topics that it may publish to.
    pub publish: Topics,
    /// Topics that it may read.
    pub read: Topics,
    /// Consumers that it may use, by name as topics are.
    pub consume: Topics,
}

/// Topics that a token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topics {
    /// All that there are.
    All,
    /// Those that these mean; none if there is none.
    Some(Vec<TopicPattern>),
}

impl Topics {
    /// True for a topic that is among them.
    pub fn have(&self, topic: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some(patterns) => patterns.iter().any(|pattern| pattern.matches(topic)),
        }
    }

    /// True if all topics that a pattern means are among them.
    pub fn cover(&self, wanted: &TopicPattern) -> bool {
        match self {
            Self::All => true,
            Self::Some(patterns) => patterns.iter().any(|pattern| pattern.covers(wanted)),
        }
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::Some(Vec::new())
    }

    /// Topics as they are written: `*` for all of them, alone or among others.
    fn read(written: &[String]) -> Option<Self> {
        if written.iter().any(|topic| topic == "*") {
            return Some(Self::All);
        }
        let patterns = written.iter().map(|topic| TopicPattern::parse(topic.as_str()).ok());
        patterns.collect::<Option<_>>().map(Self::Some)
    }
}

/// A token as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    token: String,
    #[serde(default)]
    publish: Vec<String>,
    #[serde(default)]
    read: Vec<String>,
    /// Names of consumers.
    #[serde(default)]
    consume: Vec<String>,
}

/// An error in the variable: the token's name and the rule. It never has a value, which may be a secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokensError {
    /// It is no object.
    #[error(
        "must be a JSON object of tokens by their names, such as {{\"shop\":{{\"token\":\"...\",\"publish\":[\"shop.*\"]}}}}"
    )]
    NoObject,
    /// A token is at fault.
    #[error("token {0:?}: {1}")]
    Token(String, &'static str),
}

/// Reads all tokens.
///
/// # Errors
/// The first error in them.
pub fn read(text: &str) -> Result<Vec<NamedToken>, TokensError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let written: BTreeMap<String, Json> = serde_json::from_str(text).map_err(|_| TokensError::NoObject)?;
    let mut tokens: Vec<NamedToken> = Vec::new();
    for (name, written) in written {
        let token = token(&name, written).map_err(|rule| TokensError::Token(name.clone(), rule))?;
        if tokens.iter().any(|other| other.token == token.token) {
            return Err(TokensError::Token(name, "is the same as that of another name"));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

fn token(name: &str, written: Json) -> Result<NamedToken, &'static str> {
    const FIELDS: &str = "must have a token, which is a text, and lists of texts: publish, read and consume";
    const TOPICS: &str =
        "has a text that is no name in publish, read or consume: prefix.* means all with a prefix, * all";
    let is_in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !(1..=64).contains(&name.len()) || !name.bytes().all(is_in_name) {
        return Err("has a name that is not 1 to 64 of the characters A-Z a-z 0-9 . _ -");
    }
    let Written { token, publish, read, consume } = serde_json::from_value(written).map_err(|_| FIELDS)?;
    let token = token.trim().to_owned();
    if token.is_empty() {
        return Err("is empty, and anybody knows that");
    }
    let [publish, read, consume] = [publish, read, consume].map(|names| Topics::read(&names).ok_or(TOPICS));
    let (publish, read, consume) = (publish?, read?, consume?);
    if publish.is_empty() && read.is_empty() && consume.is_empty() {
        return Err("is for nothing: publish, read and consume are empty");
    }
    Ok(NamedToken { name: name.to_owned(), token, publish, read, consume })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_has_the_topics_that_it_is_for() {
        let tokens = json!({
            "shop": {"token": " s ", "publish": ["shop.*", "till"], "read": ["*"]},
            "bill": {"token": "b", "consume": ["billing"]},
        });
        let tokens = read(&tokens.to_string()).unwrap();
        assert_eq!((tokens[0].name.as_str(), tokens[1].name.as_str()), ("bill", "shop"));
        let shop = &tokens[1];
        assert_eq!((shop.token.as_str(), &shop.read), ("s", &Topics::All));
        for (topic, is_there) in [("shop.a", true), ("till", true), ("shop", false), ("till.a", false)] {
            assert_eq!(shop.publish.have(topic), is_there, "{topic}");
        }
        for (topics, is_covered) in [("shop.a.*", true), ("shop.*", true), ("till", true), ("till.*", false)]
        {
            assert_eq!(shop.publish.cover(&TopicPattern::parse(topics).unwrap()), is_covered, "{topics}");
        }
        assert!(
            tokens[0].publish.is_empty() && read("").unwrap().is_empty() && read("{}").unwrap().is_empty()
        );
    }

    #[test]
    fn an_error_names_the_token_and_never_a_value() {
        for (tokens, expected) in [
            (json!([]), "must be a JSON object"),
            (json!({"a b": {"token": "s3cret", "read": ["x"]}}), "token \"a b\": has a name that is not"),
            (json!({"a": "s3cret"}), "token \"a\": must have a token"),
            (json!({"a": {"token": "s3cret", "raed": ["x"]}}), "token \"a\": must have a token"),
            (json!({"a": {"token": " ", "read": ["x"]}}), "token \"a\": is empty"),
            (json!({"a": {"token": "s3cret"}}), "token \"a\": is for nothing"),
            (json!({"a": {"token": "s3cret", "read": [""]}}), "token \"a\": has a text that is no name"),
            (
                json!({"a": {"token": "s3cret", "read": ["x"]}, "b": {"token": "s3cret", "read": ["y"]}}),
                "token \"b\": is the same",
            ),
        ] {
            let error = read(&tokens.to_string()).err().unwrap().to_string();
            assert!(error.contains(expected) && !error.contains("s3cret"), "{error}");
        }
    }
}
