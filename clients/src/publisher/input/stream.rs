//! Reads standard input and pipes, once and to their ends.

use std::fs::File;
use std::io;
use std::path::Path;

use super::origin::Origin;
use super::piece::{Sender, Stop};
use super::tail::Tail;

/// Sends all lines of the pipe at `path`, where `-` is standard input. `name` stands for it in event_ids.
pub fn drain(path: &Path, name: &str, sender: &Sender) -> Result<(), Stop> {
    if path.as_os_str() == "-" {
        return Tail::new(Origin::stream(Path::new("stdin"), name), io::stdin()).drain(sender);
    }
    let pipe = File::open(path).map_err(|error| Stop::failed(path, error))?;
    Tail::new(Origin::stream(path, name), pipe).drain(sender)
}
