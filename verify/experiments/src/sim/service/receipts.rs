//! The promises about answers and books: every attempt against the model, and against what is stored in the books.

use std::collections::{BTreeMap, BTreeSet};

use sekali_common::api::{Account, EventStatus, Stats, StoredEvent};
use sekali_model::{Growth, Ledger, ReadBack, Wrong, account_of, check_balance};

use super::attempts::{Answered, Attempt, Message};
use crate::requests::identities::{Identities, PAYLOADS, name, topic_number, topics};
use crate::requests::receipt::{self, Receipt, Told};
use crate::sim::Violations;

/// All that is read back in the end.
pub struct Books {
    /// The events.
    pub events: ReadBack<usize>,
    /// The account.
    pub stats: Stats,
}

impl Books {
    /// The books, from the answers to `GET /events` and `GET /stats`.
    ///
    /// # Errors
    /// When they are not what they should be.
    pub fn read(events: &str, stats: &str) -> Result<Self, serde_json::Error> {
        let mut read = ReadBack::new(topics().count(), 0);
        for event in &serde_json::from_str::<Vec<StoredEvent<'_>>>(events)? {
            read.take(&Identities, event);
        }
        Ok(Self { events: read, stats: serde_json::from_str(stats)? })
    }

    /// The seqs of all events.
    pub fn seqs(&self) -> BTreeSet<u64> {
        self.events.stored.values().map(|stored| stored.seq).collect()
    }
}

/// Checks every answer, and the books.
pub fn check(attempts: &[Attempt], books: &Books, may_fail: bool, violations: &Violations) {
    let mut all = Attempts::default();
    for attempt in attempts {
        let judged = match &attempt.answer {
            None => Ok(None),
            Some(answer) if answer.is_success() => judge(&attempt.message, answer, books).map(Some),
            Some(answer) => refusal(&attempt.message, answer, may_fail).map(|()| None),
        };
        match judged {
            Ok(told) => all.add(attempt, told.as_deref()),
            Err(reason) => violations.note(format!("{reason}: {attempt:?}")),
        }
    }
    all.check(books, violations);
    check_reading(books, violations);
}

/// Judges an answer that refuses a request.
fn refusal(message: &Message, answer: &Answered, may_fail: bool) -> Result<(), String> {
    let is_right = match (answer.status, answer.problem().as_str()) {
        (400, "malformed-body") => message.is_unreadable,
        (401, "invalid-signature") => message.request.forgery.is_some(),
        _ if message.request.forgery.is_some() => false,
        (422, "invalid-event") => message.is_invalid() && !message.is_unreadable,
        (409, "idempotency-key-in-use") | (422, "idempotency-key-mismatch") => true, // judged with the keys
        (500, "internal") | (503, "busy" | "storage-full") => {
            may_fail && !message.is_unreadable && !message.is_invalid()
        }
        _ => false,
    };
    if is_right { Ok(()) } else { Err("a request was refused for no reason".into()) }
}

/// Judges an answer that acknowledges a request, and returns what it tells of each event that was taken.
fn judge(message: &Message, answer: &Answered, books: &Books) -> Result<Vec<Told>, String> {
    let request = &message.request;
    if message.is_unreadable || message.is_invalid() || request.forgery.is_some() {
        return Err("what must be refused was acknowledged".into());
    }
    if answer.preference.as_deref() != request.preference() {
        return Err("another form was preferred".into());
    }
    let Receipt { told, conflicts } = receipt::read(request, answer.status, &answer.text)?;
    let mut differing = 0;
    for (sent, told) in request.events.iter().zip(&told) {
        let Some(truth) = books.events.stored.get(&sent.identity) else {
            return Err(format!("{} was acknowledged, and is not stored", name(sent.identity)));
        };
        let is_same = truth.payload == sent.payload;
        differing += u64::from(!is_same);
        let is_right = match told.status {
            Some(EventStatus::Stored | EventStatus::Duplicate) => is_same,
            Some(EventStatus::Conflict) => !is_same,
            None => true,
        };
        if !is_right || told.seq.is_some_and(|seq| seq != truth.seq) {
            return Err(format!("{} is {truth:?} and was answered {told:?}", name(sent.identity)));
        }
    }
    if conflicts != differing { Err(format!("{differing} conflicts were sent")) } else { Ok(told) }
}

/// The attempts at all identities.
#[derive(Default)]
struct Attempts {
    ledger: Ledger<usize, PAYLOADS>,
    order: BTreeMap<usize, Order>,
}

/// The order of the attempts at an identity.
#[derive(Default)]
struct Order {
    /// The begin of the attempt that stored it, if an answer says so.
    stored_from: Option<usize>,
    /// The end of the first attempt that was acknowledged.
    acknowledged_by: Option<usize>,
}

impl Attempts {
    /// Adds an attempt, with what is told of its events if it was acknowledged.
    fn add(&mut self, attempt: &Attempt, told: Option<&[Told]>) {
        for (place, sent) in attempt.message.taken().iter().enumerate() {
            match told {
                Some(_) if attempt.receipt().is_none() => {} // sent again, which is no delivery
                Some(told) => {
                    let Told { status, seq } = told[place];
                    self.ledger.answered(sent.identity, sent.payload, status, seq);
                    let Order { stored_from, acknowledged_by } = self.order.entry(sent.identity).or_default();
                    if status == Some(EventStatus::Stored) {
                        stored_from.get_or_insert(attempt.began);
                    }
                    let by = acknowledged_by.get_or_insert(attempt.ended);
                    *by = attempt.ended.min(*by);
                }
                None if attempt.is_unknown() => self.ledger.lost(sent.identity, sent.payload),
                None => {}
            }
        }
    }

    /// Each event is stored once, each delivery that was acknowledged is counted once, and each that nobody knows of at
    /// most once.
    fn check(&self, books: &Books, violations: &Violations) {
        let Books { events, stats } = books;
        for (rule, wrong) in self.ledger.compare(events, |identity| name(*identity)).rules() {
            note(rule, wrong, violations);
        }
        for (identity, Order { stored_from, acknowledged_by }) in &self.order {
            let is_in_order = stored_from.zip(*acknowledged_by).is_none_or(|(from, by)| from < by);
            violations.check(is_in_order, || {
                format!("{} was answered by {acknowledged_by:?}, before it was stored", name(*identity))
            });
        }
        let growth: Growth = self.ledger.growth(events, |identity| topic_number(*identity)).into_iter().sum();
        let difference = growth.contradiction(&stats.total);
        violations.check(difference.is_none(), || format!("the books: {difference:?}"));
    }
}

/// What is read is what was sent, and the books are those of what is read.
fn check_reading(books: &Books, violations: &Violations) {
    let Books { events, stats } = books;
    let mut unbalanced = Wrong::default();
    check_balance(stats, &mut unbalanced);
    note("the books", &unbalanced, violations);
    for (rule, wrong) in events.rules() {
        note(rule, wrong, violations);
    }
    let mut total = Account::default();
    for (topic, account) in topics().zip(&events.accounts) {
        total.received += account.received;
        total.unique_processed += account.unique_processed;
        total.duplicate_dropped += account.duplicate_dropped;
        total.conflicts += account.conflicts;
        let listed = account_of(stats, topic);
        violations.check(listed == *account, || {
            format!("{topic}: {account} is read, and {listed} is in the books")
        });
    }
    violations
        .check(total == stats.total, || format!("{total} is read, and {} is in the books", stats.total));
    let seqs = books.seqs();
    violations.check(seqs.len() as u64 == stats.total.unique_processed, || "two events have one seq".into());
    violations.check(seqs.last().copied().unwrap_or_default() == stats.last_seq, || {
        format!("the last seq is not {}", stats.last_seq)
    });
}

fn note(rule: &str, wrong: &Wrong, violations: &Violations) {
    wrong.tell(rule).into_iter().for_each(|broken| violations.note(broken));
}
