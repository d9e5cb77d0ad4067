//! Progress, colours and numbers for whoever watches. Progress goes to standard error and only to a terminal,
//! results to standard output; colours need a terminal, too, and obey `NO_COLOR` and `CLICOLOR`.

use std::fmt::{self, Display};
use std::io::Write;
use std::time::Duration;

use console::style;
use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// What the watcher wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Progress and a report to read.
    Human,
    /// One JSON object on standard output, and nothing else but errors.
    Json,
}

impl View {
    /// Where progress is drawn; several bars share it.
    pub fn area(self) -> MultiProgress {
        MultiProgress::with_draw_target(match self {
            Self::Human => ProgressDrawTarget::stderr_with_hz(10),
            Self::Json => ProgressDrawTarget::hidden(),
        })
    }

    /// Says on standard error what takes long, when no bar says it.
    pub fn note(self, text: impl Display) {
        if self == Self::Human {
            say(format_args!("{text}"));
        }
    }
}

/// Adds a bar of `length`, or one towards no known end, to `area`. It is drawn by `template` (indicatif's), which also
/// knows `{rate}`, in things a second.
pub fn bar(area: &MultiProgress, length: Option<u64>, template: &str) -> ProgressBar {
    let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
        let _ = write!(out, "{}/s", HumanCount(state.per_sec() as u64)); // a line on a screen takes everything
    };
    // The templates are our own; a bad one shows as indicatif's default.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    // Added before anything is drawn: it would draw itself once by itself.
    let bar = area.add(length.map_or_else(ProgressBar::no_length, ProgressBar::new));
    bar.set_style(style.with_key("rate", rate).progress_chars("━╸ "));
    if !bar.is_hidden() {
        bar.enable_steady_tick(Duration::from_millis(100));
    }
    bar
}

/// Prints a result on standard output. If nobody reads it to its end, as behind `| head`, that is no failure.
pub fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Prints a line on standard error, above a bar that may be there.
pub fn tell(bar: &ProgressBar, text: impl Display) {
    bar.suspend(|| say(format_args!("{text}")));
}

/// Prints a warning on standard error, above a bar that may be there.
pub fn warn(bar: &ProgressBar, text: impl Display) {
    tell(bar, format_args!("{} {text}", style("warning:").yellow().bold().for_stderr()));
}

/// Prints why the program ends, on standard error.
pub fn complain(text: impl Display) {
    say(format_args!("{} {text}", style("error:").red().bold().for_stderr()));
}

/// Unlike `eprintln!` this does not panic when nobody listens: that is no reason to stop working.
fn say(text: fmt::Arguments) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// `1 event`, `20,000 events`.
pub fn count(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", HumanCount(number), if number == 1 { "" } else { "s" })
}
