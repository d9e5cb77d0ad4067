//! docs/FIELD.md: each test that it names is there.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::fs;
use std::path::Path;

#[test]
fn each_test_that_the_document_names_is_in_the_file_that_it_leads_to() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let document = fs::read_to_string(docs.join("FIELD.md")).unwrap();
    let mut found = 0;
    for row in document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| report")) {
        let (_, ours) = row.trim_end_matches(" |").rsplit_once(" | ").unwrap();
        let mut links = ours.split("](../").skip(1).peekable();
        assert!(links.peek().is_some(), "no test: {row}");
        for link in links {
            let (file, names) = link.split_once(')').unwrap();
            let text = fs::read_to_string(docs.join("..").join(file)).unwrap();
            let mut tests = names.split('`').skip(1).step_by(2).peekable();
            assert!(tests.peek().is_some(), "no name behind {file}: {row}");
            for test in tests {
                assert!(text.contains(&format!(" {test}(")), "{file} has no {test}");
                found += 1;
            }
        }
    }
    assert!(found > 40, "{found} tests");
}
