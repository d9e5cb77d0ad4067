//! The texts of the statements that read events, for what a reader may ask for.
//!
//! Readers go by `seq`, so an index serves where its entries are in the order of `seq`: all events, those of one
//! topic or those of one source. Several topics are as many such runs, which SQLite merges; what else is asked
//! for is looked at in each row. A span of time alone is first narrowed to the run of `seq` that it lies in.

use super::sqlite::Value;
use super::{Direction, Filter, Format};

/// A statement and the parameters behind those it has by itself.
pub struct Statement {
    /// Its text; hosts keep the prepared statements of texts that come again.
    pub text: String,
    /// Parameters of the filter, which follow those of the statement.
    pub parameters: Vec<Value>,
}

/// The statement for a page: ?1 and ?2 are the span, ?3 how many events, ?4 how many bytes.
pub fn page(filter: &Filter, direction: Direction, format: Format) -> Statement {
    let Conditions { runs, rest, parameters } = Conditions::of(filter, 5);
    let order = direction.order();
    let (lengths, rows) = match runs.as_slice() {
        [] | [_] => {
            let condition = runs.first().map(String::as_str).unwrap_or_default();
            let run = format!("{SPAN}{condition}{rest}");
            // Only the bound that the page's own end does not set: of two, SQLite would seek by the wrong one.
            let begin = match direction {
                Direction::Ascending => "seq > ?1",
                Direction::Descending => "seq <= ?2",
            };
            (
                format!("select seq, {LENGTH} from events where {run} order by seq {order} limit ?3"),
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
    let separator = match format {
        Format::Json => "','",
        Format::Lines => "char(10)",
        Format::Events => "char(10, 10)",
    };
    let event = match format {
        Format::Events => concat!("'id: ' || seq || char(10) || 'data: ' || ", include_str!("event.sql")),
        _ => include_str!("event.sql"),
    };
    let text = include_str!("page.sql")
        .replace("/* lengths */", &lengths)
        .replace("/* rows */", &rows)
        .replace("/* event */", event)
        .replace("/* separator */", separator);
    Statement { text: directed(&text, direction), parameters }
}

/// The statement for where a limited answer ends: ?1 and ?2 are the span, ?3 one more than the limit.
pub fn boundary(filter: &Filter, direction: Direction) -> Statement {
    let Conditions { runs, rest, parameters } = Conditions::of(filter, 4);
    let matching = merge(&runs, &rest, direction.order());
    let text = include_str!("boundary.sql").replace("/* matching */", &matching);
    Statement { text: directed(&text, direction), parameters }
}

/// The statement for one event: ?1 is its topic, ?2 its id.
pub fn event_by_id() -> String {
    include_str!("event_by_id.sql").replace("/* event */", include_str!("event.sql"))
}

/// The bytes of an event that have no small bound.
const LENGTH: &str = "octet_length(payload) + coalesce(octet_length(attributes), 0) as length";

/// The seqs that are read: after ?1 and up to ?2.
const SPAN: &str = "seq > ?1 and seq <= ?2";

/// The seqs of all runs, in order.
fn merge(runs: &[String], rest: &str, order: &str) -> String {
    let run = |condition: &str| format!("select seq from events where {SPAN}{condition}{rest}");
    let all: Vec<_> = match runs {
        [] => vec![run("")],
        runs => runs.iter().map(|condition| run(condition)).collect(),
    };
    format!("{} order by seq {order}", all.join(" union all "))
}

fn directed(text: &str, direction: Direction) -> String {
    let (last, up_to) = match direction {
        Direction::Ascending => ("max", "<="),
        Direction::Descending => ("min", ">="),
    };
    text.replace("/* order */", direction.order()).replace("/* last */", last).replace("/* up to */", up_to)
}

impl Direction {
    fn order(self) -> &'static str {
        match self {
            Self::Ascending => "asc",
            Self::Descending => "desc",
        }
    }
}

/// A filter as conditions, each of which begins with `and`.
struct Conditions {
    /// One for each run of an index that is in the order of seq; none for all events.
    runs: Vec<String>,
    /// What is looked at in each row. The plus keeps SQLite from an index that is not in the order of seq.
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
