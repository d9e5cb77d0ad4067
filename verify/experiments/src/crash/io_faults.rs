//! Calls to the file system that fail: each one in short histories (every second one in the short form), and random ones
//! in the write of a large group.

use anyhow::{Result as Fallible, anyhow};
use fastrand::Rng;
use sekali::retention::Policy;

use super::disk::fault::{Call, Cause, Fault};
use super::disk::image::Image;
use super::history::{self, History, Step};
use super::machine::{Machine, Trouble};
use super::model::{Answer, Owed};
use super::power_cut::Judge;
use crate::{Effort, Tally};

/// The times that a step is tried before the fault is mended. Then it must succeed.
const TRIES: usize = 3;

/// Runs the experiment.
///
/// # Errors
/// When a machine cannot be started.
pub fn run(seed: u64, effort: Effort) -> Fallible<Tally> {
    let mut rng = Rng::with_seed(seed);
    let mut tally = Tally::default();
    let judge = Judge::new()?;
    for _ in 0..effort.pick(2, 12) {
        let history = history::short(&mut rng);
        for cause in [Cause::Broken, Cause::Full] {
            let every = effort.pick(2, 1);
            for first in
                (rng.u64(..every)..calls(&Image::default(), &history, cause)?).step_by(every as usize)
            {
                let fault = Fault { cause, first, calls: length(&mut rng) };
                suffer(&Image::default(), &history, fault, &judge, &mut rng, &mut tally)?;
            }
        }
    }
    // The schema is there already, so that every fault strikes the group.
    let machine = Machine::start(Image::default(), Policy::default(), rng.u64(..))?;
    machine.read().map_err(|trouble| anyhow!("{trouble}"))?;
    let image = machine.disk.image();
    for _ in 0..effort.pick(2, 10) {
        let steps = vec![Step::Publish(history::large(&mut rng))];
        let history = History { policy: Policy::default(), steps };
        for cause in [Cause::Broken, Cause::Full] {
            let calls = calls(&image, &history, cause)?;
            for _ in 0..effort.pick(3, 10) {
                let fault = Fault { cause, first: rng.u64(..calls), calls: length(&mut rng) };
                suffer(&image, &history, fault, &judge, &mut rng, &mut tally)?;
            }
        }
    }
    Ok(tally)
}

/// Often a single call, sometimes all of a while.
fn length(rng: &mut Rng) -> u64 {
    [1, 1, 5, 1000][rng.usize(..4)]
}

/// The number of calls of a history that can fail for a cause.
fn calls(image: &Image, History { policy, steps }: &History, cause: Cause) -> Fallible<u64> {
    let mut machine = Machine::start(image.clone(), *policy, 0)?;
    machine.disk.set_fault(Some(Fault { cause, first: u64::MAX, calls: 0 }));
    for step in steps {
        let _ = machine.take(step);
    }
    Ok(machine.disk.calls_seen())
}

/// Lives through a history with a fault, and looks at what is left of it after a power cut.
fn suffer(
    image: &Image,
    History { policy, steps }: &History,
    fault: Fault,
    judge: &Judge,
    rng: &mut Rng,
    tally: &mut Tally,
) -> Fallible<()> {
    let machine = Machine::start(image.clone(), *policy, rng.u64(..))?;
    machine.disk.set_fault(Some(fault));
    let mut sufferer =
        Sufferer { machine, cause: fault.cause, possible: vec![Owed::new(*policy)], failed: 0 };
    let mut result = Ok(());
    for (place, step) in steps.iter().enumerate() {
        result = sufferer.persist(step).map_err(|found| format!("step {place}, {}: {found}", step.name()));
        if result.is_err() {
            break;
        }
        tally.acknowledged += step.group().len() as u64;
        // Half of the histories end here, before a later sync can make safe what the fault has left unsafe.
        if sufferer.failed > 0 && rng.bool() {
            break;
        }
    }
    tally.trials += u64::from(sufferer.failed > 0);
    if let Err(found) = result.and_then(|()| sufferer.outlive(judge, rng.u64(..))) {
        tally.violated(format!("{fault:?}: {found}"));
    }
    Ok(())
}

/// A service whose disk fails, and its clients.
struct Sufferer {
    machine: Machine,
    cause: Cause,
    /// All that it may owe: the outcome of a failed request may be unknown for a while.
    possible: Vec<Owed>,
    /// The calls that have failed.
    failed: usize,
}

impl Sufferer {
    /// Takes a step, again and again until it succeeds, which it must when the fault is over.
    fn persist(&mut self, step: &Step) -> Result<(), String> {
        for tries in 0.. {
            if tries == TRIES {
                self.machine.disk.set_fault(None);
            }
            let answer = self.machine.take(step);
            let failed = self.machine.disk.take_failed();
            self.failed += failed.len();
            let trouble = match answer {
                // What failed may have kept it from being done.
                Ok(Answer::Nothing | Answer::Held) if step.is_write() && !failed.is_empty() => {
                    self.doubt(step);
                    continue;
                }
                Ok(answer) => return self.believe(step, &answer),
                Err(Trouble::Wrong(found)) => return Err(found),
                Err(trouble) => trouble,
            };
            if failed.is_empty() {
                return Err(format!("no call failed, and the answer to try {tries} is {trouble}"));
            }
            self.forgive(step, &trouble, &failed)?;
        }
        Ok(())
    }

    /// A success has to agree with something that the service may owe, and shows which.
    fn believe(&mut self, step: &Step, answer: &Answer) -> Result<(), String> {
        let image = self.machine.disk.image();
        let (mut explaining, mut contradiction) = (Vec::new(), None);
        for owed in &self.possible {
            let mut after = owed.clone();
            let explains = after.take(step).agree(answer).and_then(|()| {
                if answer.is_of_clean_files() {
                    after.note_clean_files();
                }
                after.is_clean(&image)
            });
            match explains {
                Ok(()) if !explaining.contains(&after) => explaining.push(after),
                Ok(()) => {}
                Err(found) => contradiction = contradiction.or(Some(found)),
            }
        }
        if let ([], Some(found)) = (&explaining[..], contradiction) {
            let states = self.possible.len();
            return Err(format!(
                "none of the {states} possible states explains the answer; of the first, {found}"
            ));
        }
        // A write without an answer may still show up later, so reading excludes nothing.
        if !matches!(step, Step::Read) {
            self.possible = explaining;
        }
        Ok(())
    }

    /// A failure has to be one of the service, with its proper name, and must not have done anything that it denies.
    fn forgive(&mut self, step: &Step, trouble: &Trouble, failed: &[Call]) -> Result<(), String> {
        let (status, body) = match trouble {
            Trouble::Refused(status, body) => (*status, body.as_str()),
            _ => (500, ""),
        };
        // SQLite says of a write that the disk is full; of other calls it says only that they failed.
        let must_name_it = self.cause == Cause::Full && failed.iter().all(|call| *call == Call::Write);
        if status < 500 || must_name_it && !(status == 503 && body.contains("/problems/storage-full")) {
            return Err(format!("{failed:?} failed, and the answer is {trouble}"));
        }
        // What was to be erased may be so, whatever the answer: its files are cleaned after that.
        if status != 503 || matches!(step, Step::Erase(_)) {
            self.doubt(step);
        }
        Ok(())
    }

    /// The step may have been taken.
    fn doubt(&mut self, step: &Step) {
        for mut owed in self.possible.clone() {
            owed.take(step);
            if !self.possible.contains(&owed) {
                self.possible.push(owed);
            }
        }
    }

    /// The disk works again: what was acknowledged is there, and it survives a power cut.
    fn outlive(mut self, judge: &Judge, seed: u64) -> Result<(), String> {
        self.machine.disk.set_fault(None);
        let image = self.machine.disk.image(); // reading may make safe what the fault has left unsafe
        let found = self.machine.read().map_err(|trouble| format!("reading failed: {trouble}"))?;
        self.believe(&Step::Read, &Answer::Read(found.clone()))?;
        let explaining = self.possible.iter().filter(|owed| owed.is(&found));
        explaining.take(1).try_for_each(|owed| judge.recovers(&image, owed, &Step::Read, seed))
    }
}
