//! The statements of the store, and what differs between the dialects of their SQL.
//!
//! Readers go by `seq`, so an index serves where its entries are in the order of `seq`: all events, those of one
//! topic or those of one source. Several topics are as many such runs, which the database merges. The events of a short
//! span of time are few enough to be sorted. The rest of a filter is checked in each row.
//!
//! A statement that reads a span returns the newest seq of its snapshot in its last column.

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
}

/// The [`Texts`] of a dialect, from the files of these names in `sql/`, beside the file that calls it.
macro_rules! texts {
    () => {
        texts!(
            ledger is_recorded record history find_topics erase identity claim release risks answer forget forget_answers
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

/// A filter as conditions. Each begins with `and`.
pub struct Conditions {
    /// The entries of the index that hold the events.
    pub runs: Vec<Run>,
    /// The conditions that are checked in each row.
    pub rest: String,
    /// The parameters of both.
    pub parameters: Parameters,
}

/// The entries of an index that share its column.
pub struct Run {
    /// The table.
    pub table: String,
    /// The seq, as it has to be written.
    pub seq: &'static str,
    /// Its conditions.
    pub condition: String,
    mark: char,
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
            .replace("{greatest}", greatest);
        if self.mark == '?' { text } else { text.replace('?', &self.mark.to_string()) }
    }

    /// The seqs that can be read.
    pub fn readable(&self) -> String {
        self.text(include_str!("sql/readable.sql"))
    }

    /// The statement for the first matches: 1 and 2 are the span, 3 is one more than their limit.
    pub fn matches(&self, filter: &Filter, index: Index, order: Order) -> Statement {
        let Conditions { runs, rest, parameters } = self.conditions(filter, index, 4);
        let text = self.text(include_str!("sql/matches.sql"));
        let text = text.replace("/* matching */", &merge(&runs, &rest, order));
        Statement { text: ordered(&text, order), parameters: parameters.values }
    }

    /// The statement that erases the first matches: 1 and 2 are the span, 3 is their limit.
    pub fn erase(&self, filter: &Filter, index: Index) -> Statement {
        let Conditions { runs, rest, parameters } = self.conditions(filter, index, 4);
        let seqs = merge(&runs, &rest, Order::Ascending) + &self.text(" limit ?3");
        Statement { text: self.texts.erase.replace("/* seqs */", &seqs), parameters: parameters.values }
    }

    /// The statement for the next run of a span whose blocks overlap the time of a filter: 1 and 2 are the span.
    pub fn overlapping(&self, filter: &Filter, order: Order) -> Statement {
        let shared = order.pick([
            include_str!("sql/overlapping_ascending.sql"),
            include_str!("sql/overlapping_descending.sql"),
        ]);
        let mut parameters = self.parameters(3);
        let overlaps = self.of_time(filter, ["latest", "earliest"], &mut parameters);
        let text = self.text(shared).replace("/* and overlaps */", &overlaps);
        Statement { text, parameters: parameters.values }
    }

    /// The statement for the number of events of a filter's time, up to 3, in the partitions of a span, which is 1 and 2.
    pub fn of_short_time(&self, filter: &Filter) -> Statement {
        let mut parameters = self.parameters(4);
        let runs = self.runs(filter, Index::Timestamp, &mut parameters);
        let entries: String = match self.partition {
            Some(_) => runs.iter().map(|run| format!("{} where {}", run.table, run.condition(""))).collect(),
            None => runs.iter().map(|run| format!("{} where true{}", run.table, run.condition)).collect(),
        };
        let text = self.text(include_str!("sql/of_short_time.sql")).replace("/* entries */", &entries);
        Statement { text, parameters: parameters.values }
    }

    /// The statement for the seq that 3 entries of an index lead to: 1 and 2 are the span. Null if they lead to its end.
    pub fn reach(&self, filter: &Filter, index: Index, order: Order) -> Statement {
        let mut parameters = self.parameters(4);
        let runs = self.runs(filter, index, &mut parameters);
        let text = self.text(include_str!("sql/reach.sql"));
        let text = text.replace("/* entries */", &merge(&runs, "", order));
        Statement { text: ordered(&text, order), parameters: parameters.values }
    }

    /// The statement for the next row of a span, which is 1 and 2. Null if it has none.
    pub fn next_row(&self, order: Order) -> Statement {
        let shared = order.pick([include_str!("sql/next_row.sql"), include_str!("sql/previous_row.sql")]);
        Statement { text: self.text(shared), parameters: vec![] }
    }

    /// The conditions of a filter, whose parameters are numbered from `first`.
    pub fn conditions(&self, filter: &Filter, index: Index, first: usize) -> Conditions {
        let mut parameters = self.parameters(first);
        let runs = self.runs(filter, index, &mut parameters);
        let mut rest = String::new();
        let mut any_of = |column: &str, names: Vec<String>| {
            let column = self.text_without_index.replace("{}", column);
            rest.push_str(&format!(" and {column} in ({})", names.join(", ")));
        };
        if index != Index::Topics && !filter.topics.is_empty() {
            any_of("topic", self.add_topics(filter, &mut parameters));
        }
        if index != Index::Sources && !filter.sources.is_empty() {
            any_of("source", self.add_sources(filter, &mut parameters));
        }
        if index != Index::Timestamp {
            rest.push_str(&self.of_time(filter, [self.timestamp_without_index; 2], &mut parameters));
        }
        Conditions { runs, rest, parameters }
    }

    /// The runs of an index that hold the events of a filter.
    fn runs(&self, filter: &Filter, index: Index, parameters: &mut Parameters) -> Vec<Run> {
        let run = |table: &str, seq: &'static str, condition: &str| Run {
            table: table.to_owned(),
            seq,
            condition: format!("{condition} and {}", self.is_readable.replace("{}", seq)),
            mark: self.mark,
        };
        let events = format!("{}events", self.schema);
        let one = |condition: &str| run(&events, "seq", condition);
        let each = |column: &str, names: Vec<String>| {
            names.iter().map(|name| one(&format!(" and {column} = {name}"))).collect()
        };
        match index {
            Index::Seq => vec![one("")],
            Index::Topics => each("topic", self.add_topics(filter, parameters)),
            Index::Sources => each("source", self.add_sources(filter, parameters)),
            Index::Conflicts => {
                let (table, has_conflicts) = self.events_by_conflict;
                vec![run(table, "seq", &format!(" and {has_conflicts}"))]
            }
            Index::Timestamp => {
                let condition = self.of_time(filter, ["timestamp"; 2], parameters);
                vec![run(self.events_by_timestamp, self.seq_beside_timestamp, &condition)]
            }
        }
    }

    fn add_topics(&self, filter: &Filter, parameters: &mut Parameters) -> Vec<String> {
        filter.topics.iter().map(|topic| parameters.add(topic.as_str().into())).collect()
    }

    fn add_sources(&self, filter: &Filter, parameters: &mut Parameters) -> Vec<String> {
        filter
            .sources
            .iter()
            .map(|source| parameters.add((self.stored_source)(source.as_str()).into()))
            .collect()
    }

    /// Parameters that are numbered from `first`.
    fn parameters(&self, first: usize) -> Parameters {
        Parameters { values: Vec::new(), mark: self.mark, first }
    }

    /// The conditions of a filter's time on a column that is to be late enough, and one that is to be early enough.
    fn of_time(&self, filter: &Filter, [late, early]: [&str; 2], parameters: &mut Parameters) -> String {
        let mut conditions = String::new();
        for (column, operator, bound) in [(late, ">=", &filter.since), (early, "<", &filter.until)] {
            if let Some(moment) = bound {
                conditions += &format!(" and {}", (self.compare)(column, operator, moment, parameters));
            }
        }
        conditions
    }
}

impl Run {
    /// The condition of a span, whose parameters are the first two.
    pub fn span(&self) -> String {
        let Self { seq, mark, .. } = self;
        format!("{seq} > {mark}1 and {seq} <= {mark}2")
    }

    /// The whole condition.
    pub fn condition(&self, rest: &str) -> String {
        format!("{}{}{rest}", self.span(), self.condition)
    }
}

/// The seqs of all runs, in order.
pub fn merge(runs: &[Run], rest: &str, order: Order) -> String {
    let all: Vec<_> = runs
        .iter()
        .map(|run| format!("select seq from {} where {}", run.table, run.condition(rest)))
        .collect();
    format!(
        "{} order by {} {}",
        all.join(" union all "),
        runs.first().map_or("seq", |run| run.seq),
        order.sql()
    )
}

/// A text whose places for the order are filled in.
pub fn ordered(text: &str, order: Order) -> String {
    let (last, up_to) = order.pick([("max", "<="), ("min", ">=")]);
    text.replace("/* order */", order.sql()).replace("/* last */", last).replace("/* up to */", up_to)
}

impl Order {
    /// The ascending value for an ascending order, else the descending one.
    fn pick<T>(self, [ascending, descending]: [T; 2]) -> T {
        match self {
            Self::Ascending => ascending,
            Self::Descending => descending,
        }
    }

    /// The order in SQL.
    pub fn sql(self) -> &'static str {
        self.pick(["asc", "desc"])
    }
}

impl Parameters {
    /// Adds a value, and returns its place in the statement.
    pub fn add(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("{}{}", self.mark, self.first + self.values.len() - 1)
    }
}
