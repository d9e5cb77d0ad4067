//! Finds the inputs that the arguments name.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// An input of the arguments.
#[derive(Clone, Debug)]
pub enum Input {
    /// Standard input, or a pipe, and its name in event_ids. It is read once, from its beginning.
    Stream(PathBuf, String),
    /// A file, which is read from the position in its checkpoint.
    File(PathBuf),
}

impl Input {
    /// The name of a stream, for people; `None` for a file.
    pub fn as_stream(&self) -> Option<std::path::Display<'_>> {
        match self {
            Self::Stream(path, _) if path.as_os_str() == "-" => Some(Path::new("standard input").display()),
            Self::Stream(path, _) => Some(path.display()),
            Self::File(_) => None,
        }
    }
}

/// Finds the inputs, and fails for a path that cannot be read. A file to follow need not be there yet. The first stream is
/// called `name`, the second `name-2`.
pub fn find(files: &[PathBuf], follow: bool, name: &str) -> Result<Vec<Input>> {
    if files.is_empty() {
        return Ok(vec![Input::Stream("-".into(), name.into())]);
    }
    let mut streams = 0;
    let find = |path: &PathBuf| {
        if !is_stream(path, follow)? {
            return Ok(Input::File(path.into()));
        }
        streams += 1;
        let name = if streams == 1 { name.into() } else { format!("{name}-{streams}") };
        Ok(Input::Stream(path.into(), name))
    };
    files.iter().map(find).collect()
}

fn is_stream(path: &Path, follow: bool) -> Result<bool> {
    if path.as_os_str() == "-" {
        return Ok(true);
    }
    let unreadable = || format!("{} cannot be read", path.display());
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => bail!("{} is a directory: name the files in it", path.display()),
        Ok(metadata) if !metadata.is_file() => Ok(true),
        _ if follow => Ok(false), // what cannot be read yet is told, and waited for
        Ok(_) => File::open(path).map(|_| false).with_context(unreadable),
        Err(error) => Err(error).with_context(unreadable),
    }
}

/// The bytes of all inputs; `None` if one is a stream or does not exist.
pub fn size(inputs: &[Input]) -> Option<u64> {
    let size = |input: &Input| match input {
        Input::Stream(..) => None,
        Input::File(path) => std::fs::metadata(path).ok().map(|metadata| metadata.len()),
    };
    inputs.iter().map(size).sum()
}
