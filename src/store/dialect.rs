//! What differs between the dialects of SQL.

use super::database::Value;
use super::{Filter, Index, Layout, Order, Seq};
use crate::event::Timestamp;

/// The differences between the databases.
pub struct Dialect {
    /// The mark before the number of a parameter.
    pub mark: char,
    /// The prefix of the names of tables.
    pub schema: &'static str,
    /// The table in which each seq that was given has a row.
    pub identities: &'static str,
    /// The functions for the least and the greatest of some values.
    pub least_and_greatest: [&'static str; 2],
    /// The events of the topics of a filter in a span, which is 1 and 2, topic by topic. `/* is wanted */` is the condition
    /// on the `name` of a topic.
    pub events_of_topics: &'static str,
    /// The table of events, read by the index on timestamps where the database can be told to.
    pub events_by_timestamp: &'static str,
    /// The table of events, read by the index on conflicts where the database can be told to, and the condition of those
    /// with conflicts in a span, which is 1 and 2.
    pub events_by_conflict: (&'static str, &'static str),
    /// A text column, written so that no index on it is used, which the database may otherwise prefer: `{}` is its name.
    pub text_without_index: &'static str,
    /// The timestamp, written so.
    pub timestamp_without_index: &'static str,
    /// Seq, written so that the index on timestamps is preferred to it.
    pub seq_beside_timestamp: &'static str,
    /// The condition of events that can be read: `{}` is their seq, as it has to be written.
    pub is_readable: &'static str,
    /// The condition of identities whose events were erased.
    pub is_erased: &'static str,
    /// The condition of a column that a list has, which is a parameter: `{}` are the column and the parameter.
    pub is_in: fn(&str, &str) -> String,
    /// A list of names as a parameter.
    pub names: fn(&[&str]) -> Value,
    /// A list of seqs as a parameter.
    pub seqs: fn(&[Seq]) -> Value,
    /// A source as it is stored.
    pub stored_source: fn(&str) -> String,
    /// The comparison of a column, by an operator, with a moment: a timestamp, or a bound of those of a block, which may
    /// be a little wider.
    pub compare: fn(&str, &str, &Timestamp, &mut Parameters) -> String,
    /// The seqs of a partition of the events, if they have some: it is read without a look at the others.
    pub partition: Option<Seq>,
    /// Seqs of one window, at most.
    pub longest_window: i64,
    /// A page: 1 and 2 are the span, 3 and 4 its events and bytes.
    pub page: fn(&Filter, Index, Order, Layout) -> Statement,
    /// One event: 1 is its seq.
    pub event: fn() -> String,
    /// Events as a JSON array: 1 are their seqs.
    pub events: fn() -> String,
    /// Rows that a short step of retention goes through: about two milliseconds of a writer's time.
    pub rows_of_step: u32,
    /// The others, as they are.
    pub texts: Texts,
}

/// Statements that are written apart for each database.
pub struct Texts {
    /// The account of all deliveries: 1 are topics, or null, and 2 the most of them.
    pub ledger: &'static str,
    /// 1 if the totals of this minute are kept, else 0.
    pub is_recorded: &'static str,
    /// Keeps the totals of this minute.
    pub record: &'static str,
    /// The totals of the last 1 minutes, as a JSON array.
    pub history: &'static str,
    /// The number of topics, and those of 1 that are there.
    pub find_topics: &'static str,
    /// The events of the seqs in the place `/* seqs */` are erased.
    pub erase: &'static str,
    /// The seq of the event with the topic 1 and the id 2; it is null if the event is gone.
    pub identity: &'static str,
    /// A row if retention is due; it is not again before 1 seconds have passed.
    pub claim: &'static str,
    /// Retention is due in 1 seconds.
    pub release: &'static str,
    /// The settings that endanger the events, as a JSON array.
    pub risks: &'static str,
    /// The answer to the request with the key 1.
    pub answer: &'static str,
    /// Forgets the oldest identities of 1 days ago whose events are gone, 2 at most.
    pub forget: &'static str,
    /// Removes the oldest answers that are not kept any more, 1 at most.
    pub forget_answers: &'static str,
    /// All consumers as a JSON array, and the present moment.
    pub consumers: &'static str,
    /// The version and the state of the consumer 1, and the present moment.
    pub consumer: &'static str,
    /// The consumer 1 with the state 2, unless there are 3 already.
    pub create_consumer: &'static str,
    /// The consumer 1 and its failures are gone.
    pub delete_consumer: &'static str,
    /// The number of lanes of the consumer 1 that have held failures.
    pub lanes: &'static str,
    /// Failures of the consumer 1, 2 at most, of the condition in the place `/* which */`: a JSON array.
    pub failures: &'static str,
}

/// The [`Texts`] of a dialect, from the files of these names in `sql/`, beside the file that calls it.
macro_rules! texts {
    () => {
        texts!(
            ledger is_recorded record history find_topics erase identity claim release risks answer forget forget_answers
            consumers consumer create_consumer delete_consumer lanes failures
        )
    };
    ($($name:ident)*) => {
        $crate::store::dialect::Texts {
            $($name: include_str!(concat!("sql/", stringify!($name), ".sql")),)*
        }
    };
}
pub(super) use texts;

/// A statement.
pub struct Statement {
    /// Its text. Hosts keep prepared statements by their text.
    pub text: String,
    /// Its parameters.
    pub parameters: Vec<Value>,
}

impl Statement {
    /// The statement with the parameters that come before those of its filter.
    pub fn with(mut self, own: &[i64]) -> Self {
        self.parameters.splice(0..0, own.iter().copied().map(Value::from));
        self
    }
}

/// The parameters of a filter, and the number of the first of them.
pub struct Parameters {
    /// Their values.
    pub values: Vec<Value>,
    mark: char,
    first: usize,
}

impl Dialect {
    /// A text that the dialects share, in this one.
    pub fn text(&self, shared: &str) -> String {
        let [least, greatest] = self.least_and_greatest;
        let text = shared
            .replace("{schema}", self.schema)
            .replace("{identities}", self.identities)
            .replace("{least}", least)
            .replace("{greatest}", greatest)
            .replace("{is_erased}", self.is_erased);
        if self.mark == '?' { text } else { text.replace('?', &self.mark.to_string()) }
    }

    /// Parameters that are numbered from `first`.
    pub fn parameters(&self, first: usize) -> Parameters {
        Parameters { values: Vec::new(), mark: self.mark, first }
    }
}

impl Parameters {
    /// Adds a value, and returns its place in the statement.
    pub fn add(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("{}{}", self.mark, self.first + self.values.len() - 1)
    }
}
