//! Progress, colours and numbers for people. Progress goes to standard error and only to a terminal, results to
//! standard output; colours need a terminal, too, and obey `NO_COLOR` and `CLICOLOR`.

use std::fmt::{self, Display};
use std::io::Write;
use std::time::Duration;

use console::style;
use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Progress, and a report as text.
    Human,
    /// One JSON object on standard output; no progress and no notes.
    Json,
}

impl View {
    /// The area of standard error that progress bars share; hidden for JSON.
    pub fn area(self) -> MultiProgress {
        MultiProgress::with_draw_target(match self {
            Self::Human => ProgressDrawTarget::stderr_with_hz(10),
            Self::Json => ProgressDrawTarget::hidden(),
        })
    }

    /// Prints a line on standard error, unless the output is JSON.
    pub fn note(self, text: impl Display) {
        if self == Self::Human {
            say(format_args!("{}", visible(text)));
        }
    }
}

/// Adds a bar of `length`, or without a known end, to `area`. `template` is indicatif's, with one more key: `{rate}`,
/// in items per second.
pub fn bar(area: &MultiProgress, length: Option<u64>, template: &str) -> ProgressBar {
    let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
        let _ = write!(out, "{}/s", HumanCount(state.per_sec() as u64)); // writing to memory cannot fail
    };
    // The templates are constants; an invalid one falls back to indicatif's default.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    // Add it before it is set up: outside the area it would draw itself once.
    let bar = area.add(length.map_or_else(ProgressBar::no_length, ProgressBar::new));
    bar.set_style(style.with_key("rate", rate).progress_chars("━╸ "));
    if !bar.is_hidden() {
        bar.enable_steady_tick(Duration::from_millis(100));
    }
    bar
}

/// Prints a result on standard output. A closed pipe, as with `| head`, is not an error.
pub fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Prints a line on standard error, above the bar if it is shown. The prefix of one of several bars begins it.
pub fn tell(bar: &ProgressBar, text: impl Display) {
    let text = visible(of_its_bar(bar, text));
    bar.suspend(|| say(format_args!("{text}")));
}

/// Prints a warning on standard error, above the bar if it is shown. The prefix of one of several bars begins it.
pub fn warn(bar: &ProgressBar, text: impl Display) {
    let text = visible(of_its_bar(bar, text));
    bar.suspend(|| say(format_args!("{} {text}", style("warning:").yellow().bold().for_stderr())));
}

/// A text about what one of several bars shows, or the only one, which has no prefix.
fn of_its_bar(bar: &ProgressBar, text: impl Display) -> String {
    let prefix = bar.prefix();
    if prefix.is_empty() { text.to_string() } else { format!("{prefix}: {text}") }
}

/// Prints the error that ends the program, on standard error.
pub fn complain(text: impl Display) {
    let text = visible(text);
    say(format_args!("{} {text}", style("error:").red().bold().for_stderr()));
}

/// Unlike `eprintln!`, this does not panic when standard error is closed: the work goes on.
fn say(text: fmt::Arguments) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Text that may come from elsewhere, such as a line of a log or the name of a file: what would command a terminal is
/// escaped, as are marks that turn the direction of writing. Line ends and tabs stay.
pub fn visible(text: impl Display) -> String {
    let is_command = |character: char| match character {
        '\n' | '\t' => false,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => character.is_control(),
    };
    let mut visible = String::new();
    for character in text.to_string().chars() {
        if is_command(character) {
            visible.extend(character.escape_default());
        } else {
            visible.push(character);
        }
    }
    visible
}

/// A number with its noun: `1 event`, `20,000 events`.
pub fn count(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", HumanCount(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_command_a_terminal_is_escaped() {
        assert_eq!(visible("a\tb\n漢 é"), "a\tb\n漢 é");
        assert_eq!(visible("\u{1b}[2J\u{9b}H\r\u{7f}\u{202e}"), r"\u{1b}[2J\u{9b}H\r\u{7f}\u{202e}");
    }
}
