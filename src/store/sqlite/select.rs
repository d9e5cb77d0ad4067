//! The texts of the statements that read events, and of the one that erases them.
//!
//! Readers go by `seq`, so an index serves where its entries are in the order of `seq`: all events, those of one
//! topic or those of one source. Several topics are as many such runs, which SQLite merges. The events of a short span
//! of time are few enough to be sorted. The rest of a filter is checked in each row.

use crate::event::Timestamp;
use crate::store::database::Value;
use crate::store::{Filter, Index, Layout, Order};

/// A statement and the parameters of its filter.
pub struct Statement {
    /// The text. Hosts keep prepared statements by their text.
    pub text: String,
    /// Parameters of the filter. They follow those of the statement itself.
    pub parameters: Vec<Value>,
}

/// The statement for a page: ?1 and ?2 are the span, ?3 and ?4 the events and bytes of a page.
pub fn page(filter: &Filter, index: Index, order: Order, layout: Layout) -> Statement {
    let Conditions { runs, rest, parameters } = Conditions::of(filter, index, 5);
    let direction = order.sql();
    let (lengths, rows) = match runs.as_slice() {
        [Run { table, condition, seq: "seq" }] => {
            // Only the bound that the end of the page does not set: SQLite would seek by the wrong one of two.
            let begin = match order {
                Order::Ascending => "seq > ?1",
                Order::Descending => "seq <= ?2",
            };
            (
                format!(
                    "select seq, {LENGTH} from {table} where {}{condition}{rest} order by seq {direction} limit ?3",
                    span("seq")
                ),
                format!("select * from {table} where {begin}{condition}{rest}"),
            )
        }
        runs => {
            let matching = merge(runs, &rest, order);
            (
                format!("select seq, {LENGTH} from ({matching} limit ?3) cross join events using (seq)"),
                format!(
                    "select events.* from ({matching} limit ?3) cross join events using (seq) where true"
                ),
            )
        }
    };
    let separator = match layout {
        Layout::Array => "','",
        Layout::Lines => "char(10)",
        Layout::ServerSent => "char(10, 10)",
    };
    let event = match layout {
        Layout::ServerSent => {
            concat!("'id: ' || seq || char(10) || 'data: ' || ", include_str!("sql/event.sql"))
        }
        _ => include_str!("sql/event.sql"),
    };
    let text = include_str!("sql/page.sql")
        .replace("/* lengths */", &lengths)
        .replace("/* rows */", &rows)
        .replace("/* event */", event)
        .replace("/* separator */", separator);
    Statement { text: ordered(&text, order), parameters }
}

/// The statement for the first matches: ?1 and ?2 are the span, ?3 is one more than their limit.
pub fn matches(filter: &Filter, index: Index, order: Order) -> Statement {
    let Conditions { runs, rest, parameters } = Conditions::of(filter, index, 4);
    let matching = merge(&runs, &rest, order);
    let text = include_str!("sql/matches.sql").replace("/* matching */", &matching);
    Statement { text: ordered(&text, order), parameters }
}

/// The statement that erases the first matches: ?1 and ?2 are the span, ?3 is their limit.
pub fn erase(filter: &Filter, index: Index) -> Statement {
    let Conditions { runs, rest, parameters } = Conditions::of(filter, index, 4);
    let matching = merge(&runs, &rest, Order::Ascending);
    Statement { text: include_str!("sql/erase.sql").replace("/* matching */", &matching), parameters }
}

/// The statement for the next run of a span whose blocks overlap the time of a filter: ?1 and ?2 are the span, ?3 the
/// most events of a short span of time.
pub fn overlapping(filter: &Filter, order: Order) -> Statement {
    let mut parameters = Parameters::from(4);
    let conditions = of_time(filter, "timestamp", &mut parameters);
    let mut bound = |comparison: &str, moment: &Option<Timestamp>| match moment {
        Some(moment) => format!(" and {comparison} {}", parameters.add(moment.as_stored())),
        None => String::new(),
    };
    let overlaps = bound("latest >=", &filter.since) + &bound("earliest <", &filter.until);
    let text = match order {
        Order::Ascending => include_str!("sql/overlapping_ascending.sql"),
        Order::Descending => include_str!("sql/overlapping_descending.sql"),
    };
    let text = text.replace("/* and overlaps */", &overlaps).replace("/* and of the time */", &conditions);
    Statement { text, parameters: parameters.0 }
}

/// The statement for the seq that ?3 entries of an index lead to: ?1 and ?2 are the span. Null if they lead to its end.
pub fn reach(filter: &Filter, index: Index, order: Order) -> Statement {
    let mut parameters = Parameters::from(4);
    let runs = runs(filter, index, &mut parameters);
    let entries = merge(&runs, "", order);
    Statement {
        text: ordered(&include_str!("sql/reach.sql").replace("/* entries */", &entries), order),
        parameters: parameters.0,
    }
}

/// The statement for one event: ?1 is its topic, ?2 its id.
pub fn event_by_id() -> String {
    include_str!("sql/event_by_id.sql").replace("/* event */", include_str!("sql/event.sql"))
}

/// The bytes of those columns that have no small bound.
const LENGTH: &str = "octet_length(payload) + coalesce(octet_length(attributes), 0) as length";

/// The condition of a span: after ?1 and up to ?2.
fn span(seq: &str) -> String {
    format!("{seq} > ?1 and {seq} <= ?2")
}

/// The seqs of all runs, in order.
fn merge(runs: &[Run], rest: &str, order: Order) -> String {
    let run = |Run { table, seq, condition }: &Run| {
        format!("select seq from {table} where {}{condition}{rest}", span(seq))
    };
    let all: Vec<_> = runs.iter().map(run).collect();
    format!("{} order by seq {}", all.join(" union all "), order.sql())
}

fn ordered(text: &str, order: Order) -> String {
    let (last, up_to) = match order {
        Order::Ascending => ("max", "<="),
        Order::Descending => ("min", ">="),
    };
    text.replace("/* order */", order.sql()).replace("/* last */", last).replace("/* up to */", up_to)
}

impl Order {
    fn sql(self) -> &'static str {
        match self {
            Self::Ascending => "asc",
            Self::Descending => "desc",
        }
    }
}

/// A filter as conditions. Each begins with `and`.
struct Conditions {
    runs: Vec<Run>,
    /// The conditions that are checked in each row. The plus keeps SQLite from an index that is not wanted.
    rest: String,
    parameters: Vec<Value>,
}

/// The entries of an index that share its column.
struct Run {
    /// The table, and the index if SQLite must not choose.
    table: &'static str,
    /// The seq, with a plus if the index is not in its order.
    seq: &'static str,
    condition: String,
}

impl Conditions {
    /// The conditions of a filter, whose parameters are numbered from `first`.
    fn of(filter: &Filter, index: Index, first: usize) -> Self {
        let mut parameters = Parameters::from(first);
        let runs = runs(filter, index, &mut parameters);
        let mut rest = String::new();
        if index != Index::Topics && !filter.topics.is_empty() {
            let topics = filter.topics.iter().map(|topic| topic.as_str());
            rest.push_str(&format!(" and +topic in ({})", parameters.add_all(topics).join(", ")));
        }
        if index != Index::Sources && !filter.sources.is_empty() {
            let sources = filter.sources.iter().map(|source| source.as_str());
            rest.push_str(&format!(" and +source in ({})", parameters.add_all(sources).join(", ")));
        }
        if index != Index::Timestamp {
            rest.push_str(&of_time(filter, "+timestamp", &mut parameters));
        }
        Self { runs, rest, parameters: parameters.0 }
    }
}

/// The runs of an index that hold the events of a filter.
fn runs(filter: &Filter, index: Index, parameters: &mut Parameters) -> Vec<Run> {
    let one = |condition: &str| Run {
        table: "events",
        seq: "seq",
        condition: format!("{condition} and gone is null"),
    };
    let each = |column: &str, names: Vec<String>| {
        names.iter().map(|name| one(&format!(" and {column} = {name}"))).collect()
    };
    match index {
        Index::Seq => vec![one("")],
        Index::Topics => each("topic", parameters.add_all(filter.topics.iter().map(|topic| topic.as_str()))),
        Index::Sources => {
            each("source", parameters.add_all(filter.sources.iter().map(|source| source.as_str())))
        }
        Index::Timestamp => vec![Run {
            table: "events indexed by events_by_timestamp",
            seq: "+seq",
            ..one(&of_time(filter, "timestamp", parameters))
        }],
    }
}

fn of_time(filter: &Filter, column: &str, parameters: &mut Parameters) -> String {
    let mut bound = |comparison: &str, moment: &Option<Timestamp>| match moment {
        Some(moment) => format!(" and {column} {comparison} {}", parameters.add(moment.as_stored())),
        None => String::new(),
    };
    bound(">=", &filter.since) + &bound("<", &filter.until)
}

/// The parameters of a filter, and the number of the first of them.
struct Parameters(Vec<Value>, usize);

impl Parameters {
    fn from(first: usize) -> Self {
        Self(Vec::new(), first)
    }

    /// Adds a text, and returns its place in the statement.
    fn add(&mut self, text: &str) -> String {
        self.0.push(text.into());
        format!("?{}", self.1 + self.0.len() - 1)
    }

    fn add_all<'t>(&mut self, texts: impl Iterator<Item = &'t str>) -> Vec<String> {
        texts.map(|text| self.add(text)).collect()
    }
}
