//! Group commit on a store that is slow, busy or failing, or whose caller goes away midway.

use std::cell::Cell;

use futures::FutureExt;
use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::store::{Answered, Seq, Status};
use crate::testing::{TokioClock, event};

/// A store whose writes take 10 ms each, unless a test says otherwise.
#[derive(Default)]
struct FakeStore {
    /// The time that each write takes.
    write_time: Cell<Option<Duration>>,
    /// The event ids of each write that was made.
    writes: RefCell<Vec<Vec<String>>>,
    /// The end of a time in which it is busy.
    busy_until: Cell<Option<Instant>>,
    /// Keys that were answered before.
    answered: RefCell<Vec<String>>,
    /// A write with this event fails.
    poison: RefCell<Option<String>>,
    /// Tries that found it busy.
    refused: Cell<u32>,
}

const WRITE: Duration = Duration::from_millis(10);

impl WriteStore for FakeStore {
    async fn append(&self, events: &[&NewEvent], keys: &[Keyed<'_>]) -> Committed {
        let repeated: Vec<_> = keys
            .iter()
            .map(|keyed| keyed.key.key.clone())
            .filter(|key| self.answered.borrow().contains(key))
            .collect();
        if !repeated.is_empty() {
            return Err(StoreError::Repeated(repeated));
        }
        if self.busy_until.get() > Some(Instant::now()) {
            self.refused.set(self.refused.get() + 1);
            return Err(StoreError::Busy);
        }
        sleep(self.write_time.get().unwrap_or(WRITE)).await;
        let ids: Vec<_> = events.iter().map(|event| event.event_id.to_string()).collect();
        if self.poison.borrow().as_ref().is_some_and(|poison| ids.contains(poison)) {
            return Err(StoreError::Failed("poison".into()));
        }
        let first = self.writes.borrow().iter().map(Vec::len).sum::<usize>() as Seq + 1;
        let outcomes = (first..).take(ids.len()).map(|seq| Outcome { seq, status: Status::Stored }).collect();
        self.writes.borrow_mut().push(ids);
        Ok(outcomes)
    }

    async fn answered(&self, _: &str) -> Result<Option<Answered>, StoreError> {
        Ok(None)
    }
}

fn committer() -> (Committer<FakeStore, TokioClock>, Rc<FakeStore>) {
    let store = Rc::new(FakeStore::default());
    (Committer::new(Rc::clone(&store), TokioClock::start(), 1), store)
}

fn events<const N: usize>(ids: [&str; N]) -> Rc<[NewEvent]> {
    ids.map(event).into()
}

fn many(prefix: &str, count: usize) -> Rc<[NewEvent]> {
    (0..count).map(|n| event(format!("{prefix}{n}"))).collect()
}

/// Commits so many milliseconds from now.
async fn later(
    committer: &Committer<FakeStore, TokioClock>,
    millis: u64,
    events: Rc<[NewEvent]>,
) -> Committed {
    sleep(Duration::from_millis(millis)).await;
    committer.commit(events).await
}

fn seqs(committed: Committed) -> Vec<Seq> {
    committed.unwrap().iter().map(|outcome| outcome.seq).collect()
}

#[tokio::test(start_paused = true)]
async fn a_request_alone_is_written_at_once() {
    let (committer, store) = committer();
    let start = Instant::now();
    assert_eq!(seqs(committer.commit(events(["a", "b"])).await), [1, 2]);
    assert_eq!(start.elapsed(), WRITE);
    assert_eq!(*store.writes.borrow(), [["a", "b"]]);
}

/// True if an instance whose writes of so many events each find the database busy at first thinks itself one too many,
/// after so many of them.
async fn is_crowded_after(writes: usize, count: usize, busy: bool) -> bool {
    let (committer, store) = committer();
    for n in 0..writes {
        store.busy_until.set(busy.then(|| Instant::now() + Duration::from_millis(5)));
        committer.commit(many(&format!("{n}-"), count)).await.unwrap();
    }
    committer.is_crowded()
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_crowded_when_it_waits_for_others_with_few_events() {
    assert!(is_crowded_after(100, 1, true).await);
    assert!(!is_crowded_after(100, 1, false).await, "nobody else writes");
    assert!(!is_crowded_after(100, FEW_EVENTS, true).await, "its groups are worth a write");
}

#[tokio::test(start_paused = true)]
async fn no_events_are_no_write() {
    let (committer, store) = committer();
    assert_eq!(committer.commit(events([])).await, Ok(vec![]));
    assert!(store.writes.borrow().is_empty());
}

#[tokio::test(start_paused = true)]
async fn requests_that_come_together_share_a_write_and_get_their_own_outcomes() {
    let (committer, store) = committer();
    let requests = [events(["a"]), events(["b", "c"]), events(["d"]), events(["e", "f", "g"])];
    let outcomes = join_all(requests.map(|request| committer.commit(request))).await;
    assert_eq!(
        outcomes.into_iter().map(seqs).collect::<Vec<_>>(),
        [vec![1], vec![2, 3], vec![4], vec![5, 6, 7]]
    );
    assert_eq!(*store.writes.borrow(), [["a", "b", "c", "d", "e", "f", "g"]]);
}

#[tokio::test(start_paused = true)]
async fn requests_that_come_during_a_write_share_the_next() {
    let (committer, store) = committer();
    let requests = [(0, "a"), (1, "b"), (2, "c"), (9, "d"), (11, "e")];
    join_all(requests.map(|(millis, id)| later(&committer, millis, events([id])))).await;
    assert_eq!(*store.writes.borrow(), [vec!["a"], vec!["b", "c", "d"], vec!["e"]]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_does_not_wait_for_the_groups_after_its_own() {
    let (committer, _) = committer();
    let start = Instant::now();
    let timed = |millis, id| later(&committer, millis, events([id])).map(move |_| start.elapsed());
    let (first, second, third) = futures::join!(timed(0, "a"), timed(5, "b"), timed(15, "c"));
    assert_eq!((first, second, third), (WRITE, WRITE * 2, WRITE * 3));
}

#[tokio::test(start_paused = true)]
async fn a_request_behind_slow_writes_is_given_up_after_five_seconds() {
    let (committer, store) = committer();
    store.write_time.set(Some(Duration::from_secs(2)));
    let start = Instant::now();
    let requests = (0..20).map(|n| committer.commit(many(&format!("{n}-"), GROUP_EVENTS)));
    let outcomes = join_all(requests).await;
    // The second leader finds the others waiting after two seconds, and until seven three more writes have begun.
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 4);
    assert!(outcomes[4..].iter().all(|outcome| *outcome == Err(StoreError::Busy)));
    assert_eq!(start.elapsed(), Duration::from_secs(8));
}

#[tokio::test(start_paused = true)]
async fn a_group_is_bounded() {
    let (committer, store) = committer();
    let sizes = [1, 600, 600, 600, 5000, 1];
    join_all(sizes.map(|size| committer.commit(many("e", size)))).await;
    let writes: Vec<_> = store.writes.borrow().iter().map(Vec::len).collect();
    assert_eq!(writes, [1201, 5600, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_busy_database_is_tried_again_with_all_who_came_meanwhile() {
    let (committer, store) = committer();
    store.busy_until.set(Some(Instant::now() + Duration::from_secs(1)));
    let late = later(&committer, 500, events(["b"]));
    let (first, second) = futures::join!(committer.commit(events(["a"])), late);
    assert_eq!((seqs(first), seqs(second)), (vec![1], vec![2]));
    assert_eq!(*store.writes.borrow(), [["a", "b"]]);
    assert!(store.refused.get() < 600, "{} tries in a second", store.refused.get());
}

#[tokio::test(start_paused = true)]
async fn requests_whose_patience_ends_are_answered_busy_and_no_others() {
    let (committer, store) = committer();
    store.busy_until.set(Some(Instant::now() + Duration::from_secs(7)));
    let at = |millis, id| {
        let committer = &committer;
        async move {
            sleep(Duration::from_millis(millis)).await;
            let start = Instant::now();
            (committer.commit(events([id])).await, start.elapsed())
        }
    };
    let (first, second, third) = futures::join!(at(0, "a"), at(1000, "b"), at(4000, "c"));
    for (committed, waited) in [first, second] {
        assert_eq!(committed, Err(StoreError::Busy));
        assert!(waited >= BUSY_TIMEOUT && waited < BUSY_TIMEOUT + LONGEST_PAUSE * 2, "{waited:?}");
    }
    assert_eq!(seqs(third.0), [1]);
    assert_eq!(*store.writes.borrow(), [["c"]]);
}

#[tokio::test(start_paused = true)]
async fn one_request_that_fails_fails_alone() {
    let (committer, store) = committer();
    *store.poison.borrow_mut() = Some("bad".into());
    let requests = [events(["a"]), events(["b"]), events(["bad", "c"]), events(["d"])];
    let outcomes = join_all(requests.map(|request| committer.commit(request))).await;
    let stored: Vec<_> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(stored, [true, true, false, true]);
    assert_eq!(*store.writes.borrow(), [["a"], ["b"], ["d"]]);
    assert_eq!(seqs(committer.commit(events(["e"])).await), [4], "and the next are led");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_written_alone_after_a_failure_waits_for_a_busy_database() {
    let (committer, store) = committer();
    *store.poison.borrow_mut() = Some("bad".into());
    let busy_in_between = async {
        sleep(WRITE * 2 + WRITE / 2).await; // the group has failed, and the first of it is being written
        store.busy_until.set(Some(Instant::now() + Duration::from_millis(300)));
    };
    let requests = [events(["a"]), events(["b"]), events(["bad"]), events(["d"])];
    let all = join_all(requests.map(|request| committer.commit(request)));
    let (outcomes, ()) = futures::join!(all, busy_in_between);
    assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, true]);
    assert_eq!(*store.writes.borrow(), [["a"], ["b"], ["d"]]);
    assert!(store.refused.get() > 0);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_goes_away_leaves_its_group_uncertain_and_the_queue_led() {
    let (committer, store) = committer();
    let leader = timeout(WRITE + WRITE / 2, later(&committer, 5, events(["b"])));
    let waiter = later(&committer, 5, events(["c"])); // behind the first, in a group with the leader
    let late = later(&committer, 12, events(["d"]));
    let (first, gone, waiter, late) = futures::join!(committer.commit(events(["a"])), leader, waiter, late);
    assert!(first.is_ok() && gone.is_err());
    assert!(matches!(waiter, Err(StoreError::Uncertain(_))), "{waiter:?}");
    assert!(late.is_ok());
    assert_eq!(*store.writes.borrow(), [["a"], ["d"]]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_goes_away_while_it_waits_is_not_written() {
    let (committer, store) = committer();
    let gone = timeout(WRITE / 2, later(&committer, 1, events(["b"])));
    let third = later(&committer, 2, events(["c"]));
    let (first, gone, third) = futures::join!(committer.commit(events(["a"])), gone, third);
    assert!(first.is_ok() && gone.is_err() && third.is_ok());
    assert_eq!(*store.writes.borrow(), [["a"], ["c"]]);
}

#[tokio::test(start_paused = true)]
async fn leadership_handed_to_a_request_that_goes_away_is_not_lost() {
    let (committer, store) = committer();
    let mut first = Box::pin(committer.commit(events(["a"])));
    let mut second = Box::pin(committer.commit(events(["b"])));
    let mut third = Box::pin(committer.commit(events(["c"])));
    for _ in 0..=GATHER_TURNS {
        assert!((&mut first).now_or_never().is_none()); // it gathers nobody, and begins to write
    }
    for waiting in [&mut second, &mut third] {
        assert!(waiting.now_or_never().is_none());
    }
    assert!(first.await.is_ok());
    drop(second); // it was woken to lead, and never ran
    assert!(timeout(Duration::from_secs(1), third).await.unwrap().is_ok());
    assert_eq!(*store.writes.borrow(), [["a"], ["c"]]);
}

#[tokio::test(start_paused = true)]
async fn requests_that_were_answered_before_leave_their_group_and_the_others_are_written_together() {
    let (committer, store) = committer();
    store.answered.replace(vec!["b".into(), "leader".into()]);
    let keyed = async |id: &str| {
        let key = RequestKey { key: id.into(), fingerprint: "f".into() };
        committer.commit_request([event(id)].into(), Some(key), None).await
    };
    let before = committer.commit(events(["before"]));
    let (before, leader, a, b, c) =
        futures::join!(before, keyed("leader"), keyed("a"), keyed("b"), keyed("c"));
    assert!(before.is_ok());
    assert!(matches!(leader, Err(StoreError::Repeated(_))) && matches!(b, Err(StoreError::Repeated(_))));
    assert_eq!((seqs(a), seqs(c)), (vec![2], vec![3]));
    assert_eq!(*store.writes.borrow(), [vec!["before", "a", "c"]]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waited_before_waits_five_seconds_in_all() {
    let (committer, store) = committer();
    store.busy_until.set(Some(Instant::now() + Duration::from_secs(60)));
    let start = Instant::now();
    sleep(Duration::from_secs(4)).await;
    let committed = committer.commit_request(events(["a"]), None, Some(Duration::ZERO)).await;
    assert_eq!(committed, Err(StoreError::Busy));
    assert!(start.elapsed() < Duration::from_millis(5100), "{:?}", start.elapsed());
}
