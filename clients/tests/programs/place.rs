//! A server and a directory with logs, for the publisher.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command};

use sekali_harness::Server;
use tempfile::{TempDir, tempdir};

use crate::program::{Ended, eventually, publisher, run};

/// A server, and a directory with logs.
pub struct Place {
    pub server: Server,
    pub here: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { server: Server::start(), here: tempdir().unwrap() }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.here.path().join(name)
    }

    /// Appends to a file, which may not be there yet.
    pub fn append(&self, name: &str, text: &str) {
        let mut file = File::options().append(true).create(true).open(self.at(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    pub fn rename(&self, from: &str, to: &str) {
        fs::rename(self.at(from), self.at(to)).unwrap();
    }

    /// As copytruncate does.
    pub fn copy_and_truncate(&self, from: &str, to: &str) {
        fs::copy(self.at(from), self.at(to)).unwrap();
        File::options().write(true).open(self.at(from)).unwrap().set_len(0).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let url = self.server.url("");
        publisher(self.here.path(), &[&["--url", &url, "--topic", "log"], arguments].concat())
    }

    #[track_caller]
    pub fn ship(&self, arguments: &[&str], code: i32) -> Ended {
        let ended = run(&mut self.command(arguments));
        assert_eq!(ended.code, Some(code), "{ended:?}");
        ended
    }

    pub fn follow(&self, arguments: &[&str]) -> Child {
        self.command(&[&["--follow", "--batch-wait", "20ms"], arguments].concat()).spawn().unwrap()
    }

    pub fn stored(&self) -> Vec<String> {
        let payload = |event: &serde_json::Value| event["payload"].as_str().unwrap().to_owned();
        self.server.events().iter().map(payload).collect()
    }

    pub fn has(&self, count: usize) {
        eventually(&format!("{count} lines are stored"), || self.server.events().len() == count);
    }
}
