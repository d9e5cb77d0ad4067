//! Reads lines. Files and standard input block, so a thread reads them, and hands over runs of whole lines. The channel
//! holds two of them, so that a slow service slows the reading down.

mod find;
mod lines;
mod origin;
mod piece;
mod rotation;
mod start;
mod stream;
mod tail;
mod watch;

use sekali_clients::interrupt::Interrupt;
use tokio::sync::mpsc;

use piece::{Sender, Stop};

pub use find::{Input, find, size};
pub use origin::{Identity, Origin, Position, last_write};
pub use piece::{Piece, Pieces, Text};
pub use start::{Line, Start, Starts};

/// Starts the thread that reads all inputs, one after the other or, to follow them, in turns.
pub fn read(inputs: Vec<Input>, follow: bool, starts: Starts, interrupt: Interrupt) -> Pieces {
    let (sender, pieces) = mpsc::channel(2);
    let sender = Sender { pieces: sender, interrupt };
    std::thread::spawn(move || {
        let read = match follow {
            true => follow_all(&inputs, &starts, &sender),
            false => inputs.iter().try_for_each(|input| read_once(input, &starts, &sender)),
        };
        match read {
            Ok(()) | Err(Stop::Unwanted) => {}
            Err(Stop::Failed(error)) => sender.fail(error),
        }
    });
    pieces
}

fn read_once(input: &Input, starts: &Starts, sender: &Sender) -> Result<(), Stop> {
    match input {
        Input::Stream(path, name) => stream::drain(path, name, sender),
        Input::File(path) => watch::once(path, starts, sender),
    }
}

/// Reads the streams to their ends, then follows the files.
fn follow_all(inputs: &[Input], starts: &Starts, sender: &Sender) -> Result<(), Stop> {
    let mut files = Vec::new();
    for input in inputs {
        match input {
            Input::Stream(path, name) => stream::drain(path, name, sender)?,
            Input::File(path) => files.push(path.as_path()),
        }
    }
    watch::follow(&files, starts, sender)
}
