//! Crashes: the service on a disk in memory that loses what was not synced, or whose calls fail.
//!
//! `vfs` makes SQLite use a `disk` in memory instead of the files of the machine. A `machine` is the service on such a
//! disk, `history` what its clients do, and `model` what it owes them. `power_cut` and `io_faults` are the experiments.
//!
//! The same seed makes the same choices. The number of changes of a disk may differ by a few all the same, because the
//! times of receipt are texts of different lengths.
//!
//! The crate `sqlite-plugin` has the same hooks for SQLite, but makes its bindings when it is built, by libclang.

mod disk;
mod history;
pub mod io_faults;
mod machine;
mod model;
pub mod power_cut;
mod vfs;
