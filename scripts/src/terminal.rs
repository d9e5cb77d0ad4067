//! Progress, colours and numbers for whoever watches. Progress goes to standard error and only to a terminal,
//! results to standard output; colours need a terminal, too, and obey `NO_COLOR` and `CLICOLOR`.

use std::fmt::Display;
use std::time::Duration;

use console::style;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What the watcher wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Progress and a report to read.
    Human,
    /// One JSON object on standard output, and nothing else but errors.
    Json,
}

impl View {
    /// A bar of `length`, drawn by `template` (indicatif's).
    pub fn bar(self, length: u64, template: &str) -> ProgressBar {
        self.progress(ProgressBar::with_draw_target(Some(length), self.target()), template)
    }

    /// Progress towards no known end, drawn by `template` (indicatif's).
    pub fn spinner(self, template: &str) -> ProgressBar {
        self.progress(ProgressBar::with_draw_target(None, self.target()), template)
    }

    /// Says on standard error what takes long, when no bar says it.
    pub fn note(self, text: impl Display) {
        if self == Self::Human {
            eprintln!("{text}");
        }
    }

    fn target(self) -> ProgressDrawTarget {
        match self {
            Self::Human => ProgressDrawTarget::stderr_with_hz(10),
            Self::Json => ProgressDrawTarget::hidden(),
        }
    }

    fn progress(self, bar: ProgressBar, template: &str) -> ProgressBar {
        // The templates are our own; a bad one shows as indicatif's default.
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("━╸ "));
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        bar
    }
}

/// Prints a warning on standard error, above a bar that may be there.
pub fn warn(bar: &ProgressBar, text: impl Display) {
    bar.suspend(|| eprintln!("{} {text}", style("warning:").yellow().bold().for_stderr()));
}

/// Prints why the program ends, on standard error.
pub fn complain(text: impl Display) {
    eprintln!("{} {text}", style("error:").red().bold().for_stderr());
}

/// `1 event`, `20,000 events`.
pub fn count(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", HumanCount(number), if number == 1 { "" } else { "s" })
}
