//! The statements that read by a filter, in any dialect.
//!
//! Readers go by `seq`, so an index serves where its entries are in the order of `seq`: all events, those of one
//! topic or those of one source. Several topics are as many such runs, which the database merges. The events of a short
//! span of time are few enough to be sorted, and so are those of the topics with a prefix in one window. The rest of a filter is checked in each row.
//!
//! A statement that reads a span returns the newest seq of its snapshot in its last column.

use super::consume::{FailureState, Which};
use super::dialect::{Dialect, Parameters, Statement};
use super::{Filter, Index, Order, Seq};

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
    /// True if its entries are in the order of seq.
    pub is_ordered: bool,
    /// Its conditions.
    pub condition: String,
    mark: char,
}

impl Dialect {
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

    /// The statement for the number of a filter's entries in an index of a single run, up to 3: 1 and 2 are the span. That
    /// of timestamps is counted as a whole, or in the partitions of the span.
    pub fn few(&self, filter: &Filter, index: Index) -> Statement {
        let mut parameters = self.parameters(4);
        let runs = self.runs(filter, index, &mut parameters);
        let entries: String = match (index, self.partition) {
            (Index::Timestamp, None) => {
                runs.iter().map(|run| format!("{} where true{}", run.table, run.condition)).collect()
            }
            _ => runs.iter().map(|run| format!("{} where {}", run.table, run.condition(""))).collect(),
        };
        let text = self.text(include_str!("sql/few.sql")).replace("/* entries */", &entries);
        Statement { text, parameters: parameters.values }
    }

    /// The statement for the share of a filter's topics in the store: 1 is the seq behind which they count.
    pub fn share(&self, filter: &Filter) -> Statement {
        let mut parameters = self.parameters(2);
        let is_wanted = self.is_of_topics("name", filter, &mut parameters);
        let text = self.text(include_str!("sql/share.sql")).replace("/* is wanted */", &is_wanted);
        Statement { text, parameters: parameters.values }
    }

    /// The statement for the next seq of a filter's topics: 1 and 2 are the span. Null if it has none.
    pub fn next_of_topics(&self, filter: &Filter, order: Order) -> Statement {
        let mut parameters = self.parameters(3);
        let is_wanted = self.is_of_topics("name", filter, &mut parameters);
        let text = self.text(include_str!("sql/next_of_topics.sql"));
        let text = text
            .replace("/* is readable */", &self.is_readable.replace("{}", "seq"))
            .replace("/* is wanted */", &is_wanted);
        Statement { text: ordered(&text, order), parameters: parameters.values }
    }

    /// The statement for the seq that 3 entries of an index lead to: 1 and 2 are the span. Null if they lead to its end.
    pub fn reach(&self, filter: &Filter, index: Index, order: Order) -> Statement {
        let mut parameters = self.parameters(4);
        let runs = self.runs(filter, index, &mut parameters);
        let text = self.text(include_str!("sql/reach.sql"));
        let text = text.replace("/* entries */", &merge(&runs, "", order));
        Statement { text: ordered(&text, order), parameters: parameters.values }
    }

    /// The statement for the number of events of a filter's topics that were erased: 1 and 2 are the span.
    pub fn erased(&self, filter: &Filter) -> Statement {
        let mut parameters = self.parameters(3);
        let is_wanted = match filter.topics.as_slice() {
            [] => String::new(),
            _ => format!(" and ({})", self.is_of_topics("topic", filter, &mut parameters)),
        };
        let text = self.text(include_str!("sql/erased.sql")).replace("/* and is wanted */", &is_wanted);
        Statement { text, parameters: parameters.values }
    }

    /// The statement for failures of a consumer: 1 is its name, 2 the most of them.
    pub fn failures(&self, which: Which<'_>) -> Statement {
        let mut parameters = self.parameters(3);
        let of = &mut parameters;
        let lowest =
            |of_lanes: &str| self.text(include_str!("sql/lowest.sql")).replace("/* of lanes */", of_lanes);
        let condition = match which {
            Which::Heads { but } => {
                let but = self.is_of_seqs(but, of);
                format!("seq in ({}) and not {but} order by due_at, seq", lowest(""))
            }
            Which::Lanes(lanes) => {
                let lanes = self.is_of_lanes(lanes, of);
                let in_turns = "row_number() over (partition by lane order by seq), seq";
                format!("dead = 0 and {lanes} order by {in_turns}")
            }
            Which::Lowest { lanes, but } => {
                let of_lanes =
                    format!(" and {} and not {}", self.is_of_lanes(lanes, of), self.is_of_seqs(but, of));
                format!("seq in ({}) order by seq", lowest(&of_lanes))
            }
            Which::Of(seqs) => format!("{} order by seq", self.is_of_seqs(seqs, of)),
            Which::Behind(after) => format!("seq > {} order by seq", of.add(after.into())),
            Which::Held(after) => format!("dead = 0 and seq > {} order by seq", of.add(after.into())),
            Which::State(state, after) => {
                let is_of_state = match state {
                    FailureState::Parked => format!("seq in ({})", lowest("")),
                    FailureState::Waiting => format!("dead = 0 and seq not in ({})", lowest("")),
                    FailureState::Dead => "dead = 1".to_owned(),
                };
                format!("{is_of_state} and seq > {} order by seq", of.add(after.into()))
            }
        };
        let text = self.texts.failures.replace("/* which */", &format!(" and {condition}"));
        Statement { text, parameters: parameters.values }
    }

    fn is_of_seqs(&self, seqs: &[Seq], parameters: &mut Parameters) -> String {
        (self.is_in)("seq", &parameters.add((self.seqs)(seqs)))
    }

    fn is_of_lanes(&self, lanes: &[String], parameters: &mut Parameters) -> String {
        let lanes: Vec<_> = lanes.iter().map(String::as_str).collect();
        (self.is_in)("lane", &parameters.add((self.names)(&lanes)))
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
        let without_index = |column| self.text_without_index.replace("{}", column);
        if index != Index::Topics && !filter.topics.is_empty() {
            let is_of_topics = self.is_of_topics(&without_index("topic"), filter, &mut parameters);
            rest.push_str(&format!(" and ({is_of_topics})"));
        }
        if index != Index::Sources && !filter.sources.is_empty() {
            let sources = self.add_sources(filter, &mut parameters).join(", ");
            rest.push_str(&format!(" and {} in ({sources})", without_index("source")));
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
            is_ordered: true,
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
            Index::Topics if filter.has_prefixes() => {
                let is_wanted = self.is_of_topics("name", filter, parameters);
                let table = self.events_of_topics.replace("/* is wanted */", &is_wanted);
                vec![Run { is_ordered: false, ..run(&table, "seq", "") }]
            }
            Index::Topics => each("topic", self.add_topics(filter, parameters)),
            Index::Sources => each("source", self.add_sources(filter, parameters)),
            Index::Conflicts => {
                let (table, has_conflicts) = self.events_by_conflict;
                vec![run(table, "seq", &format!(" and {has_conflicts}"))]
            }
            Index::Timestamp => {
                let condition = self.of_time(filter, ["timestamp"; 2], parameters);
                let run = run(self.events_by_timestamp, self.seq_beside_timestamp, &condition);
                vec![Run { is_ordered: false, ..run }]
            }
        }
    }

    fn add_topics(&self, filter: &Filter, parameters: &mut Parameters) -> Vec<String> {
        filter.topics.iter().map(|topic| parameters.add(topic.as_str().into())).collect()
    }

    /// The condition that a column is one of the filter's topics.
    fn is_of_topics(&self, column: &str, filter: &Filter, parameters: &mut Parameters) -> String {
        if !filter.has_prefixes() {
            return format!("{column} in ({})", self.add_topics(filter, parameters).join(", "));
        }
        let ranges = filter.topics.iter().map(|topic| {
            let [from, to] = topic.range().map(|bound| parameters.add(bound.as_str().into()));
            format!("{column} >= {from} and {column} < {to}")
        });
        ranges.collect::<Vec<_>>().join(" or ")
    }

    fn add_sources(&self, filter: &Filter, parameters: &mut Parameters) -> Vec<String> {
        filter
            .sources
            .iter()
            .map(|source| parameters.add((self.stored_source)(source.as_str()).into()))
            .collect()
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
    let (first, last, up_to) = order.pick([("min", "max", "<="), ("max", "min", ">=")]);
    text.replace("/* order */", order.sql())
        .replace("/* first */", first)
        .replace("/* last */", last)
        .replace("/* up to */", up_to)
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
