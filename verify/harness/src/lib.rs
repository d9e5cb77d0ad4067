//! The one way to start a server: the black-box tests, the tests of the clients, the benchmark and the stress test
//! all stand on this.
//!
//! - [`process`]: a program in a process group of its own, killed on drop;
//! - [`host`]: the program that serves, sekali-host or the Spin that the variable `SPIN` names;
//! - [`postgres`]: servers of PostgreSQL, for where the store is one;
//! - [`pgbouncer`]: the pooler that may stand before one;
//! - [`activation`]: a socket that outlives the host that serves it, as systemd's do;
//! - [`debian`]: where a program of a package is;
//! - [`sqld`]: a server of libSQL, where there is one;
//! - [`tcp_proxy`]: what leads from a host to its database, and can be cut;
//! - [`artifacts`]: refuses a component that is older than its sources;
//! - [`webhooks`]: what providers send, signed as they sign;
//! - [`deployment`]: an application that is served, with fresh state;
//! - [`server`]: a deployment as a test wants it: it sends requests, and panics where a test has failed.

pub mod activation;
pub mod artifacts;
pub mod debian;
pub mod deployment;
mod guarded;
pub mod host;
pub mod pgbouncer;
pub mod postgres;
pub mod process;
pub mod server;
pub mod sqld;
pub mod tcp_proxy;
pub mod webhooks;

pub use server::{Answer, Server, eventually, is_on_spin, is_skipped_on_postgres, is_skipped_on_spin};
