//! The texts of the statements that read events, as far as they are this dialect's.

use crate::event::Timestamp;
use crate::store::dialect::{Dialect, Parameters, Statement, texts};
use crate::store::statements::{Conditions, Run, merge, ordered};
use crate::store::{Filter, Index, Layout, Order};

/// The values of this dialect.
pub const SQLITE: Dialect = Dialect {
    mark: '?',
    schema: "",
    identities: "events",
    least_and_greatest: ["min", "max"],
    events_of_topics: "(select name from topics where (/* is wanted */) and last_seq > ?1) \
        cross join events indexed by events_by_topic on topic = name",
    events_by_timestamp: "events indexed by events_by_timestamp",
    events_by_conflict: ("events indexed by events_by_conflict", "conflicts > 0"),
    text_without_index: "+{}",
    timestamp_without_index: "+timestamp",
    seq_beside_timestamp: "+seq",
    is_readable: "gone is null",
    is_erased: "gone = 'erased'",
    is_in: |column, list| format!("{column} in (select value from json_each({list}))"),
    names: |names| serde_json::Value::from(names).to_string().into(),
    seqs: |seqs| serde_json::Value::from(seqs).to_string().into(),
    stored_source: str::to_owned,
    compare,
    partition: None,
    longest_window: i64::MAX,
    page,
    event,
    events: || include_str!("sql/events.sql").replace("/* event */", include_str!("sql/event.sql")),
    rows_of_step: 256,
    texts: texts!(),
};

fn compare(column: &str, operator: &str, moment: &Timestamp, parameters: &mut Parameters) -> String {
    format!("{column} {operator} {}", parameters.add(moment.as_stored().into()))
}

/// The statement for a page: ?1 and ?2 are the span, ?3 and ?4 the events and bytes of a page.
fn page(filter: &Filter, index: Index, order: Order, layout: Layout) -> Statement {
    let Conditions { runs, rest, parameters } = SQLITE.conditions(filter, index, 5);
    let direction = order.sql();
    let (lengths, rows) = match runs.as_slice() {
        [run @ Run { table, condition, is_ordered: true, .. }] => {
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
    Statement { text: ordered(&text, order), parameters: parameters.values }
}

/// The statement for one event.
fn event() -> String {
    include_str!("sql/event_by_seq.sql").replace("/* event */", include_str!("sql/event.sql"))
}

/// The bytes of those columns that have no small bound.
const LENGTH: &str = "octet_length(payload) + coalesce(octet_length(attributes), 0) as length";
