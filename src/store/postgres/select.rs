//! The texts of the statements that read events, as far as they are this dialect's.

use super::append::stored_source;
use crate::store::statements::{Conditions, Dialect, Statement, ordered};
use crate::store::{Filter, Index, Layout, Order};

/// What is different in this dialect.
pub const POSTGRES: Dialect = Dialect {
    mark: '$',
    events: "sekali.events",
    events_by_timestamp: "sekali.events",
    // The partition of what has expired may still be there.
    is_readable: "{} > (select expired_through from sekali.upkeep)",
    text_without_index: "({} || '')",
    seq_without_index: "(seq + 0)",
    stored_source,
    matches: include_str!("sql/matches.sql"),
    erase: include_str!("sql/erase.sql"),
    overlapping: [
        include_str!("sql/overlapping_ascending.sql"),
        include_str!("sql/overlapping_descending.sql"),
    ],
    reach: include_str!("sql/reach.sql"),
    next_row: [include_str!("sql/next_row.sql"), include_str!("sql/previous_row.sql")],
    page,
};

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
    Statement { text: ordered(&text, order), of_filter: parameters.texts }
}

/// The statement for one event: $1 is its topic, $2 its id.
pub fn event_by_id() -> String {
    include_str!("sql/event_by_id.sql").replace("/* event */", include_str!("sql/event.sql"))
}
