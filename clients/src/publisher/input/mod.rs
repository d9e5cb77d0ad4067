//! Reads lines. Files and standard input block, so a thread reads them, and hands over runs of whole lines. The channel
//! holds two of them, so that a slow service slows the reading down.

mod chunk;
mod content;
mod context;
mod decode;
mod directories;
mod evidence;
mod family;
mod find;
mod follow;
mod identity;
mod lines;
mod origin;
mod pattern;
mod registry;
mod search;
mod start;
mod stream;
mod suspects;
mod tail;
mod watch;

use std::cell::RefCell;
use std::rc::Rc;

use sekali_clients::interrupt::Interrupt;
use tokio::sync::mpsc;

use chunk::{Sender, Stop};
use context::Context;
use directories::Directories;
use registry::Registry;
use search::tell_lost;
use suspects::Suspects;

#[cfg(feature = "tables")]
pub use chunk::Row;
pub use chunk::{Chunk, Chunks, News, Text};
pub use content::Reading;
pub use decode::Malformed;
pub use evidence::Line;
pub use find::{Input, find, matching, size};
pub use identity::{Identity, now};
#[cfg(test)]
pub use lines::LineReader;
pub use origin::{Origin, Position};
pub use start::{Start, Starts};

/// Starts the thread that reads all inputs, one after the other or, to follow them, in turns.
pub fn read(
    inputs: Vec<Input>,
    follow: bool,
    reading: Reading,
    starts: Starts,
    interrupt: Interrupt,
) -> Chunks {
    let (sender, chunks) = mpsc::channel(2);
    let has_patterns = inputs.iter().any(|input| matches!(input, Input::Pattern(_)));
    std::thread::spawn(move || {
        let context = Context {
            registry: Registry::new(starts, !follow),
            directories: Directories::default(),
            watched: RefCell::default(),
            open: Rc::default(),
            suspects: Suspects::new(has_patterns),
            reading,
            sender: Sender { chunks: sender, interrupt },
        };
        let read = match follow {
            true => follow_all(inputs, &context),
            false => read_all(&inputs, &context),
        };
        match read {
            Ok(()) | Err(Stop::Unwanted) => {}
            Err(Stop::Failed(error)) => context.sender.fail(error),
        }
    });
    chunks
}

/// Reads one input after the other. One that fails does not keep the others from being read, and is told at the end.
fn read_all(inputs: &[Input], context: &Context) -> Result<(), Stop> {
    let mut failure = None;
    for input in inputs {
        match read_once(input, context) {
            Err(Stop::Failed(error)) => failure = failure.or(Some(error)),
            read => read?,
        }
    }
    tell_lost(true, context)?;
    failure.map_or(Ok(()), |error| Err(Stop::Failed(error)))
}

fn read_once(input: &Input, context: &Context) -> Result<(), Stop> {
    match input {
        Input::Stream(path, name) => stream::drain(path, name, context),
        Input::File(path) => watch::once(path, context),
        Input::Pattern(pattern) => {
            find::matching(pattern).iter().try_for_each(|path| watch::once(path, context))
        }
    }
}

/// Reads the streams to their ends, then follows the files.
fn follow_all(inputs: Vec<Input>, context: &Context) -> Result<(), Stop> {
    let (mut files, mut patterns) = (Vec::new(), Vec::new());
    for input in inputs {
        match input {
            Input::Stream(path, name) => stream::drain(&path, &name, context)?,
            Input::File(path) => files.push(path),
            Input::Pattern(pattern) => patterns.push(pattern),
        }
    }
    if files.is_empty() && patterns.is_empty() {
        Ok(())
    } else {
        follow::follow(&files, patterns, context.reading.is_from_end, context)
    }
}
