//! A file that grows by one line for each event. It is on disk before anything of it is committed.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::ledger::Parcel;
use crate::message::Form;
use crate::outcome::{Away, Outcome};

/// The file.
pub struct Log {
    path: PathBuf,
    form: Form,
    file: Arc<Mutex<File>>,
}

impl Log {
    /// Opens a file to append to it, or makes it.
    pub fn open(path: &Path, form: Form) -> Result<Self> {
        let open = || -> std::io::Result<File> {
            let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
            // A crash may have left half a line. Its event was not committed, and comes again.
            if file.metadata()?.len() > 0 {
                let mut last = [0];
                file.seek(SeekFrom::End(-1))?;
                file.read_exact(&mut last)?;
                if last != *b"\n" {
                    file.write_all(b"\n")?;
                }
            }
            // A new file is there after a power cut only if its directory is on disk, too.
            let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
            File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
            Ok(file)
        };
        let file = open().with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Self { path: path.into(), form, file: Arc::new(Mutex::new(file)) })
    }

    /// Appends events. What a full disk cuts off is taken back, so that the file has whole lines.
    pub async fn append(&self, parcel: &Parcel) -> Outcome {
        let mut lines = Vec::new();
        for event in &parcel.events {
            lines.extend(self.form.line(event).into_bytes());
            lines.push(b'\n');
        }
        let written = self.on_file(move |file| {
            let length = file.metadata()?.len();
            file.write_all(&lines).inspect_err(|_| drop(file.set_len(length)))
        });
        match written.await {
            Ok(()) => Outcome::Delivered,
            Err(error) => {
                Outcome::Away(Away::unreached(format!("{} cannot be written: {error}", self.path.display())))
            }
        }
    }

    /// Writes to disk what was appended. Where that fails, nobody can tell what is there.
    pub async fn sync(&self) -> Result<(), String> {
        let synced = self.on_file(|file| file.sync_data()).await;
        synced.map_err(|error| format!("{} cannot be written to disk: {error}", self.path.display()))
    }

    async fn on_file(
        &self,
        work: impl FnOnce(&mut File) -> std::io::Result<()> + Send + 'static,
    ) -> std::io::Result<()> {
        let file = Arc::clone(&self.file);
        let work = move || work(&mut file.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
    }
}
