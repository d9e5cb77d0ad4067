//! A command for each event: the event is its standard input, its exit status is the outcome.

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use sekali_common::consumers::ClaimedEvent;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::ledger::Parcel;
use crate::message::Form;
use crate::outcome::{Away, Outcome, REASON_BYTES, reason};

/// The exit status of a command that cannot do its work now (`EX_TEMPFAIL` of sysexits.h).
const TRY_LATER: i32 = 75;

/// The time in which a command that was killed is gone.
const LAST_MOMENT: Duration = Duration::from_secs(5);

/// The time in which the end of standard error comes after the end of a command. What it left running may hold it open.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The command.
pub struct Program {
    /// The text that a shell runs.
    pub command: String,
    /// The form of its input.
    pub form: Form,
    /// The time that it may take.
    pub limit: Duration,
}

impl Program {
    /// Runs the command for an event.
    pub async fn run(&self, parcel: &Parcel) -> Outcome {
        let [event] = parcel.events.as_slice() else {
            return Outcome::Unsendable("one event at a time".into());
        };
        let child = match self.start(event) {
            Ok(child) => child,
            Err(error) => return Outcome::Away(Away::unreached(format!("no shell can be started: {error}"))),
        };
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let (mut ended, said) = match attend(child, self.form.one(event).body) {
            Ok(attended) => attended,
            Err(error) => {
                return Outcome::Away(Away::unreached(format!("no thread can be started: {error}")));
            }
        };
        match timeout(self.limit, &mut ended).await {
            Ok(Ok(Ok(status))) if status.success() => Outcome::Delivered,
            Ok(Ok(Ok(status))) => judge(status, &said.last().await),
            Ok(Ok(Err(error))) => Outcome::Away(Away::lost(format!("the command was lost: {error}"))),
            Ok(Err(_)) => Outcome::Away(Away::lost("the command was lost")),
            Err(_) => {
                if let Some(group) = group {
                    let _ = kill_process_group(group, Signal::KILL); // it may have ended just now
                }
                let _ = timeout(LAST_MOMENT, ended).await;
                Outcome::Away(Away::lost("the command did not end in time"))
            }
        }
    }

    fn start(&self, event: &ClaimedEvent) -> std::io::Result<Child> {
        Command::new("/bin/sh")
            .args(["-c", &self.command])
            .env("SEKALI_SEQ", event.seq.to_string())
            .env("SEKALI_TOPIC", &event.topic)
            .env("SEKALI_EVENT_ID", &event.event_id)
            .env("SEKALI_ATTEMPT", event.attempt.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0) // Ctrl-C is for the forwarder, which lets the command finish
            .spawn()
    }
}

/// Gives a command its input, and returns its end and what it says on standard error. Each of the three is a thread that
/// nobody waits for: what the command leaves running may hold its input or its standard error open for ever.
fn attend(
    mut child: Child,
    input: Vec<u8>,
) -> std::io::Result<(oneshot::Receiver<std::io::Result<ExitStatus>>, Said)> {
    let start = |work: Box<dyn FnOnce() + Send>| thread::Builder::new().spawn(work).map(drop);
    if let Some(mut stdin) = child.stdin.take() {
        // A command need not read its input.
        start(Box::new(move || drop(stdin.write_all(&input))))?;
    }
    let (text, (closes, closed)) = (Arc::<Mutex<Vec<u8>>>::default(), oneshot::channel());
    if let Some(stderr) = child.stderr.take() {
        let text = Arc::clone(&text);
        start(Box::new(move || {
            read(stderr, &text);
            let _ = closes.send(()); // nobody asks after a success
        }))?;
    }
    let (ends, ended) = oneshot::channel();
    start(Box::new(move || drop(ends.send(child.wait()))))?;
    Ok((ended, Said { text, closed }))
}

/// The standard error of a command.
struct Said {
    /// The end of it, so far.
    text: Arc<Mutex<Vec<u8>>>,
    closed: oneshot::Receiver<()>,
}

impl Said {
    /// The end of what was said by a command that has ended.
    async fn last(self) -> Vec<u8> {
        let _ = timeout(LAST_WORDS, self.closed).await; // what it left running says no more of it
        std::mem::take(&mut self.text.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Keeps the end of what is said, until all who could say more have ended: they would fail if nobody read it.
fn read(mut stderr: ChildStderr, text: &Mutex<Vec<u8>>) {
    let mut chunk = [0; REASON_BYTES];
    while let Ok(read @ 1..) = stderr.read(&mut chunk) {
        let mut text = text.lock().unwrap_or_else(PoisonError::into_inner);
        text.extend_from_slice(&chunk[..read]);
        let beyond = text.len().saturating_sub(REASON_BYTES);
        text.drain(..beyond);
    }
}

fn judge(status: ExitStatus, said: &[u8]) -> Outcome {
    let said = reason(said);
    let text = if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
    match status.code() {
        Some(TRY_LATER) => Outcome::Away(Away::unreached(text)),
        Some(126 | 127) => {
            Outcome::Misaddressed(format!("the command cannot be run: {text}; check what --command says"))
        }
        Some(_) => Outcome::Failed(text),
        None if status.signal().is_some() => Outcome::Away(Away::lost(text)),
        None => Outcome::Failed(text),
    }
}
