//! Where lines come from. A thread of its own reads, for files and standard input block, and hands over runs of whole
//! lines; the channel between holds two of them, so a slow service slows the reading down.

mod lines;
mod rotation;
mod tail;
mod watch;

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use sekali_clients::interrupt::Interrupt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use tail::Tail;

/// An input that is being read.
#[derive(Clone, Debug)]
pub struct Origin {
    /// What it is called, to people.
    pub path: PathBuf,
    /// The name under which it is read; it had that once, if it was rotated away.
    pub watched: PathBuf,
    /// What tells its lines from those of other inputs, for as long as the file exists.
    pub identity: Identity,
    /// Whether it is a file, which can be read again from any offset.
    pub is_file: bool,
    /// When the file came into being, as time since 1970, where that is known.
    pub born: Option<Duration>,
    /// Where reading began.
    pub start: Position,
}

impl Origin {
    /// An input that is read once, from its beginning.
    pub fn stream(path: &Path, name: &str) -> Self {
        let identity = Identity::of_name(name);
        let (path, watched) = (path.into(), path.into());
        Self { path, watched, identity, is_file: false, born: None, start: Position::default() }
    }
}

/// Sixty-four bits that stand for an input: the same for a file at each run, also after it was renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Identity(pub u64);

/// A place in an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
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
    /// Nothing: the file was rotated away, and no more comes of it.
    End {
        /// What was not read of it, if that is so.
        warning: Option<String>,
    },
}

/// What the reading thread sends: pieces in order, and at last, perhaps, why it had to stop.
pub type Pieces = mpsc::Receiver<Result<Piece>>;

/// Where the reading thread sends pieces, as long as somebody wants them.
struct Sender {
    pieces: mpsc::Sender<Result<Piece>>,
    interrupt: Interrupt,
}

impl Sender {
    /// Whether to read on. What was read is still sent when the program was asked to end.
    fn check(&self) -> Result<(), Stop> {
        let is_wanted = !self.pieces.is_closed() && self.interrupt.exit_code().is_none();
        if is_wanted { Ok(()) } else { Err(Stop::Unwanted) }
    }

    fn send(&self, piece: Piece) -> Result<(), Stop> {
        self.pieces.blocking_send(Ok(piece)).map_err(|_| Stop::Unwanted)
    }
}

/// Something to read.
#[derive(Clone, Debug)]
pub enum Input {
    /// Standard input, or a pipe, and the name that tells it from others: it is read once, from its beginning.
    Stream(PathBuf, String),
    /// A file, from where its checkpoint says.
    File(PathBuf),
}

impl Input {
    /// What a stream is called; `None` for a file.
    pub fn as_stream(&self) -> Option<std::path::Display<'_>> {
        match self {
            Self::Stream(path, _) if path.as_os_str() == "-" => Some(Path::new("standard input").display()),
            Self::Stream(path, _) => Some(path.display()),
            Self::File(_) => None,
        }
    }
}

/// How far files were acknowledged before.
#[derive(Clone, Debug, Default)]
pub struct Starts(pub Vec<Start>);

/// How far one file was.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Start {
    /// The name it had, absolute.
    pub path: PathBuf,
    /// Which file it is, whatever its name is now.
    pub file: Identity,
    /// When it came into being, as time since 1970, where that is known.
    pub born: Option<Duration>,
    /// When it was last written to, as far as was seen, as time since 1970.
    pub written: Option<Duration>,
    /// Whether it was rotated away and read to its end.
    pub has_ended: bool,
    /// Where to go on.
    pub position: Position,
    /// The last line before that which became an event: what tells a file that was written anew.
    pub line: Option<Line>,
}

/// A line that was read, to recognise it where it was.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Line {
    /// Bytes before it.
    pub offset: u64,
    /// Bytes of it, its end not counted.
    pub bytes: usize,
    /// Its hash.
    pub hash: Identity,
}

impl Starts {
    fn of(&self, file: Identity) -> Option<&Start> {
        self.0.iter().find(|start| start.file == file)
    }

    /// The files that had this name.
    pub fn at<'a>(&'a self, path: &Path) -> impl Iterator<Item = &'a Start> + use<'a> {
        let path = std::path::absolute(path).unwrap_or_default();
        self.0.iter().filter(move |start| start.path == path)
    }
}

impl Identity {
    /// Of whatever has this name.
    pub fn of_name(name: &str) -> Self {
        Self::hash(name.as_bytes())
    }

    /// Of a file: its inode and its time of birth, so that neither a new name nor an inode that is used again matter.
    /// Where a file system does not know births, the device has to do. Also says when that was.
    pub fn of_file(metadata: &Metadata) -> (Self, Option<Duration>) {
        let born = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let birth = born.and_then(|born| u64::try_from(born.as_nanos()).ok()).unwrap_or(metadata.dev());
        (Self::hash(&[metadata.ino().to_be_bytes(), birth.to_be_bytes()].concat()), born)
    }

    /// Of bytes.
    pub fn hash(bytes: &[u8]) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&Sha256::digest(bytes)[..8]);
        Self(u64::from_be_bytes(first))
    }
}

/// When a file was last written to, as time since 1970.
pub fn written(metadata: &Metadata) -> Duration {
    metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default()
}

/// Finds what to read, and says what cannot be. A file that is followed may come into being later. The first stream
/// has this `name`, the second `name-2`.
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
        Ok(metadata) if metadata.is_file() => {
            File::open(path).with_context(unreadable)?;
            Ok(false)
        }
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound && follow => Ok(false),
        Err(error) => Err(error).with_context(unreadable),
    }
}

/// How many bytes there are to read, where that is known.
pub fn size(inputs: &[Input]) -> Option<u64> {
    let size = |input: &Input| match input {
        Input::Stream(..) => None,
        Input::File(path) => std::fs::metadata(path).ok().map(|metadata| metadata.len()),
    };
    inputs.iter().map(size).sum()
}

/// Starts the thread that reads all inputs, one after the other or, to follow them, in turns.
pub fn read(inputs: Vec<Input>, follow: bool, starts: Starts, interrupt: Interrupt) -> Pieces {
    let (sender, pieces) = mpsc::channel(2);
    let sender = Sender { pieces: sender, interrupt };
    std::thread::spawn(move || {
        let read = match follow {
            true => watch::follow(&inputs, &starts, &sender),
            false => inputs.iter().try_for_each(|input| read_once(input, &starts, &sender)),
        };
        match read {
            Ok(()) | Err(Stop::Unwanted) => {}
            // Whoever listens is told; whoever does not, need not know.
            Err(Stop::Failed(error)) => drop(sender.pieces.blocking_send(Err(error))),
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

fn read_once(input: &Input, starts: &Starts, sender: &Sender) -> Result<(), Stop> {
    match input {
        Input::Stream(path, name) if path.as_os_str() == "-" => {
            Tail::new(Origin::stream(Path::new("stdin"), name), io::stdin()).drain(sender)
        }
        Input::Stream(path, name) => {
            let pipe = File::open(path).map_err(|error| failed(path, error))?;
            Tail::new(Origin::stream(path, name), pipe).drain(sender)
        }
        Input::File(path) => watch::once(path, starts, sender),
    }
}

fn failed(path: &Path, error: io::Error) -> Stop {
    Stop::Failed(anyhow::Error::new(error).context(format!("{} cannot be read", path.display())))
}
