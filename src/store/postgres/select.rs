//! The texts of the statements that read events, as far as they are this dialect's.

use super::append::stored_source;
use crate::event::Timestamp;
use crate::store::dialect::{Dialect, Parameters, Statement, texts};
use crate::store::statements::{Conditions, ordered};
use crate::store::{Filter, Index, Layout, Order};

/// The values of this dialect.
pub const POSTGRES: Dialect = Dialect {
    mark: '$',
    schema: "sekali.",
    identities: "sekali.identities",
    least_and_greatest: ["least", "greatest"],
    // The limit is beyond what a window has. It makes the planner look the topics up, one by one.
    events_of_topics: "(select name from sekali.topics where (/* is wanted */) and last_seq > $1) as wanted \
        cross join lateral (\
            select * from sekali.events where topic = name and seq > $1 and seq <= $2 \
                and seq > (select expired_through from sekali.upkeep) order by seq limit 8192\
        ) as event",
    events_by_timestamp: "sekali.events",
    events_by_conflict: (
        "sekali.events",
        "seq in (select seq from sekali.identities where conflicts is not null and seq > $1 and seq <= $2)",
    ),
    text_without_index: "({} || '')",
    timestamp_without_index: "timestamp + 0",
    seq_beside_timestamp: "seq", // as it is, it tells the planner which partitions to look at
    // The partition of what has expired may still be there.
    is_readable: "{} > (select expired_through from sekali.upkeep)",
    is_erased: "erased and topic <> ''", // not those that are reserved
    is_in: |column, list| format!("{column} = any({list})"),
    names: |names| names.iter().copied().collect(),
    seqs: |seqs| seqs.iter().copied().collect(),
    stored_source,
    compare,
    partition: Some(1 << 20),
    // PostgreSQL plans each read, and the more partitions it has, the longer that takes.
    longest_window: 8 << 20,
    page,
    event,
    events: || include_str!("sql/events.sql").replace("/* event */", include_str!("sql/event.sql")),
    rows_of_step: 2048,
    texts: texts!(),
};

/// An event's timestamp has a part beyond microseconds. The bounds of a block have not.
fn compare(column: &str, operator: &str, moment: &Timestamp, parameters: &mut Parameters) -> String {
    let (micros, nanos) = moment.as_micros();
    let micros = parameters.add(micros.into());
    match column {
        "earliest" => format!("{column} <= {micros}"),
        "latest" => format!("{column} >= {micros}"),
        // Nearly all filters: an event with nanoseconds comes behind the same without.
        _ if nanos == 0 => format!("{column} {operator} {micros}"),
        _ => {
            let nanos = parameters.add(nanos.into());
            format!("({column}, coalesce(nanos, 0)::bigint) {operator} ({micros}, {nanos})")
        }
    }
}

/// The statement for a page: $1 and $2 are the span, $3 and $4 the events and bytes of a page.
fn page(filter: &Filter, index: Index, order: Order, layout: Layout) -> Statement {
    let Conditions { runs, rest, parameters } = POSTGRES.conditions(filter, index, 5);
    let rows: Vec<_> = runs
        .iter()
        .map(|run| format!("select * from {} where {}", run.table, run.condition(&rest)))
        .collect();
    let seq = runs.first().map_or("seq", |run| run.seq);
    let rows = format!("{} order by {seq} {} limit $3", rows.join(" union all "), order.sql());
    let separator = match layout {
        Layout::Array => "','",
        Layout::Lines => "chr(10)",
        Layout::ServerSent => "chr(10) || chr(10)",
    };
    let event = match layout {
        Layout::ServerSent => {
            concat!("'id: ' || seq || chr(10) || 'data: ' || ", include_str!("sql/event.sql"))
        }
        _ => include_str!("sql/event.sql"),
    };
    let text = include_str!("sql/page.sql")
        .replace("/* rows */", &rows)
        .replace("/* event */", event)
        .replace("/* separator */", separator);
    Statement { text: ordered(&text, order), parameters: parameters.values }
}

/// The statement for one event.
fn event() -> String {
    include_str!("sql/event_by_seq.sql").replace("/* event */", include_str!("sql/event.sql"))
}
