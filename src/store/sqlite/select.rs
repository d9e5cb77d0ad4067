//! The texts of the statements that read events.
//!
//! Readers go by `seq`, so an index serves where its entries are in the order of `seq`: all events, those of one
//! topic or those of one source. Several topics are as many such runs, which SQLite merges. The rest of a filter is
//! checked in each row.

use crate::store::database::Value;
use crate::store::{Filter, Layout, Order};

/// A statement and the parameters of its filter.
pub struct Statement {
    /// The text. Hosts keep prepared statements by their text.
    pub text: String,
    /// Parameters of the filter. They follow those of the statement itself.
    pub parameters: Vec<Value>,
}

/// The statement for a page: ?1 and ?2 are the span, ?3 and ?4 the events and bytes of a page.
pub fn page(filter: &Filter, order: Order, layout: Layout) -> Statement {
    let Conditions { runs, rest, parameters } = Conditions::of(filter, 5);
    let direction = order.sql();
    let (lengths, rows) = match runs.as_slice() {
        [] | [_] => {
            let condition = runs.first().map(String::as_str).unwrap_or_default();
            let run = format!("{SPAN}{condition}{rest}");
            // Only the bound that the end of the page does not set: SQLite would seek by the wrong one of two.
            let begin = match order {
                Order::Ascending => "seq > ?1",
                Order::Descending => "seq <= ?2",
            };
            (
                format!("select seq, {LENGTH} from events where {run} order by seq {direction} limit ?3"),
                format!("select * from events where {begin}{condition}{rest}"),
            )
        }
        _ => {
            let matching = merge(&runs, &rest, order);
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

/// The statement for the end of a limited answer: ?1 and ?2 are the span, ?3 is one more than the limit.
pub fn boundary(filter: &Filter, order: Order) -> Statement {
    let Conditions { runs, rest, parameters } = Conditions::of(filter, 4);
    let matching = merge(&runs, &rest, order);
    let text = include_str!("sql/boundary.sql").replace("/* matching */", &matching);
    Statement { text: ordered(&text, order), parameters }
}

/// The statement for one event: ?1 is its topic, ?2 its id.
pub fn event_by_id() -> String {
    include_str!("sql/event_by_id.sql").replace("/* event */", include_str!("sql/event.sql"))
}

/// The bytes of those columns that have no small bound.
const LENGTH: &str = "octet_length(payload) + coalesce(octet_length(attributes), 0) as length";

/// The span: after ?1 and up to ?2.
const SPAN: &str = "seq > ?1 and seq <= ?2";

/// The seqs of all runs, in order.
fn merge(runs: &[String], rest: &str, order: Order) -> String {
    let run = |condition: &str| format!("select seq from events where {SPAN}{condition}{rest}");
    let all: Vec<_> = match runs {
        [] => vec![run("")],
        runs => runs.iter().map(|condition| run(condition)).collect(),
    };
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
    /// One for each run of an index that is in the order of seq; none for all events.
    runs: Vec<String>,
    /// The condition that is checked in each row. The plus keeps SQLite from an index that is not in the order of seq.
    rest: String,
    parameters: Vec<Value>,
}

impl Conditions {
    /// The conditions of a filter, whose parameters are numbered from `first`.
    fn of(filter: &Filter, first: usize) -> Self {
        let mut parameters = Vec::new();
        let mut parameter = |text: &str| {
            parameters.push(Value::Text(text.to_owned()));
            format!("?{}", first + parameters.len() - 1)
        };
        let topics: Vec<_> = filter.topics.iter().map(|topic| parameter(topic.as_str())).collect();
        let sources: Vec<_> = filter.sources.iter().map(|source| parameter(source.as_str())).collect();
        let mut rest = String::new();
        let (column, values) = if topics.is_empty() { ("source", &sources) } else { ("topic", &topics) };
        if !topics.is_empty() && !sources.is_empty() {
            rest.push_str(&format!(" and +source in ({})", sources.join(", ")));
        }
        let runs = values.iter().map(|value| format!(" and {column} = {value}")).collect();
        if let Some(since) = &filter.since {
            rest.push_str(&format!(" and +timestamp >= {}", parameter(since.as_stored())));
        }
        if let Some(until) = &filter.until {
            rest.push_str(&format!(" and +timestamp < {}", parameter(until.as_stored())));
        }
        Self { runs, rest, parameters }
    }
}
