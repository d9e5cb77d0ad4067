//! A program of a test: run to its end, or stopped in the middle.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What a program left behind.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// The one JSON object that `--json` prints.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// The publisher, at work in `directory`.
pub fn publisher(directory: &Path, arguments: &[&str]) -> Command {
    command(env!("CARGO_BIN_EXE_publisher"), directory, arguments)
}

/// The forwarder.
pub fn forwarder(arguments: &[&str]) -> Command {
    command(env!("CARGO_BIN_EXE_forwarder"), Path::new("."), arguments)
}

/// The stress test.
pub fn stress_test(arguments: &[&str]) -> Command {
    command(env!("CARGO_BIN_EXE_stress-test"), Path::new("."), arguments)
}

fn command(program: &str, directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for variable in
        ["SEKALI_URL", "SEKALI_TOKEN", "SEKALI_TOKEN_FILE", "SEKALI_READ_TOKEN", "STATE_DIRECTORY"]
    {
        command.env_remove(variable);
    }
    command
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ended {
    wait(command.spawn().unwrap())
}

/// Runs a command to its end, with something to read.
pub fn run_with(command: &mut Command, input: &[u8]) -> Ended {
    let mut process = command.stdin(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(input).unwrap();
    wait(process)
}

/// Waits for the end of a program.
pub fn wait(process: Child) -> Ended {
    let output = process.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Sends a signal such as `INT`.
pub fn signal(process: &Child, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(process.id().to_string()).status().unwrap();
    assert!(status.success());
}

/// Waits until something is so, for as long as a slow machine may need.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
