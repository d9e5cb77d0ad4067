//! The reads of a large store, which are the same in every dialect but for the texts of their statements.

use super::database::Row;
use super::lanes::Purpose;
use super::statements::{Dialect, Statement};
use super::window::{ENTRIES, Looks};
use super::{Filter, Index, Layout, Matches, Order, Page, PageSize, Seq, Span, StoreError, Window};

/// Runs the statements of a dialect.
#[allow(async_fn_in_trait)] // An instance has one thread: futures need not be Send.
pub trait Queries {
    /// The parameters of statements.
    type Parameter: From<i64> + From<String>;

    /// The dialect.
    const DIALECT: &'static Dialect;

    /// The first row of a query, which must have one.
    async fn query_row(
        &self,
        purpose: Purpose,
        statement: &str,
        parameters: &[Self::Parameter],
    ) -> Result<Row, StoreError>;

    /// The row of a statement, whose own parameters come before those of its filter.
    async fn run(&self, purpose: Purpose, statement: Statement, own: &[i64]) -> Result<Row, StoreError> {
        let (text, parameters) = statement.with(own);
        self.query_row(purpose, &text, &parameters).await
    }
}

/// The first `limit` events of a window that match.
pub async fn matches<Q: Queries>(
    queries: &Q,
    filter: &Filter,
    Window { span, index }: Window,
    order: Order,
    limit: u32,
) -> Result<Matches, StoreError> {
    let statement = Q::DIALECT.matches(filter, index, order);
    let own = [span.after, span.through, i64::from(limit) + 1];
    Matches::of(&queries.run(Purpose::Answer, statement, &own).await?, limit)
}

/// The first events of a window, as many as fit a page; `None` if none match.
pub async fn page<Q: Queries>(
    queries: &Q,
    filter: &Filter,
    Window { span, index }: Window,
    order: Order,
    layout: Layout,
    size: PageSize,
) -> Result<Option<Page>, StoreError> {
    let statement = (Q::DIALECT.page)(filter, index, order, layout);
    let own = [span.after, span.through, size.events.into(), size.bytes.into()];
    let purpose = if size == PageSize::SMALL { Purpose::Follow } else { Purpose::Answer };
    Page::of(queries.run(purpose, statement, &own).await?, size)
}

impl<Q: Queries> Looks for Q {
    async fn overlapping(
        &self,
        filter: &Filter,
        span: Span,
        order: Order,
    ) -> Result<Option<Span>, StoreError> {
        let statement = Q::DIALECT.overlapping(filter, order);
        let row = self.run(Purpose::Look, statement, &[span.after, span.through, ENTRIES]).await?;
        let is_short = row.integer(2)? < ENTRIES;
        Ok(if is_short { None } else { Some(Span { after: row.integer(0)?, through: row.integer(1)? }) })
    }

    async fn reach(
        &self,
        filter: &Filter,
        span: Span,
        index: Index,
        order: Order,
    ) -> Result<Option<Seq>, StoreError> {
        let statement = Q::DIALECT.reach(filter, index, order);
        let row = self.run(Purpose::Look, statement, &[span.after, span.through, ENTRIES]).await?;
        Ok(row.integer(0).ok())
    }

    async fn next_row(&self, span: Span, order: Order) -> Result<Option<Seq>, StoreError> {
        let statement = Q::DIALECT.next_row(order);
        Ok(self.run(Purpose::Look, statement, &[span.after, span.through]).await?.integer(0).ok())
    }
}
