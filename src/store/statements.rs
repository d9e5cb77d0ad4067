//! The statements that read events, as far as the dialects of the stores share them.
//!
//! Readers go by `seq`, so an index serves where its entries are in the order of `seq`: all events, those of one
//! topic or those of one source. Several topics are as many such runs, which the database merges. The events of a short
//! span of time are few enough to be sorted. The rest of a filter is checked in each row.

use super::{Filter, Index, Layout, Order};
use crate::event::Timestamp;

/// What differs between the databases.
pub struct Dialect {
    /// The mark before the number of a parameter.
    pub mark: char,
    /// The table of events.
    pub events: &'static str,
    /// The same, read by the index on timestamps where the database can be told to.
    pub events_by_timestamp: &'static str,
    /// A text column, written so that no index on it is used, which the database may otherwise prefer: `{}` is its name.
    pub text_without_index: &'static str,
    /// The same for seq.
    pub seq_without_index: &'static str,
    /// The condition of events that can be read: `{}` is their seq, as it has to be written.
    pub is_readable: &'static str,
    /// The text of a source, as it is stored.
    pub stored_source: fn(&str) -> String,
    /// The first matches of a span, in the place `/* matching */`.
    pub matches: &'static str,
    /// The same, which are erased.
    pub erase: &'static str,
    /// The next run of a span whose blocks overlap the time of a filter, ascending and descending.
    pub overlapping: [&'static str; 2],
    /// The seq that entries of an index, in the place `/* entries */`, lead to.
    pub reach: &'static str,
    /// The next row of a span, ascending and descending.
    pub next_row: [&'static str; 2],
    /// A page: 1 and 2 are the span, 3 and 4 its events and bytes.
    pub page: fn(&Filter, Index, Order, Layout) -> Statement,
}

/// A statement without its own parameters, which come first.
pub struct Statement {
    /// Its text. Hosts keep prepared statements by their text.
    pub text: String,
    /// The parameters of its filter.
    pub of_filter: Vec<String>,
}

impl Statement {
    /// Its text and all of its parameters.
    pub fn with<P: From<i64> + From<String>>(self, own: &[i64]) -> (String, Vec<P>) {
        let own = own.iter().copied().map(P::from);
        (self.text, own.chain(self.of_filter.into_iter().map(P::from)).collect())
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
    pub table: &'static str,
    /// The seq, as it has to be written.
    pub seq: &'static str,
    /// Its conditions.
    pub condition: String,
    mark: char,
}

/// The parameters of a filter, and the number of the first of them.
pub struct Parameters {
    /// Their values.
    pub texts: Vec<String>,
    mark: char,
    first: usize,
}

impl Dialect {
    /// The statement for the first matches: 1 and 2 are the span, 3 is one more than their limit.
    pub fn matches(&self, filter: &Filter, index: Index, order: Order) -> Statement {
        let Conditions { runs, rest, parameters } = self.conditions(filter, index, 4);
        let text = self.matches.replace("/* matching */", &merge(&runs, &rest, order));
        Statement { text: ordered(&text, order), of_filter: parameters.texts }
    }

    /// The statement that erases the first matches: 1 and 2 are the span, 3 is their limit.
    pub fn erase(&self, filter: &Filter, index: Index) -> Statement {
        let Conditions { runs, rest, parameters } = self.conditions(filter, index, 4);
        let text = self.erase.replace("/* matching */", &merge(&runs, &rest, Order::Ascending));
        Statement { text, of_filter: parameters.texts }
    }

    /// The statement for the next run of a span whose blocks overlap the time of a filter: 1 and 2 are the span, 3 the
    /// most events of a short span of time.
    pub fn overlapping(&self, filter: &Filter, order: Order) -> Statement {
        let mut parameters = self.parameters(4);
        let conditions = of_time(filter, "timestamp", &mut parameters);
        let overlaps = of_block(filter, &mut parameters);
        let text = order.pick(self.overlapping).replace("/* and overlaps */", &overlaps);
        let text = text.replace("/* and of the time */", &conditions);
        Statement { text, of_filter: parameters.texts }
    }

    /// The statement for the seq that 3 entries of an index lead to: 1 and 2 are the span. Null if they lead to its end.
    pub fn reach(&self, filter: &Filter, index: Index, order: Order) -> Statement {
        let mut parameters = self.parameters(4);
        let runs = self.runs(filter, index, &mut parameters);
        let text = self.reach.replace("/* entries */", &merge(&runs, "", order));
        Statement { text: ordered(&text, order), of_filter: parameters.texts }
    }

    /// The statement for the next row of a span, which is 1 and 2. Null if it has none.
    pub fn next_row(&self, order: Order) -> Statement {
        Statement { text: order.pick(self.next_row).into(), of_filter: vec![] }
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
            rest.push_str(&of_time(
                filter,
                &self.text_without_index.replace("{}", "timestamp"),
                &mut parameters,
            ));
        }
        Conditions { runs, rest, parameters }
    }

    /// The runs of an index that hold the events of a filter.
    fn runs(&self, filter: &Filter, index: Index, parameters: &mut Parameters) -> Vec<Run> {
        let run = |table: &'static str, seq: &'static str, condition: &str| Run {
            table,
            seq,
            condition: format!("{condition} and {}", self.is_readable.replace("{}", seq)),
            mark: self.mark,
        };
        let one = |condition: &str| run(self.events, "seq", condition);
        let each = |column: &str, names: Vec<String>| {
            names.iter().map(|name| one(&format!(" and {column} = {name}"))).collect()
        };
        match index {
            Index::Seq => vec![one("")],
            Index::Topics => each("topic", self.add_topics(filter, parameters)),
            Index::Sources => each("source", self.add_sources(filter, parameters)),
            Index::Timestamp => {
                let condition = of_time(filter, "timestamp", parameters);
                vec![run(self.events_by_timestamp, self.seq_without_index, &condition)]
            }
        }
    }

    fn add_topics(&self, filter: &Filter, parameters: &mut Parameters) -> Vec<String> {
        filter.topics.iter().map(|topic| parameters.add(topic.as_str())).collect()
    }

    fn add_sources(&self, filter: &Filter, parameters: &mut Parameters) -> Vec<String> {
        filter.sources.iter().map(|source| parameters.add(&(self.stored_source)(source.as_str()))).collect()
    }

    /// Parameters that are numbered from `first`.
    fn parameters(&self, first: usize) -> Parameters {
        Parameters { texts: Vec::new(), mark: self.mark, first }
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

/// The conditions of a filter's time on a column.
fn of_time(filter: &Filter, column: &str, parameters: &mut Parameters) -> String {
    bounds(filter, [&format!("{column} >="), &format!("{column} <")], parameters)
}

/// The conditions of a filter's time on the bounds of a block.
fn of_block(filter: &Filter, parameters: &mut Parameters) -> String {
    bounds(filter, ["latest >=", "earliest <"], parameters)
}

fn bounds(filter: &Filter, [since, until]: [&str; 2], parameters: &mut Parameters) -> String {
    let mut bound = |comparison: &str, moment: &Option<Timestamp>| match moment {
        Some(moment) => format!(" and {comparison} {}", parameters.add(moment.as_stored())),
        None => String::new(),
    };
    bound(since, &filter.since) + &bound(until, &filter.until)
}

/// A text whose places for the order are filled in.
pub fn ordered(text: &str, order: Order) -> String {
    let (last, up_to) = order.pick([("max", "<="), ("min", ">=")]);
    text.replace("/* order */", order.sql()).replace("/* last */", last).replace("/* up to */", up_to)
}

impl Order {
    /// That of an ascending and a descending one which it needs.
    fn pick<T>(self, [ascending, descending]: [T; 2]) -> T {
        match self {
            Self::Ascending => ascending,
            Self::Descending => descending,
        }
    }

    /// It in SQL.
    pub fn sql(self) -> &'static str {
        self.pick(["asc", "desc"])
    }
}

impl Parameters {
    /// Adds a text, and returns its place in the statement.
    fn add(&mut self, text: &str) -> String {
        self.texts.push(text.into());
        format!("{}{}", self.mark, self.first + self.texts.len() - 1)
    }
}
