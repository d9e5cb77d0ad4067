//! The texts of the statements that read events, and of the one that erases them.

use crate::store::conditions::{Conditions, Dialect, Parameters, Run, merge, of_block, of_time, ordered};
use crate::store::database::Value;
use crate::store::{Filter, Index, Layout, Order};

const SQLITE: Dialect = Dialect {
    mark: '?',
    events: "events",
    events_by_timestamp: "events indexed by events_by_timestamp",
    text_without_index: "+{}",
    seq_without_index: "+seq",
    is_readable: "gone is null",
    stored_source: str::to_owned,
};

/// A statement and the parameters of its filter.
pub struct Statement {
    /// The text. Hosts keep prepared statements by their text.
    pub text: String,
    /// Parameters of the filter. They follow those of the statement itself.
    pub parameters: Vec<Value>,
}

impl Statement {
    fn new(text: String, parameters: Parameters) -> Self {
        Self { text, parameters: parameters.texts.into_iter().map(Value::Text).collect() }
    }
}

/// The statement for a page: ?1 and ?2 are the span, ?3 and ?4 the events and bytes of a page.
pub fn page(filter: &Filter, index: Index, order: Order, layout: Layout) -> Statement {
    let Conditions { runs, rest, parameters } = SQLITE.conditions(filter, index, 5);
    let direction = order.sql();
    let (lengths, rows) = match runs.as_slice() {
        [run @ Run { table, condition, seq: "seq", .. }] => {
            // Only the bound that the end of the page does not set: SQLite would seek by the wrong one of two.
            let begin = match order {
                Order::Ascending => "seq > ?1",
                Order::Descending => "seq <= ?2",
            };
            (
                format!(
                    "select seq, {LENGTH} from {table} where {} order by seq {direction} limit ?3",
                    run.condition(&rest)
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
    Statement::new(ordered(&text, order), parameters)
}

/// The statement for the first matches: ?1 and ?2 are the span, ?3 is one more than their limit.
pub fn matches(filter: &Filter, index: Index, order: Order) -> Statement {
    let Conditions { runs, rest, parameters } = SQLITE.conditions(filter, index, 4);
    let matching = merge(&runs, &rest, order);
    let text = include_str!("sql/matches.sql").replace("/* matching */", &matching);
    Statement::new(ordered(&text, order), parameters)
}

/// The statement that erases the first matches: ?1 and ?2 are the span, ?3 is their limit.
pub fn erase(filter: &Filter, index: Index) -> Statement {
    let Conditions { runs, rest, parameters } = SQLITE.conditions(filter, index, 4);
    let matching = merge(&runs, &rest, Order::Ascending);
    Statement::new(include_str!("sql/erase.sql").replace("/* matching */", &matching), parameters)
}

/// The statement for the next run of a span whose blocks overlap the time of a filter: ?1 and ?2 are the span, ?3 the
/// most events of a short span of time.
pub fn overlapping(filter: &Filter, order: Order) -> Statement {
    let mut parameters = SQLITE.parameters(4);
    let conditions = of_time(filter, "timestamp", &mut parameters);
    let overlaps = of_block(filter, &mut parameters);
    let text = match order {
        Order::Ascending => include_str!("sql/overlapping_ascending.sql"),
        Order::Descending => include_str!("sql/overlapping_descending.sql"),
    };
    let text = text.replace("/* and overlaps */", &overlaps).replace("/* and of the time */", &conditions);
    Statement::new(text, parameters)
}

/// The statement for the seq that ?3 entries of an index lead to: ?1 and ?2 are the span. Null if they lead to its end.
pub fn reach(filter: &Filter, index: Index, order: Order) -> Statement {
    let mut parameters = SQLITE.parameters(4);
    let runs = SQLITE.runs(filter, index, &mut parameters);
    let entries = merge(&runs, "", order);
    let text = include_str!("sql/reach.sql").replace("/* entries */", &entries);
    Statement::new(ordered(&text, order), parameters)
}

/// The statement for one event: ?1 is its topic, ?2 its id.
pub fn event_by_id() -> String {
    include_str!("sql/event_by_id.sql").replace("/* event */", include_str!("sql/event.sql"))
}

/// The bytes of those columns that have no small bound.
const LENGTH: &str = "octet_length(payload) + coalesce(octet_length(attributes), 0) as length";
