//! The executor keeps its own promises.

use super::*;

/// Three tasks that sleep and yield, and their log.
fn log_of(seed: u64) -> Vec<String> {
    let executor = Executor::new(seed);
    for number in 0..3 {
        let sim = executor.handle();
        executor.handle().spawn(format!("task {number}"), async move {
            for _ in 0..3 {
                sim.sleep(Duration::from_millis(1)).await;
                sim.yield_now().await;
            }
        });
    }
    assert_eq!(executor.run(Duration::from_secs(1)), End::Done);
    executor.handle().take_log()
}

#[test]
fn a_seed_replays_and_another_goes_another_way() {
    assert_eq!(log_of(7), log_of(7));
    let distinct: BTreeSet<_> = (0..20).map(log_of).collect();
    assert!(distinct.len() > 10, "{} of 20 differ", distinct.len());
}

#[test]
fn time_moves_to_the_next_timer_when_nothing_is_ready() {
    let executor = Executor::new(1);
    let woken = Rc::<RefCell<Vec<u64>>>::default();
    for millis in [30, 10, 20] {
        let (sim, woken) = (executor.handle(), Rc::clone(&woken));
        executor.handle().spawn("sleeper", async move {
            sim.sleep(Duration::from_millis(millis)).await;
            assert_eq!(sim.now(), Duration::from_millis(millis));
            woken.borrow_mut().push(millis);
        });
    }
    assert_eq!(executor.run(Duration::from_millis(25)), End::TimeUp);
    assert_eq!(*woken.borrow(), [10, 20]);
    assert_eq!(executor.run(Duration::from_secs(1)), End::Done);
}

#[test]
fn a_task_that_yields_runs_again_when_every_ready_one_has_run() {
    for seed in 0..50 {
        let executor = Executor::new(seed);
        let ran = Rc::new(Cell::new(0));
        for _ in 0..5 {
            let (sim, ran) = (executor.handle(), Rc::clone(&ran));
            executor.handle().spawn("task", async move {
                ran.set(ran.get() + 1);
                sim.yield_now().await;
                assert_eq!(ran.get(), 5);
            });
        }
        assert_eq!(executor.run(Duration::ZERO), End::Done);
    }
}

#[test]
fn a_doomed_task_is_dropped_with_all_that_it_holds() {
    for (doom, end) in [(Doom::Polls(1), 0), (Doom::Time(Duration::from_secs(5)), 5)] {
        let executor = Executor::new(1);
        let held = Rc::new(());
        let (sim, holds) = (executor.handle(), Rc::clone(&held));
        let task = executor.handle().spawn("doomed", async move {
            let _holds = holds;
            sim.sleep(Duration::from_secs(9)).await;
        });
        executor.handle().doom(task, doom);
        assert_eq!(executor.run(Duration::from_secs(20)), End::Done);
        assert_eq!(Rc::strong_count(&held), 1);
        let dropped = executor.handle().take_log().pop().unwrap();
        assert!(dropped.ends_with("drop doomed"), "{dropped}");
        assert!(executor.handle().now().as_secs() <= 9 && executor.handle().now().as_secs() >= end);
    }
}

#[test]
fn tasks_that_wait_for_nothing_or_spin_are_reported() {
    let executor = Executor::new(1);
    executor.handle().spawn("for ever", std::future::pending());
    assert_eq!(executor.run(Duration::from_secs(1)), End::Stuck(vec!["for ever".into()]));
    let sim = executor.handle();
    executor.handle().spawn("spinner", async move {
        loop {
            sim.yield_now().await;
        }
    });
    assert_eq!(executor.run(Duration::from_secs(1)), End::Spinning);
}
