//! Topics as readers and tokens name them: one, or all that begin with a prefix.

use super::name::{InvalidField, Topic};

/// One topic, or `prefix.*` for all topics that begin with `prefix.`. No new topic ends so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicPattern(Topic);

impl TopicPattern {
    /// Takes a topic, which may end in `.*`.
    ///
    /// # Errors
    /// The rule of topics, when the text breaks it.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidField> {
        Topic::of_stored(text).map(Self)
    }

    /// The pattern as it was given.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// What the topics begin with, if there may be several: it ends in a dot.
    pub fn prefix(&self) -> Option<&str> {
        self.as_str().strip_suffix('*').filter(|prefix| prefix.ends_with('.'))
    }

    /// True for a topic that it means.
    pub fn matches(&self, topic: &str) -> bool {
        match self.prefix() {
            Some(prefix) => topic.starts_with(prefix),
            None => topic == self.as_str(),
        }
    }

    /// True if it means every topic that another does.
    pub fn covers(&self, other: &Self) -> bool {
        match other.prefix() {
            Some(narrower) => self.prefix().is_some_and(|prefix| narrower.starts_with(prefix)),
            None => self.matches(other.as_str()),
        }
    }

    /// The topics that it means, as a range in the order of their bytes: the first text, and the first behind them.
    pub fn range(&self) -> [String; 2] {
        match self.prefix() {
            // A slash is the character behind a dot.
            Some(prefix) => [prefix.to_owned(), format!("{}/", &prefix[..prefix.len() - 1])],
            // No topic has a control character.
            None => [self.as_str().to_owned(), format!("{}\u{1}", self.as_str())],
        }
    }

    /// Adds a pattern to others, each of whose topics is to be meant once.
    pub fn add_to(self, patterns: &mut Vec<Self>) {
        if !patterns.iter().any(|known| known.covers(&self)) {
            patterns.retain(|known| !self.covers(known));
            patterns.push(self);
        }
    }
}

impl From<Topic> for TopicPattern {
    fn from(topic: Topic) -> Self {
        Self(topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> TopicPattern {
        TopicPattern::parse(text).unwrap()
    }

    #[test]
    fn a_prefix_means_what_begins_with_it_and_its_range_says_the_same() {
        let topics =
            ["a", "a.", "a.b", "a.b.c", "a.\u{10ffff}", "a.*", "a/", "a/b", "a-", "ab", "A.b", "b", "."];
        for (text, expected) in [
            ("a", &["a"][..]),
            ("a.*", &["a.", "a.b", "a.b.c", "a.\u{10ffff}", "a.*"]),
            ("a.b.*", &["a.b.c"]),
            ("a*", &[]),
            (".*", &["."]),
        ] {
            let pattern = pattern(text);
            let [from, to] = pattern.range();
            for topic in topics {
                let is_meant = expected.contains(&topic);
                assert_eq!(pattern.matches(topic), is_meant, "{text} {topic}");
                assert_eq!(*from <= *topic && *topic < *to, is_meant, "{text} {topic}: {from} {to}");
            }
        }
        assert!(TopicPattern::parse("").is_err());
    }

    #[test]
    fn each_topic_is_meant_once() {
        for (given, expected) in [
            (&["a", "b", "a"][..], &["a", "b"][..]),
            (&["a.b", "a.*", "a.c.*"], &["a.*"]),
            (&["a.b.*", "a.b", "a.c"], &["a.b.*", "a.b", "a.c"]),
        ] {
            let mut patterns = Vec::new();
            for text in given {
                pattern(text).add_to(&mut patterns);
            }
            assert!(patterns.iter().map(TopicPattern::as_str).eq(expected.iter().copied()), "{patterns:?}");
        }
    }
}
