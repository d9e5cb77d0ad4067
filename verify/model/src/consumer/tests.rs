//! Each rule, broken by calls that a consumer must not answer so.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Calls one behind the other, a second each, unless they are told otherwise.
struct Script {
    calls: Vec<Call>,
    place: u64,
}

fn topics_of(letters: &str) -> BTreeMap<u64, String> {
    (1..).zip(letters.chars().map(String::from)).collect()
}

fn specification(order: Order, workers: u32) -> Specification {
    Specification { topics: vec![], order, workers, attempts: 2, dead: "dead.c".into() }
}

fn stands(position: u64, settled: u64) -> Told {
    Told::Stands { position, settled, left: None }
}

fn failed(seq: u64) -> Failed {
    Failed { seq, retry_in: None, dead: false }
}

impl Script {
    fn of(order: Order, workers: u32) -> Self {
        let mut script = Self { calls: Vec::new(), place: 0 };
        script.call(Ask::Make(specification(order, workers), Place::Start), stands(0, 0));
        script
    }

    fn call(&mut self, ask: Ask, told: Told) -> &mut Self {
        let moment = |place: u64| Moment { place, clock: place as i64 * 500 };
        let (began, ended) = (moment(self.place + 1), moment(self.place + 2));
        self.place += 2;
        self.calls.push(Call { began, ended, ask, told });
        self
    }

    /// Lets a minute pass.
    fn pause(&mut self) -> &mut Self {
        self.place += 120;
        self
    }

    fn claim(&mut self, holder: &str, token: &str, seqs: &[u64]) -> &mut Self {
        let ask = Ask::Claim { holder: holder.into(), limit: 10, lease: 30, wait: 0 };
        let (first, last) = (seqs[0], seqs[seqs.len() - 1]);
        let expires_at = (self.place as i64 + 1) * 500 + 30_000;
        let given = Given {
            token: token.into(),
            is_retry: false,
            from: first - 1,
            to: last,
            expires_at,
            seqs: seqs.to_vec(),
        };
        self.call(ask, Told::Given(given))
    }

    fn commit(&mut self, token: &str, upto: u64, fails: &[u64], told: Told) -> &mut Self {
        let failed = fails.iter().map(|seq| failed(*seq)).collect();
        self.call(Ask::Commit { token: token.into(), upto: Some(upto), failed, release: false }, told)
    }

    /// The rules that are broken over events of these topics, a letter each.
    fn broken(&self, topics: &str, dead: &[Dead]) -> Vec<String> {
        self.broken_over(&Log { topics: topics_of(topics), dead: dead.to_vec(), ..Log::default() })
    }

    fn broken_over(&self, log: &Log) -> Vec<String> {
        let rules = check(&self.calls, log);
        rules.rules().iter().flat_map(|(rule, wrong)| wrong.tell(rule)).collect()
    }

    fn keeps_all(&self, topics: &str, dead: &[Dead]) {
        assert_eq!(self.broken(topics, dead), Vec::<String>::new());
    }

    fn breaks(&self, topics: &str, rule: &str) {
        let broken = self.broken(topics, &[]);
        assert!(broken.iter().any(|broken| broken.starts_with(rule)), "{rule}: {broken:?}");
    }
}

#[test]
fn what_is_promised_is_in_order() {
    let mut script = Script::of(Order::Topic, 1);
    script.claim("w", "1", &[1, 2, 3]).commit("1", 2, &[1], stands(2, 0));
    script.pause().claim("v", "2", &[3]).commit("2", 3, &[], stands(3, 0)).commit("2", 3, &[], stands(3, 0));
    script.claim("w", "3", &[1, 4]).commit("3", 4, &[1], stands(4, 4));
    script.keeps_all("abca", &[Dead { generation: 7, seq: 1 }]);
    script.call(Ask::Seek(Place::Seq(3)), stands(3, 3)).claim("w", "4", &[4]).commit(
        "4",
        4,
        &[],
        stands(4, 4),
    );
    script.keeps_all("abca", &[Dead { generation: 7, seq: 1 }]);
}

#[test]
fn a_lost_answer_leaves_what_it_may_have_done_in_doubt() {
    let mut script = Script::of(Order::Topic, 1);
    script.claim("w", "1", &[1, 2]).commit("1", 2, &[], Told::Nothing);
    for taken in [false, true] {
        let Script { calls, place } = &script;
        let mut script = Script { calls: calls.clone(), place: *place };
        if !taken {
            script.pause().claim("v", "2", &[1, 2]).commit("2", 2, &[], stands(2, 2));
        }
        script.claim("v", "3", &[3]).commit("3", 3, &[], stands(3, 3));
        script.keeps_all("aaa", &[]);
    }
    script.call(Ask::Seek(Place::Start), Told::Nothing).call(Ask::Seek(Place::Start), stands(0, 0));
    script.breaks("aa", "each event is done in the end: 1");
}

#[test]
fn each_broken_promise_is_found() {
    let script = || Script::of(Order::Topic, 1);
    script()
        .claim("w", "1", &[1])
        .commit("1", 1, &[], stands(1, 1))
        .breaks("aa", "each event is done in the end: 2");
    script()
        .claim("w", "1", &[1])
        .commit("1", 1, &[], stands(1, 1))
        .claim("w", "2", &[1])
        .breaks("a", "what was done does not come again: 1 was done");
    script()
        .claim("w", "1", &[1, 2])
        .claim("v", "2", &[1, 2])
        .breaks("aa", "no event is given to two at once");
    script().claim("w", "1", &[1]).claim("v", "1", &[1]).breaks("a", "no event is given to two at once");
    Script::of(Order::None, 1)
        .claim("w", "1", &[1])
        .claim("v", "2", &[2])
        .breaks("aa", "no event is given to two at once");
    script()
        .claim("w", "1", &[1])
        .commit("1", 1, &[1], stands(1, 0))
        .claim("w", "2", &[2])
        .breaks("aa", "no event passes one that it has to wait for: 2 is given out as 2, and 1 is open");
    Script::of(Order::Total, 1)
        .claim("w", "1", &[1])
        .commit("1", 1, &[1], stands(1, 0))
        .claim("w", "2", &[2])
        .breaks("ab", "no event passes one that it has to wait for");
    script()
        .claim("w", "1", &[1, 2])
        .pause()
        .claim("v", "2", &[2])
        .breaks("ab", "a claim that ran out comes again");
    script()
        .claim("w", "1", &[1, 2])
        .pause()
        .claim("v", "2", &[3])
        .breaks("abc", "a claim that ran out comes again");
    script()
        .claim("w", "1", &[1])
        .pause()
        .commit("1", 1, &[], stands(1, 1))
        .breaks("a", "a claim that was lost is not committed");
    script().call(Ask::Look, stands(1, 0)).breaks("a", "the place goes forward, and passes over nothing");
    script()
        .claim("w", "1", &[1])
        .commit("1", 1, &[1], stands(1, 1))
        .breaks("a", "the place goes forward, and passes over nothing");
    script()
        .claim("w", "1", &[1])
        .commit("1", 1, &[], stands(1, 1))
        .call(Ask::Look, stands(0, 0))
        .breaks("a", "the place goes forward, and passes over nothing");
    let dead = [Dead { generation: 7, seq: 1 }, Dead { generation: 8, seq: 1 }];
    let mut died = script();
    died.claim("w", "1", &[1]).commit("1", 1, &[1], stands(1, 0)).claim("w", "2", &[1]);
    died.keeps_nothing_dead_but_once(&dead);
}

impl Script {
    /// Its event dies of the second failure, and not of the first.
    fn keeps_nothing_dead_but_once(&mut self, dead: &[Dead; 2]) {
        let rule = "each event that dies is stored as dead once: 1";
        assert!(self.broken("a", &dead[..1]).iter().any(|broken| broken.starts_with(rule)));
        self.commit("2", 1, &[1], stands(1, 1)).keeps_all("a", &dead[..1]);
        assert!(self.broken("a", dead).iter().any(|broken| broken.starts_with(rule)));
        let ask = Ask::Commit {
            token: "3".into(),
            upto: Some(2),
            failed: vec![Failed { dead: true, ..failed(2) }],
            release: false,
        };
        self.claim("w", "3", &[2]).call(ask, stands(2, 2));
        self.keeps_all("ab", &[dead[0], Dead { generation: 7, seq: 2 }]);
        assert!(
            self.broken("ab", &dead[..1]).iter().any(|broken| broken.ends_with("2 died, and is not stored"))
        );
    }
}

#[test]
fn what_is_gone_has_to_come_to_nobody_and_others_may_wait_for_it() {
    let mut script = Script::of(Order::Topic, 1);
    script.claim("w", "1", &[1, 2]).commit("1", 2, &[1], stands(2, 0));
    script.claim("w", "2", &[4]).commit("2", 4, &[], stands(4, 0)); // 3 waits for 1
    script.claim("w", "3", &[3]).commit("3", 3, &[], stands(4, 4));
    let mut log = Log { topics: topics_of("abab"), gone: BTreeSet::from([1]), ..Log::default() };
    assert_eq!(script.broken_over(&log), Vec::<String>::new());
    log.gone.clear();
    assert!(
        script.broken_over(&log).iter().any(|broken| broken.starts_with("each event is done in the end: 1"))
    );
}

#[test]
fn what_tells_of_a_dead_event_may_be_gone() {
    let mut script = Script::of(Order::Topic, 1);
    let ask = Ask::Commit {
        token: "1".into(),
        upto: Some(1),
        failed: vec![Failed { dead: true, ..failed(1) }],
        release: false,
    };
    script.claim("w", "1", &[1]).call(ask, stands(1, 1));
    let log = Log { topics: topics_of("a"), dead_gone: 1, ..Log::default() };
    assert_eq!(script.broken_over(&log), Vec::<String>::new());
    script.breaks("a", "each event that dies is stored as dead once: 1 died, and is not stored");
}

#[test]
fn a_claim_may_be_lost_in_an_upheaval_and_a_commit_may_not() {
    let mut script = Script::of(Order::Topic, 1);
    script.claim("w", "1", &[1]).call(Ask::Upheaval, Told::Nothing).claim("v", "2", &[1]);
    script.commit("2", 1, &[], stands(1, 1));
    script.keeps_all("a", &[]);
    script.call(Ask::Upheaval, Told::Nothing).claim("w", "3", &[1]);
    script.breaks("a", "what was done does not come again: 1 was done");
}

#[test]
fn behind_a_copy_nobody_knows_what_was_done_before_and_nothing_later_is_skipped() {
    let mut script = Script::of(Order::Topic, 1);
    script.claim("w", "1", &[1, 2]).commit("1", 2, &[], stands(2, 2));
    script.call(Ask::Restore(specification(Order::Topic, 1), 2), stands(0, 0));
    script.keeps_all("aa", &[]);
    script.claim("v", "2", &[1, 2]).commit("2", 2, &[], stands(2, 2));
    script.keeps_all("aa", &[]);
    script.breaks("aaa", "each event is done in the end: 3");
}
