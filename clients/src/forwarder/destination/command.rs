//! A command for each event: the event is its standard input, its exit status is the outcome.

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use sekali_common::consumers::ClaimedEvent;
use tokio::time::timeout;

use crate::ledger::Parcel;
use crate::message::Form;
use crate::outcome::{Away, Outcome, REASON_BYTES, reason};

/// The exit status of a command that cannot do its work now (`EX_TEMPFAIL` of sysexits.h).
const TRY_LATER: i32 = 75;

/// The time in which a command that was killed is gone.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The command.
pub struct Program {
    /// The text that a shell runs.
    pub command: String,
    /// What of an event is its input.
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
        let input = self.form.one(event).body;
        let mut waiting = tokio::task::spawn_blocking(move || attend(child, &input));
        match timeout(self.limit, &mut waiting).await {
            Ok(Ok(Ok((status, said)))) => judge(status, &said),
            Ok(Ok(Err(error))) => Outcome::Away(Away::lost(format!("the command was lost: {error}"))),
            Ok(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
            Err(_) => {
                if let Some(group) = group {
                    let _ = kill_process_group(group, Signal::KILL); // it may have ended just now
                }
                let _ = timeout(LAST_WORDS, waiting).await; // another session may hold its standard error
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

/// Writes the input, and returns the exit status and the end of what the command said on standard error.
fn attend(mut child: Child, input: &[u8]) -> std::io::Result<(ExitStatus, Vec<u8>)> {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A command need not read its input.
            stdin.map(|mut stdin| stdin.write_all(input))
        });
        let mut said = Vec::new();
        let mut chunk = [0; REASON_BYTES];
        if let Some(mut stderr) = stderr {
            while let Ok(read @ 1..) = stderr.read(&mut chunk) {
                said.extend_from_slice(&chunk[..read]);
                said.drain(..said.len().saturating_sub(REASON_BYTES));
            }
        }
        Ok((child.wait()?, said))
    })
}

fn judge(status: ExitStatus, said: &[u8]) -> Outcome {
    let said = reason(said);
    let text = if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
    match status.code() {
        Some(0) => Outcome::Delivered,
        Some(TRY_LATER) => Outcome::Away(Away::unreached(text)),
        Some(126 | 127) => {
            Outcome::Misaddressed(format!("the command cannot be run: {text}; check what --command says"))
        }
        Some(_) => Outcome::Failed(text),
        None if status.signal().is_some() => Outcome::Away(Away::lost(text)),
        None => Outcome::Failed(text),
    }
}
