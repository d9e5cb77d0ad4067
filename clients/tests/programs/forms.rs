//! The publisher reads compressed files, and text in other encodings, as what they stand for.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::compress::{bzip2, gzip, zstd};
use crate::place::Place;
use crate::program::{eventually, run_with, signal, wait};

fn lines(count: usize) -> String {
    (0..count).map(|number| format!("line {number} 漢\n")).collect()
}

/// As gzip and others do: the original is gone, and its times are those of the compressed file.
fn compress(from: &Path, to: &Path, compress: fn(&[u8]) -> Vec<u8>) {
    let written = fs::metadata(from).unwrap().modified().unwrap();
    fs::write(to, compress(&fs::read(from).unwrap())).unwrap();
    File::open(to).unwrap().set_modified(written).unwrap();
    fs::remove_file(from).unwrap();
}

#[test]
fn compressed_files_are_read_as_what_they_hold() {
    let text = lines(3_000);
    for (name, compress) in
        [("a.gz", gzip as fn(&[u8]) -> Vec<u8>), ("a.zst", zstd), ("a.bz2", bzip2), ("named.log", gzip)]
    {
        let place = Place::new();
        fs::write(place.at(name), compress(text.as_bytes())).unwrap();
        place.ship(&["--checkpoint", "pos", name], 0);
        assert!(place.stored().iter().map(String::as_str).eq(text.lines()), "{name}");
        let ended = place.ship(&[name], 0);
        assert!(ended.stdout.contains("0 stored, 3,000 duplicates"), "{name}: {}", ended.stdout);
        let ended = place.ship(&["--checkpoint", "pos", name], 0);
        assert!(ended.stdout.contains("0 events sent"), "{name}: {}", ended.stdout);
        // Through a pipe, too.
        let ended = run_with(&mut place.command(&["--json"]), &compress(text.as_bytes()));
        assert_eq!(ended.json()["stored"], 3_000, "{name}");
    }
}

#[test]
fn a_compressed_file_that_is_cut_off_or_of_another_form_is_no_success() {
    let place = Place::new();
    let whole = gzip(lines(3_000).as_bytes());
    fs::write(place.at("cut.gz"), &whole[..whole.len() - 9]).unwrap();
    let ended = place.ship(&["cut.gz"], 1);
    assert!(ended.stderr.contains("cut.gz cannot be read"), "{}", ended.stderr);
    fs::write(place.at("a.xz"), b"\xfd7zXZ\0\0\x04").unwrap();
    let ended = place.ship(&["a.xz"], 1);
    assert!(
        ended.stderr.contains("compressed by xz, which is not read: pipe it through xz -dc"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_rotated_file_that_was_compressed_meanwhile_is_read_on() {
    let place = Place::new();
    let ship = |code| place.ship(&["--checkpoint", "pos", "app.log"], code);
    let append = |text: &str| {
        let mut file = File::options().append(true).create(true).open(place.at("app.log")).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(20)); // clocks of file systems are coarse
    };
    append("one\n");
    ship(0);
    // One that was known, and one between that was not.
    append("two\n");
    compress(&place.at("app.log"), &place.at("app.log.2.gz"), gzip);
    append("three\n");
    compress(&place.at("app.log"), &place.at("app.log.1.zst"), zstd);
    append("four\n");
    ship(0);
    assert_eq!(place.stored(), ["one", "two", "three", "four"]);
    // What was read to its end is compressed, and nothing of it is new.
    fs::rename(place.at("app.log.2.gz"), place.at("app.log.4.gz")).unwrap();
    fs::rename(place.at("app.log.1.zst"), place.at("app.log.3.zst")).unwrap();
    fs::rename(place.at("app.log"), place.at("app.log.2")).unwrap();
    append("five\n");
    ship(0);
    compress(&place.at("app.log.2"), &place.at("app.log.2.bz2"), bzip2);
    fs::rename(place.at("app.log"), place.at("app.log.1")).unwrap();
    append("six\n");
    ship(0);
    // Once more, under a name that sorts before the others.
    append("seven\n");
    compress(&place.at("app.log"), &place.at("app.log.0.gz"), gzip);
    append("eight\n");
    ship(0);
    assert_eq!(place.stored(), ["one", "two", "three", "four", "five", "six", "seven", "eight"]);
    assert_eq!(place.server.stats()["duplicate_dropped"], 0);
    // One that cannot be read is named.
    append("nine\n");
    compress(&place.at("app.log"), &place.at("app.log.0.xz"), |_| b"\xfd7zXZ\0\0\x04".to_vec());
    append("ten\n");
    let ended = ship(3);
    assert!(ended.stderr.contains("was rotated away and is gone"), "{}", ended.stderr);
}

#[test]
fn what_copytruncate_left_and_was_compressed_is_read_on() {
    let place = Place::new();
    let process = {
        fs::write(place.at("app.log"), "one\n").unwrap();
        place.ship(&["--checkpoint", "pos", "app.log"], 0);
        File::options().append(true).open(place.at("app.log")).unwrap().write_all(b"two\n").unwrap();
        fs::write(place.at("app-1.log.gz"), gzip(&fs::read(place.at("app.log")).unwrap())).unwrap();
        fs::write(place.at("app.log"), "three\n").unwrap();
        place
            .command(&["--follow", "--batch-wait", "20ms", "--checkpoint", "pos", "app.log"])
            .spawn()
            .unwrap()
    };
    eventually("all is stored", || place.stored().len() == 3);
    signal(&process, "INT");
    assert_eq!(wait(process).code, Some(130));
    assert_eq!(place.stored(), ["one", "two", "three"]);
}

#[test]
fn utf_16_is_known_by_its_mark_also_while_it_grows() {
    let place = Place::new();
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let path = place.at("app.log");
    let append = |bytes: &[u8]| {
        File::options().append(true).create(true).open(&path).unwrap().write_all(bytes).unwrap();
    };
    append(&[]);
    let follow = ["--follow", "--batch-wait", "20ms", "--checkpoint", "pos", "app.log"];
    let process = place.command(&follow).spawn().unwrap();
    append(&utf16("\u{feff}größe 漢\nsecond\nthi"));
    eventually("two lines", || place.stored().len() == 2);
    append(&utf16("rd\n"));
    eventually("three lines", || place.stored().len() == 3);
    signal(&process, "INT");
    wait(process);
    append(&utf16("fourth\n"));
    place.ship(&["--checkpoint", "pos", "app.log"], 0);
    assert_eq!(place.stored(), ["größe 漢", "second", "third", "fourth"]);
    assert_eq!(place.server.stats()["duplicate_dropped"], 0);
}

#[test]
fn bytes_that_are_no_text_are_counted_and_said() {
    let place = Place::new();
    fs::write(place.at("latin1"), b"caf\xe9\nbl\xf6d\n").unwrap();
    let ended = place.ship(&["latin1"], 0);
    assert!(ended.stdout.contains("2 bytes stored as U+FFFD"), "{}", ended.stdout);
    let ended = place.ship(&["--encoding", "latin1", "--json", "latin1"], 0);
    assert_eq!((&ended.json()["malformed_bytes"], &ended.json()["stored"]), (&json!(0), &json!(2)));
    assert_eq!(place.stored()[2..], ["café", "blöd"]);
    fs::write(place.at("broken"), b"\xff\xfea\0\x00\xd8b\0\n\0").unwrap();
    assert_eq!(place.ship(&["--json", "broken"], 0).json()["malformed_bytes"], 2);
    let ended = place.ship(&["--encoding", "klingon", "latin1"], 2);
    assert!(ended.stderr.contains("no such encoding"), "{}", ended.stderr);
}
