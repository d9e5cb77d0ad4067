//! Calls to the file system that fail: each one in short histories, and random ones in the write of a large group.

use anyhow::{Result as Fallible, anyhow};
use fastrand::Rng;

use super::disk::fault::{Call, Cause, Fault};
use super::disk::image::Image;
use super::history::{self, Step};
use super::machine::{Answer, Machine, Trouble};
use super::model::Model;
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
        let steps = history::short(&mut rng);
        for cause in [Cause::Broken, Cause::Full] {
            for first in 0..calls(&Image::default(), &steps, cause)? {
                let fault = Fault { cause, first, calls: length(&mut rng) };
                suffer(&Image::default(), &steps, fault, &judge, &mut rng, &mut tally)?;
            }
        }
    }
    // The schema is there already, so that every fault strikes the group.
    let machine = Machine::start(Image::default(), rng.u64(..))?;
    machine.read().map_err(|trouble| anyhow!("{trouble}"))?;
    let image = machine.disk.image();
    for _ in 0..effort.pick(2, 10) {
        let steps = [Step::Publish(history::large(&mut rng))];
        for cause in [Cause::Broken, Cause::Full] {
            let calls = calls(&image, &steps, cause)?;
            for _ in 0..effort.pick(3, 10) {
                let fault = Fault { cause, first: rng.u64(..calls), calls: length(&mut rng) };
                suffer(&image, &steps, fault, &judge, &mut rng, &mut tally)?;
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
fn calls(image: &Image, steps: &[Step], cause: Cause) -> Fallible<u64> {
    let mut machine = Machine::start(image.clone(), 0)?;
    machine.disk.set_fault(Some(Fault { cause, first: u64::MAX, calls: 0 }));
    for step in steps {
        let _ = machine.take(step);
    }
    Ok(machine.disk.calls_seen())
}

/// Lives through a history with a fault, and looks at what is left of it after a power cut.
fn suffer(
    image: &Image,
    steps: &[Step],
    fault: Fault,
    judge: &Judge,
    rng: &mut Rng,
    tally: &mut Tally,
) -> Fallible<()> {
    let machine = Machine::start(image.clone(), rng.u64(..))?;
    machine.disk.set_fault(Some(fault));
    let mut sufferer = Sufferer { machine, cause: fault.cause, possible: vec![Model::default()], failed: 0 };
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
    /// All that it may hold: the outcome of a failed request may be unknown for a while.
    possible: Vec<Model>,
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
            match answer {
                Ok(answer) => return self.believe(step, answer),
                Err(Trouble::Wrong(found)) => return Err(found),
                Err(trouble) if failed.is_empty() => {
                    return Err(format!("no call failed, and the answer to try {tries} is {trouble}"));
                }
                Err(trouble) => self.forgive(step, &trouble, &failed)?,
            }
        }
        Ok(())
    }

    /// A success has to agree with something that the service may hold, and shows which.
    fn believe(&mut self, step: &Step, answer: Answer) -> Result<(), String> {
        let before = std::mem::take(&mut self.possible);
        match (step, &answer) {
            (Step::Publish(group), Answer::Published(outcomes)) => {
                for mut model in before.clone() {
                    if model.publish(group) == *outcomes {
                        self.possible.push(model);
                    }
                }
            }
            // A write without an answer may still show up later, so reading excludes nothing.
            (_, Answer::Read(found)) if !before.contains(found) => {}
            _ => self.possible.clone_from(&before),
        }
        match self.possible.is_empty() {
            true => Err(contradiction(before, step, &answer)),
            false => Ok(()),
        }
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
        if let (Step::Publish(group), false) = (step, status == 503) {
            let mut done = self.possible.clone();
            for model in &mut done {
                model.publish(group);
            }
            self.possible.extend(done);
        }
        Ok(())
    }

    /// The disk works again: what was acknowledged is there, and it survives a power cut.
    fn outlive(mut self, judge: &Judge, seed: u64) -> Result<(), String> {
        self.machine.disk.set_fault(None);
        let image = self.machine.disk.image(); // reading may make safe what the fault has left unsafe
        let found = self.machine.read().map_err(|trouble| format!("reading failed: {trouble}"))?;
        self.believe(&Step::Read, Answer::Read(found.clone()))?;
        judge.recovers(&image, &found, &[], seed)
    }
}

/// The difference between an answer and the first of the states that would explain it.
fn contradiction(possible: Vec<Model>, step: &Step, answer: &Answer) -> String {
    let states = possible.len();
    let model = possible.into_iter().next().unwrap_or_default();
    let difference = match (step, answer) {
        (Step::Publish(group), Answer::Published(outcomes)) => {
            let mut after = model.clone();
            let mut pairs = group.iter().zip(after.publish(group)).zip(outcomes);
            let differing = pairs.find(|((_, owed), outcome)| owed != *outcome);
            format!("with {} events, {differing:?}", model.len())
        }
        (_, Answer::Read(found)) => model.differences(found),
        _ => String::new(),
    };
    format!("none of the {states} states that were possible explains the answer; in the first, {difference}")
}
