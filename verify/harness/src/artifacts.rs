//! Refuses artifacts that are older than their sources: a test that passes on yesterday's component proves nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};

/// Checks that no component of the manifest is older than its sources.
///
/// # Errors
/// Names the first source that is newer, or the component that is not built, and the remedy.
pub fn check_components(manifest: &Path) -> Result<()> {
    let text = fs::read_to_string(manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let directory = manifest.parent().unwrap_or(Path::new(""));
    let sources = text.lines().filter_map(|line| line.trim().strip_prefix("source = \"")?.strip_suffix('"'));
    for source in sources {
        check(&directory.join(source))?;
    }
    Ok(())
}

/// Checks that an artifact of cargo is not older than the sources that cargo noted for it.
///
/// # Errors
/// See [`check_components`].
pub fn check(artifact: &Path) -> Result<()> {
    let built = modified(artifact)
        .with_context(|| format!("{} is not built: run scripts/build", artifact.display()))?;
    // Beside x or x.wasm, x.d lists the sources of the last build (cargo book, "Build cache").
    let notes = artifact.with_extension("d");
    let text = fs::read_to_string(&notes).with_context(|| format!("cannot read {}", notes.display()))?;
    for source in dependencies(&text) {
        // A source that was moved away is listed under its new path by whatever includes it.
        let is_newer = modified(&source).is_ok_and(|changed| changed > built);
        ensure!(!is_newer, "{} is older than {}: run scripts/build", artifact.display(), source.display());
    }
    Ok(())
}

fn modified(path: &Path) -> Result<SystemTime> {
    Ok(fs::metadata(path)?.modified()?)
}

/// The sources in a dep-info file: `target: source source`, with spaces in names escaped.
fn dependencies(text: &str) -> Vec<PathBuf> {
    let lines = text.lines().filter_map(|line| line.split_once(": "));
    let names = lines.flat_map(|(_, sources)| {
        let marked = sources.replace("\\ ", "\0");
        marked.split_whitespace().map(|name| name.replace('\0', " ")).collect::<Vec<_>>()
    });
    names.map(PathBuf::from).collect()
}

/// A program of this repository that was built beside this one.
///
/// # Errors
/// When it is not built.
pub fn program(name: &str) -> Result<PathBuf> {
    // Programs are in target/release, tests in target/release/deps.
    let this = std::env::current_exe()?;
    let mut places = this.ancestors().skip(1).take(2).map(|directory| directory.join(name));
    places.find(|program| program.exists()).with_context(|| format!("{name} is not built: run scripts/build"))
}

/// The directory of this repository.
pub fn repository() -> &'static Path {
    let harness = Path::new(env!("CARGO_MANIFEST_DIR"));
    harness.ancestors().nth(2).unwrap_or(harness)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_that_is_older_than_one_of_its_sources_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let [artifact, source] = ["x.wasm", "a source.rs"].map(|name| directory.path().join(name));
        let noted = source.display().to_string().replace(' ', "\\ ");
        fs::write(directory.path().join("x.d"), format!("{}: {noted}\n", artifact.display())).unwrap();
        assert!(check(&artifact).unwrap_err().to_string().contains("is not built: run scripts/build"));
        let write = |path: &Path, at: u64| {
            let file = fs::File::create(path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(at)).unwrap();
        };
        write(&source, 1);
        write(&artifact, 2);
        check(&artifact).unwrap();
        write(&source, 3);
        assert!(check(&artifact).unwrap_err().to_string().contains("a source.rs: run scripts/build"));
    }
}
