//! In place of `table/`, in a publisher that was built without the feature `tables`.

use anyhow::{Result, ensure};
use sekali_clients::interrupt::Interrupt;

use crate::cli::Cli;
use crate::input::Chunks;

/// A query in a database. There is none.
pub enum Table {}

impl Table {
    /// Refuses a table that the arguments name.
    ///
    /// # Errors
    /// They name one.
    pub async fn of(cli: &Cli) -> Result<Option<Self>> {
        ensure!(
            !cli.is_of_table(),
            "this publisher was built without tables: build it with --features tables, as scripts/publisher does for \
            --from-sqlite and --from-postgres"
        );
        Ok(None)
    }

    /// Never called.
    pub fn read(self, _: &str, _: Interrupt) -> Chunks {
        match self {}
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[tokio::test]
    async fn a_table_is_refused_with_the_remedy() {
        assert!(Table::of(&Cli::parse_from(["publisher", "--demo"])).await.unwrap().is_none());
        let cli = Cli::parse_from(["publisher", "--from-sqlite", "old.db", "--query", "select 1"]);
        let error = Table::of(&cli).await.err().unwrap();
        assert!(error.to_string().contains("--features tables"), "{error}");
    }
}
