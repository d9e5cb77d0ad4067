//! The files of deploy/, by the programs that read them.

use std::fs;
use std::process::Command;

use sekali_harness::deployment::repository;
use sekali_harness::server::tell_skipped;

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let directory = tempfile::tempdir().unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify").arg("--man=no");
    for entry in fs::read_dir(repository().join("deploy")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if ![".service", ".socket", ".timer"].iter().any(|kind| name.ends_with(kind)) {
            continue;
        }
        // It wants programs that are there.
        let unit = fs::read_to_string(&path).unwrap();
        let unit = unit.replace("/usr/local/lib/sekali/sekali-host", "/bin/true");
        fs::write(directory.path().join(name), unit).unwrap();
        verify.arg(directory.path().join(name));
    }
    let Ok(verified) = verify.output() else { return tell_skipped("here", "there is no systemd-analyze") };
    let found = String::from_utf8(verified.stderr).unwrap();
    assert!(verified.status.success() && found.is_empty(), "{found}");
}
