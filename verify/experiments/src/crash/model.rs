//! What the service owes its clients at each step of a history.

use std::collections::BTreeSet;

use sekali::eraser::LIMIT;
use sekali::retention::Policy;
use sekali_common::api::Account;
use sekali_model::Outcome;
use serde_json::{Value, json};

use super::disk::image::Image;
use super::history::Step;

/// The events of a service.
pub type Inbox = sekali_model::Inbox<String, String, Value>;

/// Everything that clients can see of it.
pub type Contents = sekali_model::Contents<String, String, Value>;

/// Topic and id.
pub type Identity = (String, String);

type Event = sekali_model::Event<String, String, Value>;

/// The beginning of each payload, behind which its identity follows: by it, files show which payloads they hold.
const MARK: &[u8] = br#"{"event":""#;

/// A delivery of an event.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its topic.
    pub topic: String,
    /// Its id in the topic.
    pub id: String,
    /// Its payload: the identity, a number, and sometimes a filling.
    pub payload: Value,
}

/// The deliveries of one request, stored at once or not at all.
pub type Group = Vec<Delivery>;

/// The body of a request with a group.
pub fn body(group: &[Delivery]) -> String {
    let event = |Delivery { topic, id, payload }: &Delivery| json!({"topic": topic, "event_id": id, "source": source(id), "payload": payload});
    group.iter().map(event).collect::<Value>().to_string()
}

/// The source of all events with an id.
fn source(id: &str) -> &'static str {
    if id.ends_with(['0', '1', '2']) { "shop" } else { "app" }
}

/// The events that a request erases.
#[derive(Clone, Debug)]
pub enum Selection {
    /// One.
    Event(Identity),
    /// Those of a topic.
    Topic(String),
    /// Those of a source.
    Source(&'static str),
}

impl Selection {
    /// The target of the request.
    pub fn target(&self) -> String {
        match self {
            Self::Event((topic, id)) => format!("/events/{topic}/{id}"),
            Self::Topic(topic) => format!("/events?topic={topic}"),
            Self::Source(source) => format!("/events?source={source}"),
        }
    }

    fn matches(&self, event: &Event) -> bool {
        match self {
            Self::Event((topic, id)) => event.topic == *topic && event.id == *id,
            Self::Topic(topic) => event.topic == *topic,
            Self::Source(wanted) => source(&event.id) == *wanted,
        }
    }
}

/// The answer to a step of a history.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// None.
    Nothing,
    /// Everything that was read back.
    Read(Contents),
    /// The outcomes of the deliveries of a group.
    Published(Vec<Outcome>),
    /// The event is erased, or was gone before.
    Gone,
    /// The event to erase was never stored, or is forgotten.
    Unknown,
    /// So many events were erased.
    Erased {
        /// Their number.
        erased: usize,
        /// True if more match.
        has_more: bool,
    },
    /// What was to be erased cannot be read any more, but a reader beside the service keeps it in the files.
    Held,
}

impl Answer {
    /// True if it says that nothing of what is gone is left in the files.
    pub fn is_of_clean_files(&self) -> bool {
        matches!(self, Self::Gone | Self::Erased { .. })
    }

    /// Compares the answer that is owed with the one that came.
    ///
    /// # Errors
    /// The difference.
    pub fn agree(&self, found: &Self) -> Result<(), String> {
        match (self, found) {
            _ if self == found => Ok(()),
            (owed, Self::Held) if owed.is_of_clean_files() => Ok(()),
            (Self::Read(owed), Self::Read(found)) => Err(owed.differences(found)),
            (Self::Published(owed), Self::Published(found)) => {
                let differing = owed.iter().zip(found).enumerate().find(|(_, (owed, found))| owed != found);
                Err(format!("the first outcome that differs from what is owed: {differing:?}"))
            }
            _ => Err(format!("the answer is {found:?}, and {self:?} is owed")),
        }
    }
}

/// What a service owes.
#[derive(Clone, Debug, PartialEq)]
pub struct Owed {
    inbox: Inbox,
    policy: Policy,
    /// The identities whose payloads are in no file any more.
    clean: BTreeSet<Identity>,
}

impl Owed {
    /// Nothing is delivered yet to a service with this retention.
    pub fn new(policy: Policy) -> Self {
        Self { inbox: Inbox::default(), policy, clean: BTreeSet::new() }
    }

    /// Its retention.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Takes a step, and returns the answer that is owed.
    pub fn take(&mut self, step: &Step) -> Answer {
        let Policy { kept, forget_days } = self.policy;
        match step {
            Step::Publish(group) => return Answer::Published(self.publish(group)),
            Step::Read => return Answer::Read(self.inbox.contents().clone()),
            Step::Erase(Selection::Event((topic, id))) if !self.inbox.knows(topic, id) => {
                return Answer::Unknown;
            }
            Step::Erase(selection) => {
                let erased = self.inbox.erase(LIMIT as usize, |event| selection.matches(event));
                return match selection {
                    Selection::Event(_) => Answer::Gone,
                    _ => Answer::Erased {
                        erased,
                        has_more: self.inbox.contents().events.values().any(|event| selection.matches(event)),
                    },
                };
            }
            Step::Pass(days) => self.inbox.age(*days),
            Step::Retain => {
                self.inbox.expire(self.inbox.surplus(kept.events as usize, kept.days));
                if forget_days > 0 {
                    self.inbox.forget(forget_days);
                }
            }
            Step::Checkpoint(_) | Step::Restart | Step::Hold => {}
        }
        Answer::Nothing
    }

    fn publish(&mut self, group: &[Delivery]) -> Vec<Outcome> {
        let outcomes: Vec<_> = group
            .iter()
            .map(|Delivery { topic, id, payload }| self.inbox.deliver(topic, id, payload))
            .collect();
        for (Delivery { topic, id, .. }, outcome) in group.iter().zip(&outcomes) {
            if self.inbox.contents().events.contains_key(&outcome.seq) {
                self.clean.remove(&(topic.clone(), id.clone()));
            }
        }
        outcomes
    }

    /// The state in the midst of a step that explains what was found. Publishing is one transaction; erasure and
    /// retention may have come any way, from the oldest events on. Taken again from there, the step is whole.
    ///
    /// # Errors
    /// The difference to the state to which, by its counters, the step had come.
    pub fn amid(&self, step: &Step, found: &Contents) -> Result<Self, String> {
        let mut amid = self.clone();
        let before = total(self.inbox.contents());
        let now = total(found);
        match step {
            Step::Publish(group) if now.received > before.received => {
                amid.publish(group);
            }
            Step::Erase(selection) => {
                let erased = now.erased.saturating_sub(before.erased) as usize;
                amid.inbox.erase(erased.min(LIMIT as usize), |event| selection.matches(event));
            }
            Step::Retain => {
                let surplus = self.inbox.surplus(self.policy.kept.events as usize, self.policy.kept.days);
                amid.inbox.expire(surplus.min(now.expired.saturating_sub(before.expired) as usize));
            }
            _ => {}
        }
        let mut owed = amid.inbox.contents().clone();
        if let Step::Retain = step {
            self.forgive_forgotten(&mut owed, found);
        }
        match owed == *found {
            true => Ok(amid),
            false => Err(owed.differences(found)),
        }
    }

    /// Takes over how many identities of each topic are forgotten, if they may be.
    fn forgive_forgotten(&self, owed: &mut Contents, found: &Contents) {
        let days = self.policy.forget_days;
        for (topic, book) in &mut owed.books {
            let due = self.inbox.forgettable(days).filter(|(of, _)| days > 0 && of == topic).count() as u64;
            let forgotten = found.books.get(topic).map_or(0, |book| book.forgotten);
            if (book.forgotten..=book.forgotten + due).contains(&forgotten) {
                book.forgotten = forgotten;
            }
        }
    }

    /// True if nothing else than `found` is owed to a reader.
    pub fn is(&self, found: &Contents) -> bool {
        self.inbox.contents() == found
    }

    /// Deliveries of up to `count` events that are gone, which are duplicates, and never conflicts.
    pub fn late(&self, count: usize) -> Group {
        let late = |(topic, id): &Identity| {
            let payload = json!({"event": format!("{topic}/{id}"), "n": "late"});
            Delivery { topic: topic.clone(), id: id.clone(), payload }
        };
        self.inbox.gone().take(count).map(late).collect()
    }

    /// Notes that nothing of what is gone is left in the files.
    pub fn note_clean_files(&mut self) {
        self.clean.extend(self.inbox.gone().cloned());
    }

    /// Looks for payloads in the files of a disk that must not be there any more.
    ///
    /// # Errors
    /// The first of them.
    pub fn is_clean(&self, image: &Image) -> Result<(), String> {
        if self.clean.is_empty() {
            return Ok(());
        }
        let held = image.texts_behind(MARK);
        match self.clean.iter().find(|(topic, id)| held.contains(&format!("{topic}/{id}"))) {
            None => Ok(()),
            Some(identity) => Err(format!("the payload of {identity:?} was erased, and is in a file")),
        }
    }
}

fn total(contents: &Contents) -> Account {
    let mut total = Account::default();
    for book in contents.books.values() {
        total.received += book.account.received;
        total.expired += book.account.expired;
        total.erased += book.account.erased;
    }
    total
}
