//! Power cuts, at every change of the disk in short histories and at random ones in long histories.

use anyhow::{Result as Fallible, anyhow};
use fastrand::Rng;

use super::disk::Moments;
use super::disk::image::Image;
use super::history::{self, Step};
use super::machine::{Answer, Machine};
use super::model::{Delivery, Model, Outcome};
use crate::{Effort, Tally};

/// The number of outcomes that are tried of each power cut.
const OUTCOMES: usize = 2;

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
        let steps = history::short(&mut rng);
        live_through(&steps, ALL, &judge, &mut rng, &mut tally)?;
    }
    for _ in 0..effort.pick(1, 8) {
        let steps = history::long(&mut rng);
        live_through(&steps, SOME, &judge, &mut rng, &mut tally)?;
    }
    for _ in 0..effort.pick(1, 8) {
        let steps = [Step::Read, Step::Publish(history::large(&mut rng))];
        live_through(&steps, BETWEEN, &judge, &mut rng, &mut tally)?;
    }
    Ok(tally)
}

/// Lives through a history, and cuts the power after some of the changes of the disk. A cut needs no machine that
/// dies: what is on the disk at that moment goes to another one, which starts from what is left of it.
fn live_through(
    steps: &[Step],
    moments: Moments,
    judge: &Judge,
    rng: &mut Rng,
    tally: &mut Tally,
) -> Fallible<()> {
    let mut machine = Machine::start(Image::default(), rng.u64(..))?;
    let mut model = Model::default();
    machine.disk.keep_images(moments);
    for (place, step) in steps.iter().enumerate() {
        let group = step.group();
        let result = take(&mut machine, step, &mut model.clone());
        for image in machine.disk.take_images() {
            for _ in 0..OUTCOMES {
                tally.trials += 1;
                let seed = rng.u64(..);
                if let Err(found) = judge.recovers(&image, &model, group, seed) {
                    let step = step.name();
                    tally.violated(format!("power cut in step {place}, {step}, with seed {seed}: {found}"));
                }
            }
        }
        model.publish(group);
        tally.acknowledged += group.len() as u64;
        if let Err(found) = result {
            tally.violated(format!("step {place}, {}, before any power cut: {found}", step.name()));
            return Ok(());
        }
    }
    // Everything is acknowledged now.
    tally.trials += 1;
    if let Err(found) = judge.recovers(&machine.disk.image(), &model, &[], rng.u64(..)) {
        tally.violated(format!("power cut after {} steps: {found}", steps.len()));
    }
    Ok(())
}

/// Takes a step, whose answer must be what the model owes.
fn take(machine: &mut Machine, step: &Step, model: &mut Model) -> Result<(), String> {
    match machine.take(step).map_err(|trouble| trouble.to_string())? {
        Answer::Nothing => Ok(()),
        Answer::Read(found) => same(model, &found),
        Answer::Published(outcomes) => agree(&model.publish(step.group()), &outcomes),
    }
}

fn read(machine: &Machine) -> Result<Model, String> {
    machine.read().map_err(|trouble| format!("reading failed: {trouble}"))
}

fn publish(machine: &Machine, group: &[Delivery], model: &mut Model) -> Result<(), String> {
    let outcomes = machine.publish(group).map_err(|trouble| trouble.to_string())?;
    agree(&model.publish(group), &outcomes)
}

fn agree(owed: &[Outcome], found: &[Outcome]) -> Result<(), String> {
    match owed.iter().zip(found).find(|(owed, found)| owed != found) {
        None => Ok(()),
        Some((owed, found)) => Err(format!("the answer says {found:?}, and {owed:?} is owed")),
    }
}

fn same(model: &Model, found: &Model) -> Result<(), String> {
    if model == found { Ok(()) } else { Err(model.differences(found)) }
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
        let machine = Machine::start(Image::default(), 0)?;
        machine.read().map_err(|trouble| anyhow!("{trouble}"))?;
        Ok(Self { schema: machine.schema()? })
    }

    /// Cuts the power of a disk that holds `image`, where `model` was acknowledged and `group` was not yet, and starts
    /// the service on what is left. Then it does so again with some of the moments of that start.
    ///
    /// # Errors
    /// The promise that was broken.
    pub fn recovers(
        &self,
        image: &Image,
        model: &Model,
        group: &[Delivery],
        seed: u64,
    ) -> Result<(), String> {
        let mut rng = Rng::with_seed(seed);
        let start = |rng: &mut Rng, image: &Image| {
            Machine::start(image.cut(rng), rng.u64(..)).map_err(|error| error.to_string())
        };
        let machine = start(&mut rng, image)?;
        machine.disk.keep_images(AGAIN);
        let found = self.has_kept(&machine, model, group)?;
        machine.disk.keep_images(Moments::default());
        let images = machine.disk.take_images();
        self.goes_on(&machine, found, group, &mut rng)?;
        for image in &images {
            let machine = start(&mut rng, image)?;
            let found = self.has_kept(&machine, model, group);
            found
                .and_then(|found| self.goes_on(&machine, found, group, &mut rng))
                .map_err(|found| format!("cut again while it recovered: {found}"))?;
        }
        Ok(())
    }

    /// Reads a service that has just started: the model is in it, and the group is in it as a whole or not at all.
    fn has_kept(&self, machine: &Machine, model: &Model, group: &[Delivery]) -> Result<Model, String> {
        let found = read(machine)?;
        let mut with_group = model.clone();
        with_group.publish(group);
        if found != *model && found != with_group {
            let nearest = if found.len() <= model.len() { model } else { &with_group };
            let (acknowledged, read) = (model.len(), found.len());
            let differences = nearest.differences(&found);
            return Err(format!("{acknowledged} events are acknowledged, {read} are found: {differences}"));
        }
        self.is_whole(machine)?;
        Ok(found)
    }

    /// Publishes what was not acknowledged once more, as its client does, and more.
    fn goes_on(
        &self,
        machine: &Machine,
        mut model: Model,
        group: &[Delivery],
        rng: &mut Rng,
    ) -> Result<(), String> {
        publish(machine, group, &mut model).map_err(|found| format!("sent again: {found}"))?;
        let more = history::group(rng, 3, 30);
        publish(machine, &more, &mut model).map_err(|found| format!("going on: {found}"))?;
        same(&model, &read(machine)?)?;
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
