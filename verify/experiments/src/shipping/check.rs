//! The comparison of what was written with what is stored. A violation comes with the history of its log, because a defect
//! is found by what happened to the file of a line, and when.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use super::line::Line;
use super::log::Account;
use super::store::{Event, Stored};

/// Violations of a kind that are told; others are only counted.
const EXAMPLES: usize = 5;

/// The time before and after a line was written of which the history is told.
const BEFORE: Duration = Duration::from_secs(4);
const AFTER: Duration = Duration::from_secs(8);

/// Messages of a publisher that claim a loss.
const CLAIMS: [&str; 3] = ["gone", "not sent", "missing"];

/// What is known in the end.
pub struct Evidence<'a> {
    /// What was written.
    pub accounts: Vec<Account>,
    /// What is stored.
    pub stored: &'a Stored,
    /// What publishers said, and when each ended.
    pub said: Vec<(Duration, String)>,
    /// When a publisher was killed.
    pub kills: Vec<Duration>,
}

/// The result.
#[derive(Default)]
pub struct Checked {
    /// The lines that are not stored.
    pub lost: u64,
    /// The events that are another's line again.
    pub doubled: u64,
    /// The events that are no line.
    pub foreign: u64,
    /// The warnings of losses that nobody can know not to be there.
    pub warnings: u64,
    /// What is wrong.
    pub violations: Vec<String>,
}

/// True if every line is stored.
pub fn is_whole(accounts: &[Account], stored: &Stored) -> bool {
    accounts.iter().all(|account| expected(account).all(|(line, count)| count_of(stored, line) >= count))
        && count_of(stored, Line::Header) >= headers(accounts)
}

/// Compares.
pub fn check(evidence: &Evidence) -> Checked {
    let mut checked = Checked::default();
    let mut losers = BTreeSet::new();
    check_lines(evidence, &mut checked, &mut losers);
    check_headers(evidence, &mut checked);
    let Stored { foreign, .. } = evidence.stored;
    checked.foreign = foreign.len() as u64;
    for (text, event) in foreign.iter().take(EXAMPLES) {
        let begin: String = text.chars().take(80).collect();
        checked.violations.push(format!("an event is no line: {begin:?} of {} bytes: {event}", text.len()));
    }
    count(&mut checked.violations, checked.foreign, "events are no lines");
    check_warnings(evidence, &mut checked, &losers);
    checked
}

/// The lines that a writer wrote, and how often.
fn expected(account: &Account) -> impl Iterator<Item = (Line, u64)> {
    let numbered = (0..account.lines.len()).map(|number| (Line::Numbered(account.writer, number), 1));
    numbered.chain([(Line::Again(account.writer), account.again)])
}

fn headers(accounts: &[Account]) -> u64 {
    accounts.iter().map(|account| account.headers.len() as u64).sum()
}

fn of(stored: &Stored, line: Line) -> &[Event] {
    stored.lines.get(&line).map_or(&[], Vec::as_slice)
}

fn count_of(stored: &Stored, line: Line) -> u64 {
    of(stored, line).len() as u64
}

/// Compares the lines that belong to one writer.
fn check_lines(evidence: &Evidence, checked: &mut Checked, losers: &mut BTreeSet<usize>) {
    // Lines of one file are lost or doubled together, and files of one log for the same reason.
    let (mut lost, mut doubled) = (BTreeMap::new(), BTreeMap::new());
    for account in &evidence.accounts {
        for (line, count) in expected(account) {
            let stored = count_of(evidence.stored, line);
            let place = match line {
                Line::Numbered(_, number) => account.lines[number].1,
                // Told only if nothing else of the writer is, because it has no place.
                Line::Again(_) | Line::Header => u64::MAX,
            };
            if stored < count {
                checked.lost += count - stored;
                losers.insert(account.writer);
                lost.entry((account.writer, place)).or_insert_with(Vec::new).push(line);
            }
            if stored > count {
                checked.doubled += stored - count;
                doubled.entry((account.writer, place)).or_insert_with(Vec::new).push(line);
            }
        }
    }
    let written: HashSet<_> = evidence.accounts.iter().flat_map(expected).map(|(line, _)| line).collect();
    for (line, events) in &evidence.stored.lines {
        if *line != Line::Header && !written.contains(line) {
            checked.violations.push(format!("{line:?} is stored and was never written: {}", events[0]));
        }
    }
    let mut tell = |what: &str, lines: BTreeMap<(usize, u64), Vec<Line>>| {
        let mut told_of = BTreeSet::new();
        let examples = lines.iter().filter(|((writer, _), _)| told_of.insert(*writer));
        for (place, lines) in examples.take(EXAMPLES) {
            checked.violations.push(told(evidence, *place, lines, what));
        }
    };
    let files = lost.len();
    tell("lost", lost);
    let doubles = doubled.len();
    tell("doubled", doubled);
    count(&mut checked.violations, checked.lost, &format!("lines are lost, of {files} files"));
    count(&mut checked.violations, checked.doubled, &format!("events are doubles, of {doubles} files"));
}

/// Compares the headers, which all have in common. That of a file has the identity of the line behind it in its event_id.
fn check_headers(evidence: &Evidence, checked: &mut Checked) {
    let (written, stored) = (headers(&evidence.accounts), count_of(evidence.stored, Line::Header));
    checked.lost += written.saturating_sub(stored);
    checked.doubled += stored.saturating_sub(written);
    if stored == written {
        return;
    }
    let identity = |event: &Event| event.id.split('-').next().unwrap_or_default().to_owned();
    let known: HashSet<_> = of(evidence.stored, Line::Header).iter().map(identity).collect();
    let mut firsts: BTreeMap<String, Vec<(&Account, usize)>> = BTreeMap::new();
    let mut examples = Vec::new();
    for account in &evidence.accounts {
        for number in &account.headers {
            let events = of(evidence.stored, Line::Numbered(account.writer, *number));
            if !events.iter().map(identity).any(|first| known.contains(&first)) && examples.len() < EXAMPLES {
                let line = Line::Numbered(account.writer, *number);
                let place = (account.writer, account.lines[*number].1);
                examples.push(told(evidence, place, &[line], "there without the header before it"));
            }
            for event in events {
                firsts.entry(identity(event)).or_default().push((account, *number));
            }
        }
    }
    let shared = firsts.iter().filter(|(_, files)| files.len() > 1);
    for (identity, files) in shared.take(EXAMPLES) {
        let mut text = format!("the headers of {} files share the identity {identity}:", files.len());
        for (account, number) in files.iter().take(2) {
            let place = (account.writer, account.lines[*number].1);
            let line = Line::Numbered(account.writer, *number);
            text.push_str(&format!(" {}", told(evidence, place, &[line], "the line behind it")));
        }
        examples.push(text);
    }
    let alone =
        of(evidence.stored, Line::Header).iter().filter(|event| !firsts.contains_key(&identity(event)));
    examples.extend(
        alone.take(EXAMPLES).map(|event| format!("a header is there without the line behind it: {event}")),
    );
    checked.violations.push(format!("{written} headers were written, and {stored} are stored"));
    checked.violations.extend(examples);
}

/// Some lines of a file of a log, with what happened around it.
fn told(evidence: &Evidence, (writer, file): (usize, u64), lines: &[Line], what: &str) -> String {
    let Some(account) = evidence.accounts.iter().find(|account| account.writer == writer) else {
        return String::new();
    };
    let numbers: Vec<_> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Numbered(_, number) => Some(*number),
            Line::Again(_) | Line::Header => None,
        })
        .collect();
    let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else {
        let (written, stored) = (account.again, count_of(evidence.stored, Line::Again(writer)));
        return format!(
            "writer {writer} wrote its line without a number {written} times, and {stored} are stored"
        );
    };
    let (begin, end) = (account.lines[*first].0, account.lines[*last].0);
    let is_near = |time: &Duration| *time + BEFORE >= begin && *time <= end + AFTER;
    let of_file: Vec<_> = account.lines.iter().enumerate().filter(|(_, (_, of))| *of == file).collect();
    let whole = of_file.first().zip(of_file.last()).map(|((first, _), (last, _))| (*first, *last));
    let (from, to) = whole.unwrap_or_default();
    let mut text = format!(
        "{what}: {} lines, {first} to {last}, of writer {writer}, written {:.2} to {:.2} s into file {file} of the log, \
         which has the lines {from} to {to}{}",
        numbers.len(),
        begin.as_secs_f64(),
        end.as_secs_f64(),
        if account.headers.contains(&from) { " behind the header" } else { "" },
    );
    for number in [*first, *last] {
        for event in of(evidence.stored, Line::Numbered(writer, number)) {
            text.push_str(&format!("\n    line {number}: {event}"));
        }
    }
    let mut around: Vec<_> = account
        .history
        .iter()
        .filter(|(time, _)| is_near(time))
        .map(|(time, what)| (*time, what.clone()))
        .collect();
    around.extend(
        evidence
            .kills
            .iter()
            .filter(|time| is_near(time))
            .map(|time| (*time, "a publisher was killed".into())),
    );
    let of_log = |said: &&(Duration, String)| {
        is_near(&said.0) && names(&said.1).any(|name| account.names.contains(name))
    };
    around.extend(
        evidence.said.iter().filter(of_log).map(|(time, said)| (*time, format!("it had said: {said}"))),
    );
    around.sort();
    for (time, what) in around {
        text.push_str(&format!("\n    {:8.3} s: {what}", time.as_secs_f64()));
    }
    text
}

/// A publisher that says that lines are lost, of a log that lost none, alarms without need. A log that was truncated, or a file
/// that was deleted, after all of it was stored is another matter: who reads it cannot know that nothing was written before.
fn check_warnings(evidence: &Evidence, checked: &mut Checked, losers: &BTreeSet<usize>) {
    let owners: BTreeMap<_, _> = evidence
        .accounts
        .iter()
        .flat_map(|account| account.names.iter().map(move |name| (name.as_str(), account)))
        .collect();
    let mut false_alarms = Vec::new();
    for (time, said) in &evidence.said {
        if !CLAIMS.iter().any(|claim| said.contains(claim)) {
            continue;
        }
        match names(said).find_map(|name| owners.get(name)) {
            Some(account) if losers.contains(&account.writer) => {}
            Some(account)
                if account.is_emptied && said.contains("truncated")
                    || account.has_deleted && said.contains("gone") =>
            {
                checked.warnings += 1;
            }
            _ => false_alarms.push(format!("{:.3} s: a false alarm: {said}", time.as_secs_f64())),
        }
    }
    let number = false_alarms.len() as u64;
    checked.violations.extend(false_alarms.into_iter().take(EXAMPLES));
    count(&mut checked.violations, number, "warnings tell of losses that are none");
}

/// The words of a message that may be names of files.
fn names(said: &str) -> impl Iterator<Item = &str> {
    said.split_whitespace()
        .map(|word| word.trim_matches(|letter| matches!(letter, ',' | ':' | ';' | '\'' | '"')))
}

fn count(violations: &mut Vec<String>, number: u64, what: &str) {
    if number > 0 {
        violations.push(format!("{number} {what}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log with the header and three lines in its first file, of which the second is repeated, and one in another.
    fn account() -> Account {
        let at = Duration::from_secs(1);
        Account {
            writer: 7,
            lines: vec![(at, 1), (at, 1), (at, 2)],
            again: 2,
            headers: vec![0],
            history: vec![(at, "logs/app.log was renamed to logs/app.log.1".into())],
            names: ["logs/app.log", "logs/app.log.1"].map(str::to_owned).into(),
            ..Account::default()
        }
    }

    const ALL: [Line; 6] = [
        Line::Header,
        Line::Numbered(7, 0),
        Line::Again(7),
        Line::Again(7),
        Line::Numbered(7, 1),
        Line::Numbered(7, 2),
    ];

    fn checked(stored: impl IntoIterator<Item = Line>, said: &str) -> Checked {
        let (mut all, accounts) = (Stored::default(), vec![account()]);
        for (seq, line) in (1..).zip(stored) {
            let event = Event { seq, id: "file-offset-hash".into(), source: "app.log".into() };
            all.lines.entry(line).or_default().push(event);
        }
        let said = vec![(Duration::from_secs(2), said.to_owned())];
        check(&Evidence { accounts, stored: &all, said, kills: vec![Duration::from_secs(2)] })
    }

    #[test]
    fn every_line_once_is_what_has_to_be() {
        assert_eq!(checked(ALL, "all is well").violations, Vec::<String>::new());
    }

    #[test]
    fn what_is_lost_or_doubled_is_told_with_the_history_of_its_file() {
        for line in ALL {
            let mut without = ALL.to_vec();
            without.remove(ALL.iter().position(|other| *other == line).unwrap());
            let lost = checked(without, "");
            assert_eq!((lost.lost, lost.doubled), (1, 0), "{line:?}");
            assert!(
                lost.violations.iter().any(|told| told.contains("writer 7")),
                "{line:?}: {:?}",
                lost.violations
            );
            let doubled = checked(ALL.into_iter().chain([line]), "");
            assert_eq!((doubled.lost, doubled.doubled), (0, 1), "{line:?}");
        }
        let told = checked(ALL[..5].iter().copied(), "").violations.join("\n");
        assert!(told.contains("1 lines, 2 to 2, of writer 7"), "{told}");
        assert!(told.contains("logs/app.log was renamed to logs/app.log.1"), "{told}");
        assert!(told.contains("a publisher was killed"), "{told}");
    }

    #[test]
    fn a_line_that_nobody_wrote_is_told() {
        let told = checked(ALL.into_iter().chain([Line::Numbered(7, 3)]), "").violations.join("\n");
        assert!(told.contains("never written"), "{told}");
    }

    #[test]
    fn a_loss_that_is_none_is_a_false_alarm_and_one_that_is_told_is_not() {
        let gone =
            "warning: logs/app.log.1, which was sent up to line 2, is gone: its later lines were not sent";
        assert!(checked(ALL, gone).violations.join("\n").contains("a false alarm"));
        assert!(!checked(ALL[..5].iter().copied(), gone).violations.join("\n").contains("a false alarm"));
    }
}
