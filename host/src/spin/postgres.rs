//! `spin:postgres@4.2.0`.

#![allow(clippy::result_large_err)] // the interface has such errors

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use wasmtime::component::{Accessor, FutureReader, HasSelf, Resource, StreamReader};

use super::bindings::spin::postgres::postgres::{
    Column, DbDataType, DbError, DbValue, Error, Host, HostConnection, HostConnectionBuilder,
    HostConnectionBuilderWithStore, HostConnectionWithStore, ParameterValue, QueryError, RowSet,
};
use super::guest::Guest;
use crate::stores::postgres::{Connection, ConnectionBuilder, Failure, Parameter, ResultSet};

/// The most bytes of a result, as in Spin.
const RESULT_BYTES: usize = 128 << 20;

type SqlResult = Result<IsNull, Box<dyn std::error::Error + Sync + Send>>;

impl ToSql for ParameterValue {
    fn to_sql(&self, ty: &Type, out: &mut bytes::BytesMut) -> SqlResult {
        match self {
            Self::Boolean(value) => value.to_sql_checked(ty, out),
            Self::Int8(value) => value.to_sql_checked(ty, out),
            Self::Int16(value) => value.to_sql_checked(ty, out),
            Self::Int32(value) => value.to_sql_checked(ty, out),
            Self::Int64(value) => value.to_sql_checked(ty, out),
            Self::Floating32(value) => value.to_sql_checked(ty, out),
            Self::Floating64(value) => value.to_sql_checked(ty, out),
            Self::Str(value) => value.to_sql_checked(ty, out),
            Self::Binary(value) => value.to_sql_checked(ty, out),
            Self::ArrayInt32(values) => values.to_sql_checked(ty, out),
            Self::ArrayInt64(values) => values.to_sql_checked(ty, out),
            Self::ArrayStr(values) => values.to_sql_checked(ty, out),
            Self::DbNull => Ok(IsNull::Yes),
            _ => Err("sekali-host does not support this type of a parameter".into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true // to_sql asks the type of the value
    }

    to_sql_checked!();
}

impl Parameter for ParameterValue {
    fn ty(&self) -> Type {
        match self {
            Self::Boolean(_) => Type::BOOL,
            Self::Int8(_) => Type::CHAR,
            Self::Int16(_) => Type::INT2,
            Self::Int32(_) => Type::INT4,
            Self::Int64(_) => Type::INT8,
            Self::Floating32(_) => Type::FLOAT4,
            Self::Floating64(_) => Type::FLOAT8,
            Self::Str(_) => Type::TEXT,
            Self::Binary(_) => Type::BYTEA,
            Self::ArrayInt32(_) => Type::INT4_ARRAY,
            Self::ArrayInt64(_) => Type::INT8_ARRAY,
            Self::ArrayStr(_) => Type::TEXT_ARRAY,
            // Of any type; the others are refused by to_sql.
            _ => Type::UNKNOWN,
        }
    }
}

/// The value of a column of a type that this host does not know.
struct Raw(Vec<u8>);

impl FromSql<'_> for Raw {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw.to_owned()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn data_type(ty: &Type) -> DbDataType {
    match *ty {
        Type::BOOL => DbDataType::Boolean,
        Type::INT2 => DbDataType::Int16,
        Type::INT4 => DbDataType::Int32,
        Type::INT8 => DbDataType::Int64,
        Type::FLOAT4 => DbDataType::Floating32,
        Type::FLOAT8 => DbDataType::Floating64,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR => DbDataType::Str,
        Type::BYTEA => DbDataType::Binary,
        Type::INT4_ARRAY => DbDataType::ArrayInt32,
        Type::INT8_ARRAY => DbDataType::ArrayInt64,
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY | Type::BPCHAR_ARRAY => DbDataType::ArrayStr,
        _ => DbDataType::Other(ty.name().to_owned()),
    }
}

fn value(row: &Row, index: usize) -> Result<DbValue, tokio_postgres::Error> {
    fn of<'r, T: FromSql<'r>>(
        row: &'r Row,
        index: usize,
        value: impl Fn(T) -> DbValue,
    ) -> Result<DbValue, tokio_postgres::Error> {
        Ok(row.try_get::<_, Option<T>>(index)?.map_or(DbValue::DbNull, value))
    }
    match data_type(row.columns()[index].type_()) {
        DbDataType::Boolean => of(row, index, DbValue::Boolean),
        DbDataType::Int16 => of(row, index, DbValue::Int16),
        DbDataType::Int32 => of(row, index, DbValue::Int32),
        DbDataType::Int64 => of(row, index, DbValue::Int64),
        DbDataType::Floating32 => of(row, index, DbValue::Floating32),
        DbDataType::Floating64 => of(row, index, DbValue::Floating64),
        DbDataType::Str => of(row, index, DbValue::Str),
        DbDataType::Binary => of(row, index, DbValue::Binary),
        DbDataType::ArrayInt32 => of(row, index, DbValue::ArrayInt32),
        DbDataType::ArrayInt64 => of(row, index, DbValue::ArrayInt64),
        DbDataType::ArrayStr => of(row, index, DbValue::ArrayStr),
        _ => of(row, index, |Raw(bytes)| DbValue::Unsupported(bytes)),
    }
}

/// The columns and rows of a result.
fn row_set(ResultSet { columns, rows }: ResultSet) -> Result<RowSet, Error> {
    let columns =
        columns.into_iter().map(|column| Column { name: column.name, data_type: data_type(&column.ty) });
    let columns = columns.collect();
    let values = |row: &Row| (0..row.len()).map(|index| value(row, index)).collect::<Result<Vec<_>, _>>();
    let rows = rows.iter().map(values).collect::<Result<_, _>>();
    Ok(RowSet { columns, rows: rows.map_err(|error| Error::ValueConversionFailed(error.to_string()))? })
}

fn connection(
    accessor: &Accessor<Guest, HasSelf<Guest>>,
    connection: &Resource<Connection>,
) -> Result<Connection, Error> {
    let connection = accessor.with(|mut access| access.get().table.get(connection).cloned());
    connection.map_err(|error| Error::Other(error.to_string()))
}

/// Runs a statement to its end, and returns its rows.
async fn query(
    connection: Connection,
    statement: &str,
    parameters: &[ParameterValue],
) -> Result<ResultSet, Error> {
    let result = connection.query(statement, parameters).await?;
    let bytes = result.rows.iter().map(Row::raw_size_bytes).sum::<usize>();
    if bytes > RESULT_BYTES {
        let message = format!("the result has {bytes} bytes, and may have {RESULT_BYTES}");
        return Err(Error::QueryFailed(QueryError::Text(message)));
    }
    Ok(result)
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let error = match failure {
            Failure::Statement(error) => error,
            // Without a code, as of a connection that was lost: the statement has done what it does.
            Failure::Description(error) => {
                let text = format!("the statement was run, but its columns are not known: {}", chain(&error));
                return Self::QueryFailed(QueryError::Text(text));
            }
        };
        Self::QueryFailed(match error.as_db_error() {
            None => QueryError::Text(chain(&error)),
            Some(cause) => QueryError::DbError(DbError {
                as_text: chain(&error),
                // Not translated, where the server says it that way, too.
                severity: cause
                    .parsed_severity()
                    .map_or_else(|| cause.severity().to_owned(), |it| it.to_string()),
                code: cause.code().code().to_owned(),
                message: cause.message().to_owned(),
                detail: cause.detail().map(str::to_owned),
                extras: vec![],
            }),
        })
    }
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The synchronous functions would block the instance that calls them, and the SDK of Spin 4 does not call them.
fn synchronous() -> Error {
    Error::Other("sekali-host has the asynchronous functions of spin:postgres only".into())
}

async fn open(
    accessor: &Accessor<Guest, HasSelf<Guest>>,
    address: &str,
) -> Result<Resource<Connection>, Error> {
    let services = accessor.with(|mut access| std::sync::Arc::clone(&access.get().services));
    let connection = Connection::open(address, &services.servers).await;
    let connection = connection.map_err(|error| Error::ConnectionFailed(format!("{error:#}")))?;
    accessor
        .with(|mut access| access.get().table.push(connection))
        .map_err(|error| Error::ConnectionFailed(error.to_string()))
}

impl Host for Guest {}

impl HostConnectionBuilder for Guest {
    fn new(&mut self, address: String) -> wasmtime::Result<Resource<ConnectionBuilder>> {
        Ok(self.table.push(ConnectionBuilder { address })?)
    }

    fn set_ca_root(&mut self, _: Resource<ConnectionBuilder>, _: String) -> Result<(), Error> {
        Err(Error::Other("sekali-host takes certificates from the machine, or from SSL_CERT_FILE".into()))
    }

    fn build(&mut self, _: Resource<ConnectionBuilder>) -> Result<Resource<Connection>, Error> {
        Err(synchronous())
    }

    fn drop(&mut self, builder: Resource<ConnectionBuilder>) -> wasmtime::Result<()> {
        self.table.delete(builder)?;
        Ok(())
    }
}

impl HostConnectionBuilderWithStore<Guest> for HasSelf<Guest> {
    async fn build_async(
        accessor: &Accessor<Guest, Self>,
        builder: Resource<ConnectionBuilder>,
    ) -> Result<Resource<Connection>, Error> {
        let address =
            accessor.with(|mut access| access.get().table.get(&builder).map(|it| it.address.clone()));
        open(accessor, &address.map_err(|error| Error::Other(error.to_string()))?).await
    }
}

impl HostConnection for Guest {
    fn open(&mut self, _: String) -> Result<Resource<Connection>, Error> {
        Err(synchronous())
    }

    fn query(&mut self, _: Resource<Connection>, _: String, _: Vec<ParameterValue>) -> Result<RowSet, Error> {
        Err(synchronous())
    }

    fn execute(&mut self, _: Resource<Connection>, _: String, _: Vec<ParameterValue>) -> Result<u64, Error> {
        Err(synchronous())
    }

    fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

type StreamedRows = (Vec<Column>, StreamReader<Vec<DbValue>>, FutureReader<Result<(), Error>>);

impl HostConnectionWithStore<Guest> for HasSelf<Guest> {
    async fn open_async(
        accessor: &Accessor<Guest, Self>,
        address: String,
    ) -> Result<Resource<Connection>, Error> {
        open(accessor, &address).await
    }

    async fn query_async(
        accessor: &Accessor<Guest, Self>,
        connection: Resource<Connection>,
        statement: String,
        parameters: Vec<ParameterValue>,
    ) -> Result<StreamedRows, Error> {
        let connection = self::connection(accessor, &connection)?;
        let RowSet { columns, rows } = row_set(query(connection, &statement, &parameters).await?)?;
        accessor
            .with(|mut access| {
                let rows = StreamReader::new(&mut access, rows)?;
                let end = FutureReader::new(&mut access, async { wasmtime::Result::<_>::Ok(Ok(())) })?;
                wasmtime::Result::Ok((columns, rows, end))
            })
            .map_err(|error: wasmtime::Error| Error::Other(error.to_string()))
    }

    async fn execute_async(
        accessor: &Accessor<Guest, Self>,
        connection: Resource<Connection>,
        statement: String,
        parameters: Vec<ParameterValue>,
    ) -> Result<u64, Error> {
        Ok(self::connection(accessor, &connection)?.execute(&statement, &parameters).await?)
    }
}
