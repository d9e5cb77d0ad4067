//! The lines, each of which can be recognised, so that what is stored is known without the answer at hand.

/// A line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Line {
    /// The first line of many files, the same in all of them.
    Header,
    /// A line that a writer repeats, so that its logs have it at many places.
    Again(usize),
    /// The line of this number of a writer, which is written once.
    Numbered(usize, usize),
}

const HEADER: &str = "#Fields: writer line length text";

impl Line {
    /// Its text, without a line end. A numbered one has so many bytes behind its beginning.
    pub fn text(self, bytes: usize) -> String {
        match self {
            Self::Header => HEADER.into(),
            Self::Again(writer) => format!("writer {writer} has nothing to say"),
            Self::Numbered(writer, number) => {
                let mut text = format!("writer {writer} line {number} length {bytes} text ");
                let end = text.len() + bytes;
                // No two places of it are the same, so that a piece in the wrong place is seen.
                for count in number.. {
                    if text.len() >= end {
                        break;
                    }
                    text.push_str(&count.to_string());
                    text.push(' ');
                }
                text.truncate(end);
                text
            }
        }
    }

    /// The line of which this is the text; `None` if there is none.
    pub fn of(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut number = |name| (words.next() == Some(name)).then(|| words.next()?.parse().ok())?;
        let Some(writer) = number("writer") else { return (text == HEADER).then_some(Self::Header) };
        let (line, bytes) = match number("line") {
            Some(line) => (Self::Numbered(writer, line), number("length")?),
            None => (Self::Again(writer), 0),
        };
        (line.text(bytes) == text).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_known_by_its_text_and_no_other_text_is() {
        for line in [Line::Header, Line::Again(3), Line::Numbered(3, 0), Line::Numbered(12, 345)] {
            let text = line.text(100);
            assert_eq!(Line::of(&text), Some(line));
            assert_eq!(Line::of(&text[1..]), None);
            assert_eq!(Line::of(&text[..text.len() - 1]), None);
            assert_eq!(Line::of(&format!("{text}{text}")), None);
        }
    }
}
