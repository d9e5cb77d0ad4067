//! Where lines come from. A thread of its own reads, for files and standard input block, and hands over runs of whole
//! lines; the channel between holds two of them, so a slow service slows the reading down.

mod follow;
mod lines;
mod tail;

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use tail::Tail;

/// An input that is being read.
#[derive(Debug)]
pub struct Origin {
    /// What it is called, to people.
    pub path: PathBuf,
    /// What tells its lines from those of other inputs, for as long as the file exists.
    pub identity: Identity,
    /// Whether it is a file, which can be read again from any offset.
    pub is_file: bool,
    /// Where reading began.
    pub start: Position,
}

impl Origin {
    /// An input that is read once, from its beginning.
    pub fn stream(path: &Path, name: &str) -> Self {
        Self {
            path: path.into(),
            identity: Identity::of_name(name),
            is_file: false,
            start: Position::default(),
        }
    }
}

/// Sixty-four bits that stand for an input: the same for a file at each run, also after it was renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity(pub u64);

/// A place in an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Bytes before it.
    pub offset: u64,
    /// Lines before it.
    pub lines: u64,
}

/// A run of lines of one input.
#[derive(Debug)]
pub struct Piece {
    /// Which input.
    pub origin: Arc<Origin>,
    /// Where the first line starts.
    pub start: Position,
    /// Where the last one ends.
    pub end: Position,
    /// The lines.
    pub text: Text,
}

/// What a piece holds.
#[derive(Debug)]
pub enum Text {
    /// Lines with their ends; the last may lack it when the input ends with it.
    Lines(Vec<u8>),
    /// One line that is too long to be held: its beginning and its length, its end not counted.
    TooLong {
        /// The first bytes of it.
        beginning: Vec<u8>,
        /// How many bytes it has.
        bytes: u64,
    },
}

/// What the reading thread sends: pieces in order, and at last, perhaps, why it had to stop.
pub type Pieces = mpsc::Receiver<Result<Piece>>;

/// The sending end of [`Pieces`].
type Sender = mpsc::Sender<Result<Piece>>;

/// Something to read.
#[derive(Clone, Debug)]
pub enum Input {
    /// Standard input, or a pipe with a name: it is read once, from its beginning.
    Stream(PathBuf),
    /// A file, from where its checkpoint says.
    File(PathBuf),
}

/// How far files were acknowledged before.
#[derive(Clone, Debug, Default)]
pub struct Starts(pub Vec<Start>);

/// How far one file was.
#[derive(Clone, Debug)]
pub struct Start {
    /// The name it had, absolute.
    pub path: PathBuf,
    /// Which file it is, whatever its name is now.
    pub file: Identity,
    /// Where to go on.
    pub position: Position,
}

impl Starts {
    fn of(&self, file: Identity) -> Position {
        self.0.iter().find(|start| start.file == file).map(|start| start.position).unwrap_or_default()
    }

    /// The files that had this name.
    fn at<'a>(&'a self, path: &Path) -> impl Iterator<Item = Identity> + use<'a> {
        let path = std::path::absolute(path).unwrap_or_default();
        self.0.iter().filter(move |start| start.path == path).map(|start| start.file)
    }
}

impl Identity {
    /// Of whatever has this name.
    pub fn of_name(name: &str) -> Self {
        Self::hash(name.as_bytes())
    }

    /// Of a file: its inode and its time of birth, so that neither a new name nor an inode that is used again matter.
    /// Where a file system does not know births, the device has to do.
    pub fn of_file(metadata: &std::fs::Metadata) -> Self {
        let born = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let birth = born.map_or(u128::from(metadata.dev()), |born| born.as_nanos());
        Self::hash(&[metadata.ino().to_be_bytes().as_slice(), &birth.to_be_bytes()].concat())
    }

    fn hash(bytes: &[u8]) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&Sha256::digest(bytes)[..8]);
        Self(u64::from_be_bytes(first))
    }
}

/// Finds what to read, and says what cannot be. A file that is followed may come into being later.
pub fn find(files: &[PathBuf], follow: bool) -> Result<Vec<Input>> {
    if files.is_empty() {
        return Ok(vec![Input::Stream("-".into())]);
    }
    files.iter().map(|path| look_at(path, follow)).collect()
}

fn look_at(path: &Path, follow: bool) -> Result<Input> {
    if path.as_os_str() == "-" {
        return Ok(Input::Stream(path.into()));
    }
    let unreadable = || format!("{} cannot be read", path.display());
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => bail!("{} is a directory: name the files in it", path.display()),
        Ok(metadata) if metadata.is_file() => {
            File::open(path).with_context(unreadable)?;
            Ok(Input::File(path.into()))
        }
        Ok(_) => Ok(Input::Stream(path.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound && follow => Ok(Input::File(path.into())),
        Err(error) => Err(error).with_context(unreadable),
    }
}

/// How many bytes there are to read, where that is known.
pub fn size(inputs: &[Input]) -> Option<u64> {
    let size = |input: &Input| match input {
        Input::Stream(_) => None,
        Input::File(path) => std::fs::metadata(path).ok().map(|metadata| metadata.len()),
    };
    inputs.iter().map(size).sum()
}

/// Starts the thread that reads all inputs, one after the other or, to follow them, in turns.
pub fn read(inputs: Vec<Input>, name: String, follow: bool, starts: Starts) -> Pieces {
    let (sender, pieces) = mpsc::channel(2);
    std::thread::spawn(move || {
        let read = match follow {
            true => follow::all(&inputs, &name, &starts, &sender),
            false => inputs.iter().try_for_each(|input| read_once(input, &name, &starts, &sender)),
        };
        match read {
            Ok(()) | Err(Stop::Unwanted) => {}
            // Whoever listens is told; whoever does not, need not know.
            Err(Stop::Failed(error)) => drop(sender.blocking_send(Err(error))),
        }
    });
    pieces
}

/// Why reading ends early.
enum Stop {
    /// Nobody takes pieces any more.
    Unwanted,
    /// The input failed.
    Failed(anyhow::Error),
}

fn read_once(input: &Input, name: &str, starts: &Starts, sender: &Sender) -> Result<(), Stop> {
    match input {
        Input::Stream(path) if path.as_os_str() == "-" => {
            Tail::new(Origin::stream(Path::new("stdin"), name), io::stdin()).drain(sender)
        }
        Input::Stream(path) => {
            let pipe = File::open(path).map_err(|error| failed(path, error))?;
            Tail::new(Origin::stream(path, name), pipe).drain(sender)
        }
        Input::File(path) => {
            for mut tail in tail::open(path, starts).map_err(|error| failed(path, error))? {
                tail.drain(sender)?;
            }
            Ok(())
        }
    }
}

fn failed(path: &Path, error: io::Error) -> Stop {
    Stop::Failed(anyhow::Error::new(error).context(format!("{} cannot be read", path.display())))
}
