//! Power cuts, at every change of the disk in short histories and at random ones in long histories.

use anyhow::{Result as Fallible, anyhow};
use fastrand::Rng;
use sekali::retention::Policy;

use super::disk::Moments;
use super::disk::image::Image;
use super::history::{self, History, Step};
use super::machine::Machine;
use super::model::Owed;
use crate::{Effort, Tally};

/// The moments of a short history: all of them.
const ALL: Moments = Moments { changes: 1.0, syncs: 1.0 };
/// Those of a long history.
const SOME: Moments = Moments { changes: 0.003, syncs: 0.1 };
/// Those of a large group, which is one transaction: a part of it must never be safe without the rest.
const BETWEEN: Moments = Moments { changes: 0.003, syncs: 1.0 };
/// Those of a recovery, at which the power is cut again.
const AGAIN: Moments = Moments { changes: 0.02, syncs: 0.02 };

/// Runs the experiment.
///
/// # Errors
/// When a machine cannot be started.
pub fn run(seed: u64, effort: Effort) -> Fallible<Tally> {
    let mut rng = Rng::with_seed(seed);
    let mut tally = Tally::default();
    let judge = Judge::new()?;
    for _ in 0..effort.pick(3, 30) {
        let history = history::short(&mut rng);
        live_through(&history, ALL, &judge, &mut rng, &mut tally)?;
    }
    for _ in 0..effort.pick(1, 8) {
        let history = history::long(&mut rng);
        live_through(&history, SOME, &judge, &mut rng, &mut tally)?;
    }
    for _ in 0..effort.pick(1, 8) {
        let history = history::of_one_large(&mut rng);
        live_through(&history, BETWEEN, &judge, &mut rng, &mut tally)?;
    }
    Ok(tally)
}

/// Lives through a history, and cuts the power after some of the changes of the disk. A cut needs no machine that
/// dies: what is on the disk at that moment goes to another one, which starts from what is left of it.
fn live_through(
    History { policy, steps }: &History,
    moments: Moments,
    judge: &Judge,
    rng: &mut Rng,
    tally: &mut Tally,
) -> Fallible<()> {
    let mut machine = Machine::start(Image::default(), *policy, rng.u64(..))?;
    let mut owed = Owed::new(*policy);
    machine.disk.keep_images(moments);
    for (place, step) in steps.iter().enumerate() {
        let before = owed.clone();
        let result = take(&mut machine, step, &mut owed);
        for image in machine.disk.take_images() {
            tally.trials += 1;
            let seed = rng.u64(..);
            if let Err(found) = judge.recovers(&image, &before, step, seed) {
                let step = step.name();
                tally.violated(format!("power cut in step {place}, {step}, with seed {seed}: {found}"));
            }
        }
        tally.acknowledged += step.group().len() as u64;
        if let Err(found) = result {
            tally.violated(format!("step {place}, {}, before any power cut: {found}", step.name()));
            return Ok(());
        }
    }
    // Everything is acknowledged now.
    tally.trials += 1;
    if let Err(found) = judge.recovers(&machine.disk.image(), &owed, &Step::Read, rng.u64(..)) {
        tally.violated(format!("power cut after {} steps: {found}", steps.len()));
    }
    Ok(())
}

/// Takes a step, whose answer must be what is owed.
fn take(machine: &mut Machine, step: &Step, owed: &mut Owed) -> Result<(), String> {
    let due = owed.take(step);
    let answer = machine.take(step).map_err(|trouble| trouble.to_string())?;
    due.agree(&answer)?;
    if answer.is_of_clean_files() {
        owed.note_clean_files();
        owed.is_clean(&machine.disk.image())?;
    }
    Ok(())
}

/// Judges what a power cut has left.
pub struct Judge {
    /// The schema of a new database.
    schema: Vec<String>,
}

impl Judge {
    /// A judge.
    ///
    /// # Errors
    /// When no database can be made.
    pub fn new() -> Fallible<Self> {
        let machine = Machine::start(Image::default(), Policy::default(), 0)?;
        machine.read().map_err(|trouble| anyhow!("{trouble}"))?;
        Ok(Self { schema: machine.schema()? })
    }

    /// Cuts the power of a disk that holds `image`, where `owed` was acknowledged and `step` was not yet, and starts
    /// the service on what is left. Then it does so again with some of the moments of that start.
    ///
    /// # Errors
    /// The promise that was broken.
    pub fn recovers(&self, image: &Image, owed: &Owed, step: &Step, seed: u64) -> Result<(), String> {
        let mut rng = Rng::with_seed(seed);
        let start = |rng: &mut Rng, image: &Image| {
            let left = image.cut(rng);
            owed.is_clean(&left)?;
            Machine::start(left, owed.policy(), rng.u64(..)).map_err(|error| error.to_string())
        };
        let mut machine = start(&mut rng, image)?;
        machine.disk.keep_images(AGAIN);
        let amid = self.has_kept(&machine, owed, step)?;
        machine.disk.keep_images(Moments::default());
        let images = machine.disk.take_images();
        self.goes_on(&mut machine, amid, step, &mut rng)?;
        for image in &images {
            let mut machine = start(&mut rng, image)?;
            let amid = self.has_kept(&machine, owed, step);
            amid.and_then(|amid| self.goes_on(&mut machine, amid, step, &mut rng))
                .map_err(|found| format!("cut again while it recovered: {found}"))?;
        }
        Ok(())
    }

    /// Reads a service that has just started: all that was acknowledged is as it was, but for what the step under way
    /// has done. Returns what it owes now.
    fn has_kept(&self, machine: &Machine, owed: &Owed, step: &Step) -> Result<Owed, String> {
        let found = machine.read().map_err(|trouble| format!("reading failed: {trouble}"))?;
        let amid = owed.amid(step, &found).map_err(|found| format!("of what was acknowledged, {found}"))?;
        self.is_whole(machine)?;
        Ok(amid)
    }

    /// Takes the step that was not acknowledged once more, as its client does, and more.
    fn goes_on(
        &self,
        machine: &mut Machine,
        mut owed: Owed,
        step: &Step,
        rng: &mut Rng,
    ) -> Result<(), String> {
        if step.is_write() {
            take(machine, step, &mut owed).map_err(|found| format!("taken again: {found}"))?;
        }
        let more = [history::group(rng, 3, 30), owed.late(3)].concat();
        take(machine, &Step::Publish(more), &mut owed).map_err(|found| format!("going on: {found}"))?;
        take(machine, &Step::Read, &mut owed)?;
        owed.is_clean(&machine.disk.image())?;
        self.is_whole(machine)
    }

    fn is_whole(&self, machine: &Machine) -> Result<(), String> {
        let schema = machine.schema().map_err(|error| format!("{error:#}"))?;
        match schema == self.schema {
            true => Ok(()),
            false => Err(format!("the schema is {schema:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::model::Selection;

    #[test]
    fn what_was_erased_does_not_come_back_with_a_log_whose_end_is_lost() {
        let (judge, mut owed) = (Judge::new().unwrap(), Owed::new(Policy::default()));
        let mut machine = Machine::start(Image::default(), Policy::default(), 1).unwrap();
        let group = history::group(&mut Rng::with_seed(1), 3, 30);
        let erased = Selection::Event((group[0].topic.clone(), group[0].id.clone()));
        take(&mut machine, &Step::Publish(group), &mut owed).unwrap();
        take(&mut machine, &Step::Erase(erased), &mut owed).unwrap();
        for seed in 0..30 {
            assert_eq!(
                judge.recovers(&machine.disk.image(), &owed, &Step::Read, seed),
                Ok(()),
                "seed {seed}"
            );
        }
    }
}
