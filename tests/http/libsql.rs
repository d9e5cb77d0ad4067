//! Hosts on one database of libSQL, on the server that the variable SQLD names. Without it nothing is tested here.

use sekali_harness::Server;
use sekali_harness::sqld::Sqld;
use serde_json::json;

use crate::consumers::assert_shared;
use crate::hosts::{assert_exact, deliver};

fn two_hosts(sqld: &Sqld) -> [Server; 2] {
    [(); 2].map(|()| Server::of(sqld.setup().unwrap()))
}

#[test]
fn events_with_duplicates_sent_to_two_hosts_of_one_libsql_server_are_exact() {
    let Some(sqld) = Sqld::from_environment().unwrap() else { return };
    assert_exact(&two_hosts(&sqld), 3_500, 5_000);
}

#[test]
fn workers_of_two_hosts_of_one_libsql_server_share_a_consumer_and_do_each_event_once() {
    let Some(sqld) = Sqld::from_environment().unwrap() else { return };
    assert_shared(&two_hosts(&sqld));
}

#[test]
fn a_libsql_server_that_crashes_costs_no_event_that_was_acknowledged() {
    let Some(mut sqld) = Sqld::from_environment().unwrap() else { return };
    let hosts = two_hosts(&sqld);
    for n in 0..10 {
        assert_eq!(hosts[n % 2].publish(&json!({"topic": "t", "event_id": n.to_string()})).status, 200);
    }
    sqld.crash().unwrap();
    for n in 0..20 {
        deliver(&hosts[n % 2], &n.to_string());
    }
    for host in &hosts {
        assert_eq!(host.stats()["unique_processed"], 20);
        assert_eq!(host.events().len(), 20);
        host.assert_books_balance();
    }
}
