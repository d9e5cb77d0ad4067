//! The rows of a query in a PostgreSQL database.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use futures::TryStreamExt;
use rustls::{ClientConfig, RootCertStore};
use sekali_common::database_url::secured;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, NoTls, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::row::{Value, event};
use super::rows::Rows;
use crate::input::Row;

/// Time to be connected.
const CONNECT: Duration = Duration::from_secs(10);

/// Where a database is.
pub struct Server(Config);

impl Server {
    /// The server that a URL names. Without `sslmode=disable` the connection is encrypted and the certificate verified.
    pub fn at(url: &str) -> Result<Self> {
        let secured = secured(url).map_err(|fault| anyhow!("the value of --from-postgres {fault}"))?;
        // The error would show parts of the URL, which may be those of the password.
        let Ok(mut config) = secured.parse::<Config>() else {
            bail!(
                "the value of --from-postgres is not a URL of PostgreSQL, as postgres://user@host/database; characters \
                 of a password such as @ and / are written as %40 and %2F"
            );
        };
        if let (None, Ok(password)) = (config.get_password(), std::env::var("PGPASSWORD")) {
            config.password(password);
        }
        config.connect_timeout(CONNECT).application_name("sekali publisher");
        Ok(Self(config))
    }

    /// The names of the columns of a query.
    pub async fn columns(&self, query: &str) -> Result<Vec<String>> {
        let client = self.connect().await?;
        let statement = client.prepare(query).await.map_err(told)?;
        client.prepare(&as_text(query, &statement)?).await.map_err(told)?;
        Ok(statement.columns().iter().map(|column| column.name().to_owned()).collect())
    }

    /// Hands over all rows of a query, and waits while nobody takes them.
    pub async fn read(&self, query: &str, mut rows: Rows) {
        let read = self.read_all(query, &mut rows).await;
        for last in rows.end(read) {
            let _ = rows.sender.send(last).await; // fails if nobody takes rows any more
        }
    }

    async fn read_all(&self, query: &str, rows: &mut Rows) -> Result<()> {
        let client = self.connect().await?;
        client.batch_execute("start transaction read only").await.map_err(told)?;
        let statement = client.prepare(query).await.map_err(told)?;
        let as_text = as_text(query, &statement)?;
        let found = client.query_raw::<_, &str, _>(&as_text, std::iter::empty()).await.map_err(told)?;
        let mut found = pin!(found);
        while let Some(row) = found.try_next().await.map_err(told)? {
            let mut values = Vec::new();
            for (index, column) in statement.columns().iter().enumerate() {
                let text: Option<&str> = row.try_get(index).map_err(told)?;
                values.push((column.name(), text.map_or(Value::Null, |text| value_of(text, column))));
            }
            if let Some(some) = rows.take(Row(event(values.into_iter()))) {
                let _ = rows.sender.send(some).await;
                if !rows.are_wanted() {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn connect(&self) -> Result<Client> {
        let refused = "the server cannot be connected to; without sslmode=disable in the URL it has to encrypt, and \
                       show a certificate that this machine trusts (SSL_CERT_FILE names others)";
        if self.0.get_ssl_mode() == SslMode::Disable {
            let (client, connection) =
                self.0.connect(NoTls).await.map_err(told).context("the server cannot be connected to")?;
            tokio::spawn(connection);
            return Ok(client);
        }
        let (client, connection) =
            self.0.connect(MakeRustlsConnect::new(tls()?)).await.map_err(told).context(refused)?;
        tokio::spawn(connection);
        Ok(client)
    }
}

/// The query with all columns as text, in the forms that JSON has for them.
fn as_text(query: &str, statement: &Statement) -> Result<String> {
    let mut columns = Vec::new();
    for column in statement.columns() {
        let is_text = is_text(column.type_()) || [Type::JSON, Type::JSONB].contains(column.type_());
        ensure!(*column.type_() != Type::BYTEA, "the column {:?} holds bytes, and not text", column.name());
        let name = format!("t.\"{}\"", column.name().replace('"', "\"\""));
        columns.push(match column.name() {
            "payload" if !is_text => format!("to_json({name})::text"),
            "timestamp" => format!("to_json({name}) #>> '{{}}'"),
            _ => format!("{name}::text"),
        });
    }
    let query = query.trim().trim_end_matches(';');
    Ok(format!("select {} from (\n{query}\n) as t", columns.join(", ")))
}

fn is_text(column: &Type) -> bool {
    [Type::TEXT, Type::VARCHAR, Type::BPCHAR, Type::UNKNOWN].contains(column)
}

fn value_of<'a>(text: &'a str, column: &tokio_postgres::Column) -> Value<'a> {
    let numbers = [Type::INT2, Type::INT4, Type::INT8, Type::FLOAT4, Type::FLOAT8, Type::NUMERIC];
    if column.name() == "timestamp" && numbers.contains(column.type_()) {
        return match (text.parse(), text.parse()) {
            (Ok(number), _) => Value::Integer(number),
            (_, Ok(number)) => Value::Real(number),
            _ => Value::Text(text.as_bytes()),
        };
    }
    Value::Text(text.as_bytes())
}

/// The error with the server's own words, which the library keeps apart.
fn told(error: tokio_postgres::Error) -> anyhow::Error {
    match error.as_db_error() {
        Some(server) => anyhow::anyhow!("{}", server.message()),
        None => error.into(),
    }
}

fn tls() -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
