//! The steps of a read: which run of seq to read next, and by which index, so that each step costs little whatever the
//! filter and the size of the store.
//!
//! A filter by topics or by sources alone is served by their index, whose every entry matches. Any other one may pass
//! over many events without a match. It is read in windows: each begins at the next event that the blocks do not
//! exclude by their timestamps, and ends after so many entries of the index that leads farthest with them. Where events
//! are partitioned, a window by timestamps ends with its partition, so that no other one is looked at.

use super::{Filter, Index, Order, Seq, Span, StoreError, Window};

/// Entries of an index in one window. Each may mean a look at an event. Tests see many windows in a small store.
pub const ENTRIES: i64 = if cfg!(test) { 64 } else { 1024 };

/// Rows of a window without a filter: only those whose events are gone cost a look without a match.
const ROWS: i64 = 64 * ENTRIES;

/// Entries of topics with a prefix in one window, where they are spread evenly. All are sorted, whatever is asked for.
const SORTED: i64 = ENTRIES / 4;

/// Entries of topics with a prefix in one window, at most.
pub const FEW: i64 = 4 * SORTED;

/// The share of a filter's topics in the events of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The number of these topics.
    pub topics: i64,
    /// Their events, those that are gone included.
    pub events: i64,
    /// All events of the store.
    pub all: i64,
}

/// Probes the indexes of a store, each time at a bounded cost.
#[allow(async_fn_in_trait)] // An instance has one thread: futures need not be Send.
pub trait IndexProbe {
    /// The seqs of a partition of the events, if they have some.
    fn partition(&self) -> Option<Seq>;

    /// Seqs of one window, at most.
    fn longest_window(&self) -> i64;

    /// The next run of a span whose blocks overlap the time of a filter. It is empty if there is none.
    async fn overlapping(&self, filter: &Filter, span: Span, order: Order) -> Result<Span, StoreError>;

    /// The share of those of a filter's topics that a span may have.
    async fn share(&self, filter: &Filter, span: Span) -> Result<Share, StoreError>;

    /// The next event of a filter's topics in a span, which is looked up for each of them.
    async fn next_of_topics(
        &self,
        filter: &Filter,
        span: Span,
        order: Order,
    ) -> Result<Option<Seq>, StoreError>;

    /// True if a span, all of which may be read, has an event that matches.
    async fn has_some(&self, filter: &Filter, span: Span, order: Order) -> Result<bool, StoreError>;

    /// True if a span has fewer than [`FEW`] events of a filter's topics.
    async fn has_few(&self, filter: &Filter, span: Span) -> Result<bool, StoreError>;

    /// True if the time of a filter has fewer than [`ENTRIES`] events, in the partitions of a span.
    async fn has_short_time(&self, filter: &Filter, span: Span) -> Result<bool, StoreError>;

    /// The seq that the next [`ENTRIES`] entries of an index lead to; `None` if they lead to the end of the span.
    async fn reach(
        &self,
        filter: &Filter,
        span: Span,
        index: Index,
        order: Order,
    ) -> Result<Option<Seq>, StoreError>;

    /// The next row of a span; `None` if it has none.
    async fn next_row(&self, span: Span, order: Order) -> Result<Option<Seq>, StoreError>;
}

/// The next window of a span.
///
/// # Errors
/// The errors of the probe.
pub async fn next(
    probe: &impl IndexProbe,
    filter: &Filter,
    span: Span,
    order: Order,
) -> Result<Window, StoreError> {
    let window = next_of_any_length(probe, filter, span, order).await?;
    if window.span.len() <= probe.longest_window() {
        return Ok(window);
    }
    let rest = behind_gap(probe, window.span, order).await?;
    Ok(rest.map_or(window, |rest| Window { span: rest.first(probe.longest_window(), order), ..window }))
}

async fn next_of_any_length(
    probe: &impl IndexProbe,
    filter: &Filter,
    span: Span,
    order: Order,
) -> Result<Window, StoreError> {
    let is_by_time = filter.since.is_some() || filter.until.is_some();
    let (by_topic, by_source) = (!filter.topics.is_empty(), !filter.sources.is_empty());
    if filter.has_conflicts {
        return by_conflicts(probe, filter, span, order).await;
    }
    match (is_by_time, by_topic, by_source) {
        _ if filter.has_prefixes() && span.is_empty() => return Ok(Window { span, index: Index::Seq }),
        (false, true, false) if filter.has_prefixes() => return by_prefix(probe, filter, span, order).await,
        (false, true, false) => return Ok(Window { span, index: Index::Topics }),
        (false, false, true) => return Ok(Window { span, index: Index::Sources }),
        _ if span.is_empty() => return Ok(Window { span, index: Index::Seq }),
        _ => {}
    }
    let mut span = span;
    if is_by_time {
        let mut run = probe.overlapping(filter, span, order).await?;
        if run.len() > ROWS {
            match behind_gap(probe, run, order).await? {
                Some(rest) => run = rest,
                None => return Ok(Window { span: run, index: Index::Seq }), // reading it costs nothing
            }
        }
        if run.is_empty() {
            return Ok(Window { span: run, index: Index::Seq });
        }
        let part = probe.partition().map_or(span, |partition| run.within(partition, order));
        if probe.has_short_time(filter, part).await? {
            return Ok(Window { span: part, index: Index::Timestamp });
        }
        span = run;
    } else if span.len() > ROWS {
        match behind_gap(probe, span, order).await? {
            Some(rest) => span = rest,
            None => return Ok(Window { span, index: Index::Seq }), // reading it costs nothing
        }
    }
    let rows = if is_by_time || by_topic { ENTRIES } else { ROWS };
    let mut farthest = Window { span: span.first(rows, order), index: Index::Seq };
    for (index, is_usable) in [(Index::Topics, by_topic), (Index::Sources, by_source)] {
        if is_usable && !span.is_empty() {
            let last = match index {
                Index::Topics if filter.has_prefixes() => {
                    match by_prefix(probe, filter, span, order).await? {
                        Window { index: Index::Topics, span } => Some(span.last(order)),
                        _ => continue,
                    }
                }
                _ => probe.reach(filter, span, index, order).await?,
            };
            let reached = last.map_or(span, |last| span.up_to(last, order));
            if reached.len() > farthest.span.len() {
                farthest = Window { span: reached, index };
            }
        }
    }
    Ok(farthest)
}

/// The topics with a prefix may be many, and their events few or nearly all. So many seqs are read as have a few hundred of
/// their events where these are spread evenly, or fewer where that turns out to be far more. Where it takes longer to
/// look at every topic than at every event, all events are read.
async fn by_prefix(
    probe: &impl IndexProbe,
    filter: &Filter,
    span: Span,
    order: Order,
) -> Result<Window, StoreError> {
    let mut span = span;
    if span.len() > probe.longest_window() {
        match behind_gap(probe, span, order).await? {
            Some(rest) => span = rest.first(probe.longest_window(), order),
            None => return Ok(Window { span, index: Index::Seq }), // reading it costs nothing
        }
    }
    let Share { topics, events, all } = probe.share(filter, span).await?;
    let spread = SORTED.saturating_mul(all / events.max(1)).clamp(SORTED, span.len().max(SORTED));
    let is_dense = |seqs: i64| seqs <= SORTED.max(topics * EVENTS_OF_TOPIC);
    let all_events = Window { span: span.first(spread.clamp(FEW, ROWS), order), index: Index::Seq };
    let of_topics = Filter { topics: filter.topics.clone(), ..Filter::default() };
    if is_dense(spread) && probe.has_some(&of_topics, all_events.span, order).await? {
        return Ok(all_events);
    }
    match probe.next_of_topics(filter, span, order).await? {
        Some(next) => span = from(next, span, order),
        None => return Ok(Window { span, index: Index::Topics }), // reading it finds as little
    }
    let mut seqs = spread;
    while !is_dense(seqs) {
        let part = span.first(seqs, order);
        if probe.has_few(filter, part).await? {
            return Ok(Window { span: part, index: Index::Topics });
        }
        seqs /= 8;
    }
    Ok(Window { span: span.first(seqs.clamp(FEW, ROWS), order), index: Index::Seq })
}

/// Events that are read in the time in which those of a topic are looked up.
const EVENTS_OF_TOPIC: i64 = 16;

/// Events with conflicts are few: their index is the way to them, whatever else is asked for.
async fn by_conflicts(
    probe: &impl IndexProbe,
    filter: &Filter,
    span: Span,
    order: Order,
) -> Result<Window, StoreError> {
    let is_all = *filter == Filter { has_conflicts: true, ..Filter::default() };
    let last = match is_all || span.is_empty() {
        true => None,
        false => probe.reach(filter, span, Index::Conflicts, order).await?,
    };
    Ok(Window { span: last.map_or(span, |last| span.up_to(last, order)), index: Index::Conflicts })
}

/// The part of a span from its next row on; `None` if it has no rows. A restore leaves gaps of billions.
pub async fn behind_gap(
    probe: &impl IndexProbe,
    span: Span,
    order: Order,
) -> Result<Option<Span>, StoreError> {
    Ok(probe.next_row(span, order).await?.map(|next| from(next, span, order)))
}

/// The part of a span from a seq on.
fn from(seq: Seq, span: Span, order: Order) -> Span {
    match order {
        Order::Ascending => Span { after: seq - 1, ..span },
        Order::Descending => Span { through: seq, ..span },
    }
}
