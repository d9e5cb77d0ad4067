//! Finds the inputs that the arguments name.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::content::{Content, Reading};

/// An input of the arguments.
#[derive(Clone, Debug)]
pub enum Input {
    /// Standard input, or a pipe, and its name in event_ids. It is read once, from its beginning.
    Stream(PathBuf, String),
    /// A file, which is read from the position in its checkpoint.
    File(PathBuf),
    /// A pattern of names, whose files are followed as they appear.
    Pattern(String),
}

impl Input {
    /// The name of a stream, for people; `None` for a file.
    pub fn as_stream(&self) -> Option<std::path::Display<'_>> {
        match self {
            Self::Stream(path, _) if path.as_os_str() == "-" => Some(Path::new("standard input").display()),
            Self::Stream(path, _) => Some(path.display()),
            Self::File(_) | Self::Pattern(_) => None,
        }
    }

    /// The path of a file.
    pub fn as_file(&self) -> Option<&Path> {
        if let Self::File(path) = self { Some(path) } else { None }
    }
}

/// Finds the inputs, and fails for a path that cannot be read. A file to follow need not be there yet. A name with `*`,
/// `?` or `[` that is not a file's is a pattern. The first stream is called `name`, the second `name-2`.
pub fn find(files: &[PathBuf], follow: bool, name: &str) -> Result<Vec<Input>> {
    if files.is_empty() {
        return Ok(vec![Input::Stream("-".into(), name.into())]);
    }
    let mut inputs = Vec::new();
    for path in files {
        match as_pattern(path) {
            Some(pattern) if follow => {
                glob::Pattern::new(pattern).with_context(|| format!("{pattern} is not a pattern"))?;
                inputs.push(Input::Pattern(pattern.into()));
            }
            Some(pattern) => {
                let found = matching(pattern);
                ensure!(!found.is_empty(), "no file matches {pattern}");
                inputs.extend(found.into_iter().map(Input::File));
            }
            None if is_stream(path, follow)? => {
                let streams = inputs.iter().filter(|input| matches!(input, Input::Stream(..))).count();
                let name = if streams == 0 { name.into() } else { format!("{name}-{}", streams + 1) };
                inputs.push(Input::Stream(path.into(), name));
            }
            None => inputs.push(Input::File(path.into())),
        }
    }
    Ok(inputs)
}

/// A path as a pattern, if it is one. A file of this name takes precedence.
fn as_pattern(path: &Path) -> Option<&str> {
    path.to_str().filter(|text| text.contains(['*', '?', '[']) && !path.exists())
}

/// The files that match a pattern now, in the order of their names.
pub fn matching(pattern: &str) -> Vec<PathBuf> {
    let paths = glob::glob(pattern).map(Iterator::flatten);
    paths.map(|paths| paths.filter(|path| path.is_file()).collect()).unwrap_or_default()
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

/// The bytes of all inputs; `None` if one is a stream, does not exist, or has to be decoded first.
pub fn size(inputs: &[Input], reading: &Reading) -> Option<u64> {
    let size = |input: &Input| match input {
        Input::Stream(..) | Input::Pattern(_) => None,
        Input::File(path) => {
            let content = Content::open(path, reading).ok().filter(Content::is_plain)?;
            content.metadata().ok().map(|metadata| metadata.len())
        }
    };
    inputs.iter().map(size).sum()
}
