//! Events of several lines: which line begins one, and which goes on.

use std::fmt;
use std::sync::Arc;

use regex::bytes::Regex;

use super::traces::{self, Rule, START};

/// The lines of an event, as `--multiline` says.
#[derive(Clone)]
pub struct Multiline {
    /// The argument.
    name: String,
    lines: Arc<Lines>,
}

enum Lines {
    /// A line that matches begins an event, and all others belong to the one before.
    StartPattern(Regex),
    /// A trace goes on as long as a rule takes its next line. Any other line is an event by itself.
    Traces(Vec<(Rule, Regex)>),
}

/// What a line is to the event before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is an event by itself.
    Alone,
    /// It begins an event that may go on.
    Begins,
    /// It belongs to the event before.
    GoesOn,
}

/// The place in a trace: the state of the rules behind the last line.
#[derive(Clone, Copy, Debug)]
pub struct State(&'static str);

impl Default for State {
    fn default() -> Self {
        Self(START)
    }
}

impl Multiline {
    /// The name of a kind of traces, or a pattern with which events start.
    ///
    /// # Errors
    /// It is no regular expression.
    pub fn parse(text: &str) -> Result<Self, String> {
        let regex = |pattern: &str| Regex::new(pattern).map_err(|error| error.to_string());
        let lines = match traces::rules(text) {
            Some(rules) => {
                let rules = rules.iter().map(|rule| Ok((*rule, regex(rule.pattern)?)));
                Lines::Traces(rules.collect::<Result<_, String>>()?)
            }
            None => Lines::StartPattern(regex(text)?),
        };
        Ok(Self { name: text.into(), lines: Arc::new(lines) })
    }

    /// What the next line is. `is_open` is true if there is an event that it may belong to.
    pub fn step(&self, state: &mut State, is_open: bool, line: &[u8]) -> Step {
        match &*self.lines {
            Lines::StartPattern(start) if is_open && !start.is_match(line) => Step::GoesOn,
            Lines::StartPattern(_) => Step::Begins,
            Lines::Traces(rules) => {
                let next = |from| {
                    let takes =
                        |(rule, regex): &&(Rule, Regex)| rule.from.contains(&from) && regex.is_match(line);
                    rules.iter().find(takes).map(|(rule, _)| rule.to)
                };
                let within = if is_open { next(state.0).filter(|_| state.0 != START) } else { None };
                let begins = next(START);
                state.0 = within.or(begins).unwrap_or(START);
                match (within, begins) {
                    (Some(_), _) => Step::GoesOn,
                    (None, Some(_)) => Step::Begins,
                    (None, None) => Step::Alone,
                }
            }
        }
    }
}

impl fmt::Debug for Multiline {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Multiline({:?})", self.name)
    }
}

impl fmt::Display for Multiline {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events of a text, as the rules cut it.
    fn events(name: &str, text: &str) -> Vec<String> {
        let multiline = Multiline::parse(name).unwrap();
        let (mut state, mut events, mut is_open) = (State::default(), Vec::<String>::new(), false);
        for line in text.lines() {
            let step = multiline.step(&mut state, is_open, line.as_bytes());
            match (step, events.last_mut()) {
                (Step::GoesOn, Some(event)) => *event += &format!("\n{line}"),
                _ => events.push(line.into()),
            }
            is_open = step != Step::Alone;
        }
        events
    }

    #[track_caller]
    fn assert_whole(name: &str, trace: &str) {
        let trace = trace.trim();
        let found = events(name, &format!("before: it\n{trace}\nafter: it\n{trace}\n{trace}\n"));
        assert_eq!(found, ["before: it", trace, "after: it", trace, trace]);
    }

    #[test]
    fn a_line_that_matches_begins_an_event() {
        let text = "lost\n2026-11-29 one\n  more\n\nmore 2026-11-29\n2026-11-30 two\n";
        let expected = ["lost", "2026-11-29 one\n  more\n\nmore 2026-11-29", "2026-11-30 two"];
        assert_eq!(events(r"^\d{4}-\d{2}-\d{2} ", text), expected);
        assert!(Multiline::parse("(").is_err());
    }

    #[test]
    fn traces_of_java_are_whole() {
        assert_whole(
            "java",
            "
Exception in thread \"main\" java.lang.IllegalStateException: A book has a null property
\tat com.example.Author.getBookIds(Author.java:38)
\tat com.example.Bootstrap.main(Bootstrap.java:14)
\tSuppressed: java.io.IOException: close failed
\t\tat com.example.Resource.close(Resource.java:7)
\t\t... 2 more
Caused by: java.lang.NullPointerException
\tat com.example.Book.getId(Book.java:22)
\tat java.base/java.util.stream.ReferencePipeline$3$1.accept(ReferencePipeline.java:195)
\t... 1 common frames omitted",
        );
        assert_whole("java", "java.lang.StackOverflowError\n\tat a.B.c(B.java:1)");
        assert_whole(
            "java",
            "x.RemoteException: no; nested exception is: \n\tjava.net.ConnectException: refused\n\tat a.B.c(B.java:1)",
        );
    }

    #[test]
    fn traces_of_python_are_whole_with_their_causes() {
        let trace = "
Traceback (most recent call last):
  File \"/srv/app.py\", line 7, in load
    return table[key]
           ~~~~~^^^^^
KeyError: 'k'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File \"/srv/app.py\", line 12, in <module>
    load('k')
app.errors.Missing: no such key";
        assert_whole("python", trace);
        assert_whole("python", "Traceback (most recent call last):\n  File \"a\", line 1\nKeyboardInterrupt");
        let group = "
  + Exception Group Traceback (most recent call last):
  |   File \"a.py\", line 1, in <module>
  | ExceptionGroup: two (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | ValueError: 1
    +------------------------------------";
        let group = group.trim_start_matches('\n');
        assert_eq!(events("python", &format!("{group}\nINFO: it\n")), [group, "INFO: it"]);
    }

    #[test]
    fn traces_of_go_are_whole_with_all_goroutines() {
        let trace = "
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x45a1b2]

goroutine 1 [running]:
main.(*Server).handle(0x0, {0xc000012345, 0x5})
\t/srv/main.go:23 +0x1d
main.main()
\t/srv/main.go:9 +0x20

goroutine 18 [chan receive, 2 minutes]:
main.worker(...)
\t/srv/worker.go:7
created by main.main in goroutine 1
\t/srv/main.go:5 +0x5c";
        assert_whole("go", trace);
        assert_whole(
            "go",
            "http: panic serving 127.0.0.1:5000: boom\ngoroutine 6 [running]:\nnet/http.(*conn).serve.func1()\n\t/usr/lib/go/server.go:1801 +0xb9\npanic({0x1, 0x2})\n\t/usr/lib/go/panic.go:1 +0x1",
        );
    }
}
