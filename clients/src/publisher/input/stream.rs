//! Reads standard input and pipes, once and to their ends.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use super::chunk::Stop;
use super::context::Context;
use super::decode::{Bytes, Form};
use super::origin::Origin;
use super::tail::Tail;

/// Sends all lines of the pipe at `path`, where `-` is standard input. `name` stands for it in event_ids.
pub fn drain(path: &Path, name: &str, context: &Context) -> Result<(), Stop> {
    let failed = |error| Stop::failed(path, error);
    if path.as_os_str() == "-" {
        let input = decoded(io::stdin(), context).map_err(|error| Stop::failed(Path::new("stdin"), error))?;
        return Tail::new(Origin::stream(Path::new("stdin"), name), input, context).drain(&context.sender);
    }
    let pipe = File::open(path).and_then(|pipe| decoded(pipe, context)).map_err(failed)?;
    Tail::new(Origin::stream(path, name), pipe, context).drain(&context.sender)
}

/// The decoded content of a stream. Its form shows in its first bytes, and it waits for no more than those.
fn decoded(input: impl io::Read + 'static, context: &Context) -> io::Result<Bytes> {
    let mut input = BufReader::new(input);
    match Form::of(input.fill_buf()?, context.reading.encoding)? {
        Some(form) if !form.is_plain() => form.decode(input, &context.reading.malformed),
        _ => Ok(Box::new(input)),
    }
}
