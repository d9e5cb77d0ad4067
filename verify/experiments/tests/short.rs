//! The short form of each experiment, with a fixed seed: what broke once must not break again.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::sync::{Mutex, PoisonError};

use sekali_harness::is_skipped_on_spin;
use sekali_torture::{EXPERIMENTS, Effort};

/// The seed of all of them.
const SEED: u64 = 1;

/// Held by the experiments that judge how others fare meanwhile, and by the one that keeps the machine busiest.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs an experiment, and fails with the promises that it broke.
fn keeps_its_promises(name: &str) {
    let _alone = ["cluster", "outside-faults"]
        .contains(&name)
        .then(|| ALONE.lock().unwrap_or_else(PoisonError::into_inner));
    let experiment = EXPERIMENTS.iter().find(|experiment| experiment.name == name).unwrap();
    let tally = (experiment.run)(SEED, Effort::Short).unwrap();
    assert!(tally.trials > 0, "nothing was tried");
    assert!(tally.violations.is_empty(), "{}", tally.violations.join("\n"));
}

#[test]
fn concurrent_histories_agree_with_the_model() {
    keeps_its_promises("history");
}

#[test]
fn hosts_on_one_database_agree_with_the_model_whatever_happens_to_them_and_to_it() {
    if is_skipped_on_spin("it hands out connections to a server that has ended, and reads on them are 500") {
        return;
    }
    keeps_its_promises("cluster");
}

#[test]
fn every_answer_of_the_service_is_true_in_any_order_of_its_steps() {
    keeps_its_promises("service");
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    keeps_its_promises("power-cut");
}

#[test]
fn a_failed_call_loses_nothing_and_is_never_answered_with_success() {
    keeps_its_promises("io-faults");
}

#[test]
fn memory_descriptors_and_files_stay_steady() {
    keeps_its_promises("soak");
}

#[test]
fn under_overload_answers_stay_correct_and_it_recovers() {
    keeps_its_promises("overload");
}

#[test]
fn what_a_receiver_acknowledged_is_at_the_endpoint_whatever_is_killed() {
    keeps_its_promises("relay");
}

#[test]
fn every_line_of_a_tree_of_logs_is_shipped_once_whatever_becomes_of_its_files() {
    keeps_its_promises("shipping");
}

#[test]
fn a_fault_from_outside_loses_nothing_in_silence() {
    if is_skipped_on_spin("the log and the instances of a host are its own") {
        return;
    }
    keeps_its_promises("outside-faults");
}

#[test]
fn hostile_clients_do_not_keep_others_from_being_served() {
    if is_skipped_on_spin("it takes requests with two lengths, and refuses header bytes by itself") {
        return;
    }
    keeps_its_promises("hostile-clients");
}
