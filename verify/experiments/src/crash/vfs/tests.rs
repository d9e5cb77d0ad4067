//! SQLite on a disk in memory, without the service.

use rusqlite::Connection;

use super::*;
use crate::crash::disk::image::Image;

fn connect(mount: &Mount) -> Connection {
    let connection = Connection::open(mount.uri("test.db")).unwrap();
    connection
        .execute_batch("pragma busy_timeout = 0; pragma journal_mode = wal; pragma synchronous = full")
        .unwrap();
    connection
}

fn rows(connection: &Connection) -> i64 {
    connection.query_row("select count(*) from t", [], |row| row.get(0)).unwrap()
}

#[test]
fn writers_exclude_each_other_and_readers_keep_what_they_see() {
    let mount = Mount::new(Disk::new(Image::default(), 1));
    let [one, two, reader] = [(); 3].map(|()| connect(&mount));
    one.execute_batch("create table t (n integer); begin immediate; insert into t values (1)").unwrap();
    let error = two.execute_batch("begin immediate").unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy));
    reader.execute_batch("begin").unwrap();
    assert_eq!(rows(&reader), 0);
    one.execute_batch("commit").unwrap();
    assert_eq!([rows(&two), rows(&reader)], [1, 0]);
    reader.execute_batch("commit").unwrap();
    assert_eq!(rows(&reader), 1);
}

#[test]
fn a_power_cut_takes_what_was_not_synced_and_nothing_else() {
    let disk = Disk::new(Image::default(), 1);
    let mount = Mount::new(Arc::clone(&disk));
    let connection = connect(&mount);
    connection.execute_batch("create table t (n integer); insert into t values (1)").unwrap();
    connection.execute_batch("pragma synchronous = off; insert into t values (2)").unwrap();
    let left = |seed| {
        let image = disk.image().cut(&mut fastrand::Rng::with_seed(seed));
        rows(&connect(&Mount::new(Disk::new(image, seed))))
    };
    let left: std::collections::BTreeSet<_> = (0..50).map(left).collect();
    assert_eq!(left, [1, 2].into(), "the second row is lost sometimes, and the first never");
}
