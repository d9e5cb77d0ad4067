//! The bookkeeping of a claim: what may be sent now, what is done, what failed, and what a commit may say of it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use sekali_common::consumers::{Claim, ClaimKind, ClaimedEvent, Commit, FailedEvent, Order};

/// A claim and the states of its events. Events that keep their order are in one lane, of which one is sent at a time.
pub struct Ledger {
    token: String,
    kind: ClaimKind,
    /// The number of times that it was given out.
    attempt: u32,
    to: u64,
    /// In the order of seq.
    entries: Vec<Entry>,
    lanes: Vec<Lane>,
    /// The first unsent events of lanes that have nothing on its way.
    ready: BTreeSet<usize>,
    /// Everything before this is settled.
    settled: usize,
    /// The events that are neither delivered nor failed, nor wait behind one that is.
    open: usize,
    /// Everything before this is committed.
    committed: usize,
    /// The events that failed and are not committed.
    failed: BTreeSet<usize>,
    order: Order,
}

struct Entry {
    event: Arc<ClaimedEvent>,
    lane: usize,
    state: State,
    /// True if it was in a batch that failed as a whole.
    is_alone: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Unsent,
    Sent,
    Done,
    Failed(String),
    /// An earlier event of its lane failed.
    Behind,
}

/// Events that keep their order.
#[derive(Default)]
struct Lane {
    unsent: VecDeque<usize>,
    last: usize,
}

/// Events that are sent together, by their places in the ledger.
pub struct Parcel {
    /// Their places.
    pub places: Vec<usize>,
    /// The events: at least one.
    pub events: Vec<Arc<ClaimedEvent>>,
    /// True if each of them failed before, and does not come again for another reason.
    pub has_failed_before: bool,
}

impl Parcel {
    /// Their seqs.
    pub fn seqs(&self) -> Vec<u64> {
        self.events.iter().map(|event| event.seq).collect()
    }
}

impl Ledger {
    /// A claim of which nothing is sent.
    pub fn new(claim: Claim, order: Order) -> Self {
        let mut lanes: Vec<Lane> = Vec::new();
        let mut by_topic = HashMap::new();
        let mut entries = Vec::with_capacity(claim.events.len());
        for (place, event) in claim.events.into_iter().enumerate() {
            let next = lanes.len();
            let lane = match order {
                Order::Total => 0,
                Order::Topic => *by_topic.entry(event.topic.clone()).or_insert(next),
                Order::None => next,
            };
            if lane == next {
                lanes.push(Lane::default());
            }
            lanes[lane].unsent.push_back(place);
            lanes[lane].last = place;
            entries.push(Entry { event: Arc::new(event), lane, state: State::Unsent, is_alone: false });
        }
        let ready = lanes.iter().filter_map(|lane| lane.unsent.front().copied()).collect();
        Self {
            token: claim.claim,
            kind: claim.kind,
            attempt: claim.attempt,
            to: claim.to,
            open: entries.len(),
            entries,
            lanes,
            ready,
            settled: 0,
            committed: 0,
            failed: BTreeSet::new(),
            order,
        }
    }

    /// Takes the next parcel: up to `most` events of one lane or, without order, of any; the earliest that
    /// `is_wanted`, or the earliest of all.
    pub fn take(&mut self, most: usize, is_wanted: impl Fn(u64) -> bool) -> Option<Parcel> {
        let mut ready = self.ready.iter().copied();
        let wanted = ready.clone().find(|place| is_wanted(self.entries[*place].event.seq));
        let first = wanted.or_else(|| ready.next())?;
        let mut places = vec![first];
        if !self.entries[first].is_alone {
            let may_join = |place: &&usize| !self.entries[**place].is_alone;
            let lane = self.lanes[self.entries[first].lane].unsent.iter().skip(1);
            match self.order {
                Order::Total | Order::Topic => places.extend(lane.take(most - 1).take_while(may_join)),
                Order::None => {
                    let others = self.ready.iter().filter(|place| **place != first);
                    places.extend(others.filter(may_join).take(most - 1));
                }
            }
        }
        for place in &places {
            self.ready.remove(place);
            let Entry { lane, state, .. } = &mut self.entries[*place];
            *state = State::Sent;
            self.lanes[*lane].unsent.pop_front();
        }
        let events: Vec<_> = places.iter().map(|place| Arc::clone(&self.entries[*place].event)).collect();
        let has_failed = |event: &Arc<ClaimedEvent>| event.attempt > self.attempt;
        let has_failed_before = self.kind == ClaimKind::Retry && events.iter().all(has_failed);
        Some(Parcel { places, events, has_failed_before })
    }

    /// Events were delivered.
    pub fn done(&mut self, places: &[usize]) {
        for place in places {
            self.entries[*place].state = State::Done;
        }
        self.open -= places.len();
        self.go_on(places);
    }

    /// Events failed together. One has failed, and what is behind it in its lane waits; of several it is not known which,
    /// so each is sent again alone.
    pub fn fail(&mut self, places: &[usize], reason: &str) {
        let [place] = places else {
            for place in places {
                self.entries[*place].is_alone = true;
            }
            return self.put_back(places);
        };
        self.entries[*place].state = State::Failed(reason.to_owned());
        self.failed.insert(*place);
        let lane = self.entries[*place].lane;
        let behind = std::mem::take(&mut self.lanes[lane].unsent);
        self.open -= 1 + behind.len();
        for place in behind {
            self.entries[place].state = State::Behind;
        }
        self.go_on(places);
    }

    /// Events were not delivered, and have to be.
    pub fn put_back(&mut self, places: &[usize]) {
        for place in places.iter().rev() {
            let Entry { lane, state, .. } = &mut self.entries[*place];
            *state = State::Unsent;
            self.lanes[*lane].unsent.push_front(*place);
        }
        self.go_on(places);
    }

    /// Makes the lanes of events that came back ready for their next.
    fn go_on(&mut self, places: &[usize]) {
        for place in places {
            self.ready.extend(self.lanes[self.entries[*place].lane].unsent.front());
        }
        let is_settled = |entry: &Entry| !matches!(entry.state, State::Unsent | State::Sent);
        while self.entries.get(self.settled).is_some_and(is_settled) {
            self.settled += 1;
        }
    }

    /// True if nothing is left to be sent.
    pub fn is_over(&self) -> bool {
        self.open == 0
    }

    /// The number of events that are to be delivered.
    pub fn open(&self) -> usize {
        self.open
    }

    /// The next commit of the claim, and the place up to which it goes. Without news it extends the lease.
    pub fn commit(&self) -> (Commit, usize) {
        let mut commit = Commit { claim: self.token.clone(), ..Commit::default() };
        let cut = self.cut();
        if cut == self.entries.len() {
            commit.upto = Some(self.to);
        } else if cut > self.committed {
            commit.upto = Some(self.entries[cut - 1].event.seq);
        }
        for entry in &self.entries[self.committed..cut] {
            let reason = match &entry.state {
                State::Failed(reason) => Some(reason.clone()),
                State::Behind => None,
                _ => continue,
            };
            commit.failed.push(FailedEvent { seq: entry.event.seq, reason, ..FailedEvent::default() });
        }
        (commit, cut)
    }

    /// True if the next commit does more than to extend the lease.
    pub fn has_news(&self) -> bool {
        self.cut() > self.committed
    }

    /// The service knows everything up to a place.
    pub fn committed(&mut self, cut: usize) {
        self.committed = cut;
        self.failed = self.failed.split_off(&cut);
    }

    /// True if newer events wait until this claim is over, by the `lag` of the latest commit, which counts those of a new
    /// claim that are not committed. Where nothing passes an event that failed, they would wait without the claim, too.
    pub fn holds_up_others(&self, lag: u64) -> bool {
        let own = match self.kind {
            ClaimKind::New => self.entries.len() - self.committed,
            ClaimKind::Retry => 0,
        };
        self.order != Order::Total && lag > own as u64
    }

    /// The place up to which everything may be committed. An event that failed and those that wait behind it are in one
    /// commit: in two, the second could not tell that its first waits, and would count an attempt for it.
    fn cut(&self) -> usize {
        let mut cut = self.settled;
        for failed in self.failed.iter().rev() {
            if *failed < cut && self.lanes[self.entries[*failed].lane].last >= cut {
                cut = *failed;
            }
        }
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A claim of events whose topics are these letters, with the seqs 1, 2, 3 and so on; it ends at 100.
    pub fn claim(topics: &str) -> Claim {
        let event = |(place, topic): (usize, char)| {
            format!(
                r#"{{"seq":{},"topic":"{topic}","event_id":"e","timestamp":"","payload":{{}},"received_at":"","attempt":1}}"#,
                place + 1
            )
        };
        let events: Vec<_> = topics.chars().enumerate().map(event).collect();
        serde_json::from_str(&format!(
            r#"{{"claim":"c","kind":"new","from":0,"to":100,"expires_at":"","attempt":1,"events":[{}]}}"#,
            events.join(",")
        ))
        .unwrap()
    }

    fn ledger(topics: &str, order: Order) -> Ledger {
        Ledger::new(claim(topics), order)
    }

    /// The seqs of all parcels that may be sent now.
    fn take_all(ledger: &mut Ledger, most: usize) -> Vec<Vec<u64>> {
        std::iter::from_fn(|| ledger.take(most, |_| true)).map(|parcel| parcel.seqs()).collect()
    }

    /// The next commit: the end, the seqs that failed, and those that wait.
    fn commit(ledger: &mut Ledger) -> (Option<u64>, Vec<u64>, Vec<u64>) {
        let (commit, cut) = ledger.commit();
        ledger.committed(cut);
        let (failed, behind): (Vec<_>, Vec<_>) =
            commit.failed.iter().partition(|failed| failed.reason.is_some());
        let seqs = |failed: Vec<&FailedEvent>| failed.iter().map(|failed| failed.seq).collect();
        (commit.upto, seqs(failed), seqs(behind))
    }

    #[test]
    fn one_event_of_each_lane_is_sent_at_a_time() {
        assert_eq!(take_all(&mut ledger("aabcb", Order::Topic), 1), [[1], [3], [4]]);
        assert_eq!(take_all(&mut ledger("aabcb", Order::Total), 1), [[1]]);
        assert_eq!(take_all(&mut ledger("aabcb", Order::None), 1), [[1], [2], [3], [4], [5]]);
        let mut ledger = ledger("aab", Order::Topic);
        take_all(&mut ledger, 1);
        ledger.done(&[0]);
        assert_eq!(take_all(&mut ledger, 1), [[2]]);
    }

    #[test]
    fn a_batch_has_events_of_one_lane_or_any_without_order() {
        assert_eq!(take_all(&mut ledger("aabab", Order::Topic), 2), [vec![1, 2], vec![3, 5]]);
        assert_eq!(take_all(&mut ledger("aabab", Order::Total), 3), [[1, 2, 3]]);
        assert_eq!(take_all(&mut ledger("aabab", Order::None), 3), [vec![1, 2, 3], vec![4, 5]]);
    }

    #[test]
    fn a_commit_goes_up_to_the_first_event_that_is_open() {
        let mut ledger = ledger("abc", Order::Topic);
        take_all(&mut ledger, 1);
        ledger.done(&[1]);
        assert!(!ledger.has_news());
        assert_eq!(commit(&mut ledger), (None, vec![], vec![]));
        ledger.done(&[0]);
        assert!(ledger.has_news() && !ledger.is_over());
        assert_eq!(commit(&mut ledger), (Some(2), vec![], vec![]));
        ledger.done(&[2]);
        // The end of the claim, which has no event.
        assert_eq!(commit(&mut ledger), (Some(100), vec![], vec![]));
        assert!(ledger.is_over());
    }

    #[test]
    fn what_is_behind_a_failed_event_is_committed_with_it() {
        let mut ledger = ledger("abcacb", Order::Topic);
        take_all(&mut ledger, 1);
        ledger.done(&[1]);
        ledger.fail(&[0], "400");
        assert_eq!(take_all(&mut ledger, 1), [[6]]);
        // 1 and 2 are settled, but 4 waits behind 1, and 3 before it is open.
        assert_eq!(commit(&mut ledger), (None, vec![], vec![]));
        ledger.done(&[2]);
        assert_eq!(commit(&mut ledger), (Some(4), vec![1], vec![4]));
        assert_eq!(take_all(&mut ledger, 1), [[5]]);
        ledger.fail(&[5], "500");
        ledger.done(&[4]);
        assert_eq!(commit(&mut ledger), (Some(100), vec![6], vec![]));
    }

    #[test]
    fn failures_that_overlap_are_committed_together() {
        // 3 waits behind 1, 4 behind 2, and 5 is open: nothing can be committed before 1.
        let mut ledger = ledger("ababa", Order::Topic);
        take_all(&mut ledger, 1);
        ledger.fail(&[1], "400");
        ledger.done(&[0]);
        take_all(&mut ledger, 1);
        ledger.fail(&[2], "400");
        assert_eq!(commit(&mut ledger), (Some(100), vec![2, 3], vec![4, 5]));
    }

    #[test]
    fn events_that_were_not_delivered_keep_their_order() {
        let mut ledger = ledger("aaab", Order::Topic);
        let first = ledger.take(2, |_| true).unwrap();
        ledger.put_back(&first.places);
        assert_eq!(take_all(&mut ledger, 1), [[1], [4]]);
        ledger.put_back(&[3]);
        ledger.put_back(&[0]);
        assert_eq!(ledger.take(1, |seq| seq != 1).unwrap().seqs(), [4]);
        assert_eq!(ledger.take(1, |seq| seq != 1).unwrap().seqs(), [1]);
        assert_eq!(ledger.open(), 4);
    }

    #[test]
    fn of_a_batch_that_failed_each_event_is_sent_alone() {
        let mut ledger = ledger("aaaa", Order::Topic);
        let batch = ledger.take(3, |_| true).unwrap();
        ledger.fail(&batch.places, "400");
        for place in 0..3 {
            assert_eq!(take_all(&mut ledger, 3), [[place as u64 + 1]]);
            ledger.done(&[place]);
        }
        assert_eq!(take_all(&mut ledger, 3), [[4]]);
    }

    #[test]
    fn only_a_retry_has_events_that_failed_before() {
        // A range that ran out is given out again, which says nothing against its events.
        let of = |kind, attempt| {
            let mut claim = Claim { kind, attempt, ..claim("ab") };
            claim.events[0].attempt = attempt + 1;
            claim.events[1].attempt = attempt;
            let mut ledger = Ledger::new(claim, Order::Topic);
            [(); 2].map(|()| ledger.take(1, |_| true).unwrap().has_failed_before)
        };
        assert_eq!(of(ClaimKind::New, 1), [false, false]);
        assert_eq!(of(ClaimKind::Retry, 1), [true, false]);
        assert_eq!(of(ClaimKind::Retry, 3), [true, false]);
    }

    #[test]
    fn a_claim_holds_up_others_if_more_events_wait_than_its_own() {
        let mut new = ledger("ab", Order::Topic);
        assert_eq!([2, 3].map(|lag| new.holds_up_others(lag)), [false, true]);
        take_all(&mut new, 1);
        new.done(&[0]);
        new.committed(1);
        assert_eq!([1, 2].map(|lag| new.holds_up_others(lag)), [false, true]);
        let retry = Ledger::new(Claim { kind: ClaimKind::Retry, ..claim("ab") }, Order::Topic);
        assert_eq!([0, 1].map(|lag| retry.holds_up_others(lag)), [false, true]);
        assert!(!ledger("ab", Order::Total).holds_up_others(3));
    }

    #[test]
    fn a_claim_without_events_is_over_at_once() {
        let mut ledger = ledger("", Order::Topic);
        assert!(ledger.is_over() && ledger.take(1, |_| true).is_none());
        assert_eq!(commit(&mut ledger), (Some(100), vec![], vec![]));
    }
}
