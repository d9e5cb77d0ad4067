//! A program in a process group of its own, killed on drop.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
pub use rustix::process::Signal;
use rustix::process::{
    Pid, Resource, Rlimit, getrlimit, kill_process_group, setrlimit, test_kill_process_group,
};
use tempfile::NamedTempFile;

/// Time for the last process of a killed group to go. In some containers nobody reaps orphans: then it stays a zombie.
const REAP_TIMEOUT: Duration = Duration::from_secs(2);

/// Time to serve after the start. Spin compiles components at each start.
const STARTUP: Duration = Duration::from_secs(120);

/// The pause between two looks at another process, which cannot be awaited.
pub const LOOK: Duration = Duration::from_millis(5);

/// Bytes of the log that an error quotes.
const LAST_WORDS: u64 = 4_000;

/// Lets this process open as many files and connections as the system allows.
///
/// # Errors
/// When it does not allow `needed`.
pub fn raise_limit_of_files(needed: u64) -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if maximum.is_some_and(|maximum| maximum < needed) {
        let message = format!("{needed} open files are needed: raise the hard limit (ulimit -Hn)");
        return Err(io::Error::other(message));
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// A running program. Its group is needed because a program may serve in a child of its own, as `spin up` does.
pub struct Process {
    child: Child,
    /// Standard output and standard error.
    log: NamedTempFile,
}

impl Process {
    /// Starts the command with nothing to read, and with its output in a log.
    ///
    /// # Errors
    /// When the program cannot be started or the log cannot be written.
    pub fn start(mut command: Command) -> io::Result<Self> {
        let log = NamedTempFile::new()?;
        let output = File::options().append(true).open(log.path())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()?;
        Ok(Self { child, log })
    }

    /// Tries something until it succeeds, such as to connect to the program.
    ///
    /// # Errors
    /// When the program ends before, or two minutes pass.
    pub fn wait_until<T>(&mut self, mut attempt: impl FnMut(&Self) -> Option<T>) -> Result<T> {
        let began = Instant::now();
        loop {
            if let Some(done) = attempt(self) {
                return Ok(done);
            }
            if let Some(status) = self.exit_status()? {
                bail!("it ended before it served, with {status}{}", self.last_words());
            }
            ensure!(began.elapsed() < STARTUP, "it does not serve{}", self.last_words());
            sleep(LOOK);
        }
    }

    /// Waits until the program takes connections at an address.
    ///
    /// # Errors
    /// See [`wait_until`](Self::wait_until).
    pub fn wait_until_it_listens(&mut self, address: SocketAddr) -> Result<()> {
        self.wait_until(|_| TcpStream::connect(address).ok()).map(drop)
    }

    /// The id of the program, which is that of its group, too.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, once the program has ended. Children of it may still run.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn exit_status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// True while any process of the group runs.
    pub fn is_alive(&mut self) -> bool {
        let is_running = self.child.try_wait().is_ok_and(|status| status.is_none());
        is_running || self.group().is_some_and(|group| test_kill_process_group(group).is_ok())
    }

    /// Sends a signal to the whole group.
    pub fn signal(&self, signal: Signal) {
        if let Some(group) = self.group() {
            let _ = kill_process_group(group, signal); // a group that has ended needs no signal
        }
    }

    /// Kills the group and waits until it has gone: until then its port may be taken.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        let killed = Instant::now();
        while self.is_alive() && killed.elapsed() < REAP_TIMEOUT {
            sleep(LOOK);
        }
    }

    /// Waits until the program has ended.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// All that the group has printed so far.
    pub fn log(&self) -> String {
        self.read_log(0)
    }

    /// The end of the log as a suffix for an error message; empty if nothing was printed.
    pub fn last_words(&self) -> String {
        let length = self.log.as_file().metadata().map_or(0, |metadata| metadata.len());
        let text = self.read_log(length.saturating_sub(LAST_WORDS));
        if text.trim().is_empty() { String::new() } else { format!("; it printed:\n{}", text.trim_end()) }
    }

    fn read_log(&self, from: u64) -> String {
        let mut text = Vec::new();
        // The program appends through a description of its own, so this position is ours alone.
        let read = File::open(self.log.path()).and_then(|mut file| {
            file.seek(SeekFrom::Start(from))?;
            file.read_to_end(&mut text)
        });
        match read {
            Ok(_) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => format!("(its log cannot be read: {error})"),
        }
    }

    fn group(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}
