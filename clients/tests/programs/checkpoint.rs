//! A checkpoint belongs to one store, and each file in it stands for itself.

use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;

use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::double::Double;
use crate::program::{Ended, publisher, run};

struct Place {
    double: Double,
    here: TempDir,
}

impl Place {
    /// Two files that were sent.
    fn new(store_id: Option<&str>) -> Self {
        let place = Self { double: Double::start(store_id), here: tempdir().unwrap() };
        for (name, text) in [("quiet.log", "old\n"), ("busy.log", "one\n")] {
            fs::write(place.here.path().join(name), text).unwrap();
        }
        let ended = place.ship();
        assert!(!ended.stdout.contains("acknowledged before"), "{ended:?}");
        assert_eq!(place.double.payloads(), ["old", "one"]);
        place
    }

    #[track_caller]
    fn ship(&self) -> Ended {
        let arguments = ["--url", &self.double.url, "--topic", "log", "--no-gzip", "--checkpoint", "pos"];
        let ended =
            run(&mut publisher(self.here.path(), &[&arguments[..], &["quiet.log", "busy.log"]].concat()));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    }

    fn grow(&self, line: &str) {
        let mut file = File::options().append(true).open(self.here.path().join("busy.log")).unwrap();
        writeln!(file, "{line}").unwrap();
    }

    /// As if everything had been acknowledged long ago.
    fn age(&self) {
        let path = self.here.path().join("pos");
        let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for file in state["files"].as_array_mut().unwrap() {
            let then = file["acknowledged"]["secs"].as_u64().unwrap() - Duration::from_secs(86_400).as_secs();
            file["acknowledged"]["secs"] = then.into();
        }
        fs::write(path, state.to_string()).unwrap();
    }
}

#[test]
fn a_forgotten_event_of_a_quiet_file_resets_nothing() {
    let place = Place::new(Some("a store"));
    place.age();
    place.double.lose("old", true);
    place.grow("two");
    let ended = place.ship();
    assert_eq!(place.double.payloads(), ["old", "one", "two"], "{ended:?}");
}

#[test]
fn an_event_that_a_store_has_lost_resets_its_file_alone() {
    for store_id in [Some("a store"), None] {
        let place = Place::new(store_id);
        place.double.lose("old", false);
        place.grow("two");
        let ended = place.ship();
        assert_eq!(place.double.payloads(), ["old", "one", "old", "two"]);
        let sentence = "quiet.log: starting from its beginning";
        assert!(ended.stderr.contains(sentence) && !ended.stderr.contains("busy.log"), "{ended:?}");
        assert!(ended.stdout.contains("0 duplicates"), "{ended:?}");
    }
    // Also a fresh one, where older ones were forgotten.
    let place = Place::new(Some("a store"));
    place.double.lose("old", true);
    place.ship();
    assert_eq!(place.double.payloads(), ["old", "one", "old"]);
}

#[test]
fn another_store_gets_everything() {
    let place = Place::new(Some("a store"));
    place.double.become_another("another store");
    let ended = place.ship();
    assert!(
        ended.stderr.contains("another store than the checkpoint: starting from the beginning"),
        "{ended:?}"
    );
    assert!(ended.stdout.contains("2 events sent"), "{ended:?}");
    // From then on it is the checkpoint's.
    let ended = place.ship();
    assert!(ended.stderr.is_empty() && ended.stdout.contains("0 events sent"), "{ended:?}");
}

#[test]
fn a_store_that_tells_no_identity_yet_is_taken_for_the_same_when_it_does() {
    let place = Place::new(None);
    place.double.become_another("a store");
    let ended = place.ship();
    assert!(ended.stderr.is_empty() && ended.stdout.contains("0 events sent"), "{ended:?}");
    place.double.become_another("another store");
    assert!(place.ship().stdout.contains("2 events sent"));
}
