//! The stack traces that `--multiline` knows by name.

/// The state in which no trace is open.
pub const START: &str = "start";

/// A line that may follow in a state of a trace, and the state behind it. A rule of the state [`START`] begins a trace.
#[derive(Clone, Copy)]
pub struct Rule {
    pub from: &'static [&'static str],
    pub pattern: &'static str,
    pub to: &'static str,
}

const fn rule(from: &'static [&'static str], pattern: &'static str, to: &'static str) -> Rule {
    Rule { from, pattern, to }
}

/// The rules of the traces with this name.
pub fn rules(name: &str) -> Option<&'static [Rule]> {
    match name {
        "java" => Some(JAVA),
        "python" => Some(PYTHON),
        "go" => Some(GO),
        _ => None,
    }
}

/// A throwable with its frames, and those that caused it.
const JAVA: &[Rule] = &[
    rule(&[START], r"(?:Exception|Error|Throwable)(?::|;|\s*$)", "trace"),
    rule(&["trace"], r"^\s+(?:at|\.\.\. \d+) ", "trace"),
    rule(&["trace"], r"^\s*(?:Caused by|Suppressed|Wrapped by): ", "trace"),
    // Of a nested exception, and of one without a message that has a blank line.
    rule(&["trace"], r"^\s+\S*(?:Exception|Error|Throwable)\b|^\s*$", "trace"),
];

/// A traceback, and those of the exceptions during whose handling it came.
const PYTHON: &[Rule] = &[
    rule(&[START, "chained"], r"^Traceback \(most recent call last\):\s*$", "frames"),
    rule(&["frames"], r"^\s+\S", "frames"),
    rule(&["frames"], r"^[\w.]+(?::|\s*$)", "exception"),
    rule(&["exception", "gap"], r"^\s*$", "gap"),
    rule(&["gap"], r"^(?:During handling of|The above exception was) ", "chained"),
    rule(&["chained"], r"^\s*$", "chained"),
    rule(&[START], r"^\s*\+ Exception Group Traceback \(most recent call last\):\s*$", "group"),
    rule(&["group"], r"^\s+[|+]", "group"),
];

/// A panic, and the frames of each goroutine.
const GO: &[Rule] = &[
    rule(&[START], r"\bpanic: |http: panic serving |^fatal error: ", "panic"),
    rule(&["panic"], r"^\s*$|^\s+panic: |^\[signal ", "panic"),
    rule(&["panic", "gap"], r"^goroutine \d+ .*:\s*$", "function"),
    rule(&["function"], r"^\S.*\)\s*$|^created by ", "place"),
    rule(&["function"], r"^\.\.\.additional frames elided\.\.\.$", "function"),
    rule(&["place"], r"^\s+\S", "function"),
    rule(&["function", "gap"], r"^\s*$", "gap"),
];
