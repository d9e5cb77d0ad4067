//! A store on PostgreSQL whose events are in many partitions, beside one that has the same events in one.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::build::{Build, Place, Service, TOKEN};
use super::clients::{self, Load, gets};
use super::events::{self, RARE_SOURCES};
use super::figures::Figures;
use super::scale::{BATCH, CLIENTS, Scale};
use crate::http;
use crate::load::Until;

/// Events of a partition: as many as a block has, by which a filter by time finds them.
const EACH: u64 = 512;

/// The partition `n` of a store begins at the seq `n << PARTITION`.
const PARTITION: u32 = 20;

/// Share of events that were sent before.
const DUPLICATES: f64 = 0.05;

/// Clients that read, and clients that erase.
const READERS: usize = 16;
const ERASERS: usize = 4;

/// Seconds that a filter by time spans, which are as many events.
const SPAN: u64 = 180;

/// Measures it. Both stores take turns.
pub fn measure(build: &Build, place: Place<'_>, scale: &Scale, figures: &mut Figures) -> Result<()> {
    let partitions = scale.partitions;
    let (one, many) = (Store::fill(build, place, 1, scale)?, Store::fill(build, place, partitions, scale)?);
    let name = |partitions, what: &str| match partitions {
        1 => format!("one partition, {what}"),
        partitions => format!("{partitions} partitions, {what}"),
    };
    figures.add(&name(partitions, "filling"), "s", many.filled_in.as_secs_f64());
    for store in [&one, &many] {
        let locks = store.locks_of_a_duplicate()?;
        figures.add(&name(store.partitions, "most locks of a transaction, duplicates only"), "locks", locks);
    }
    for round in 0..scale.rounds {
        for kind in KINDS {
            let run = |store: &Store<'_>, time, turn| {
                store.service.wait_until_idle()?;
                kind.run(store, time, &format!("{round}-{turn}"))
            };
            let [few, many] = clients::in_turns(
                scale.time,
                [&|time, turn| run(&one, time, turn), &|time, turn| run(&many, time, turn)],
            )?;
            figures.load(&name(1, kind.name()), &few);
            figures.load(&name(partitions, kind.name()), &many);
            let ratio = format!("{}: {partitions} partitions / one, at least 0.9", kind.name());
            figures.ratio(&ratio, many.rate() / few.rate());
        }
        let (few, many) = (one.erase_by_filter(round)?, many.erase_by_filter(round)?);
        let what = "DELETE of 100 scattered events by their source";
        figures.add(&name(1, what), "ms", few.as_secs_f64() * 1e3);
        figures.add(&name(partitions, what), "ms", many.as_secs_f64() * 1e3);
        let ratio = format!("{what}: time with one / {partitions} partitions, at least 0.9");
        figures.ratio(&ratio, few.as_secs_f64() / many.as_secs_f64());
    }
    Ok(())
}

/// A store and what it was filled with.
struct Store<'p> {
    service: Service<'p>,
    partitions: u64,
    events: u64,
    filled_in: Duration,
}

impl<'p> Store<'p> {
    /// Fills a store. It always has as many events as the one with many partitions.
    fn fill(build: &Build, place: Place<'p>, partitions: u64, scale: &Scale) -> Result<Self> {
        let service = build.start(place, &[])?;
        let events = scale.partitions * EACH;
        let step = events::step(events);
        let began = Instant::now();
        let database = service.database.as_ref().context("only PostgreSQL has partitions")?;
        if partitions == 1 {
            for first in (0..events).step_by(BATCH as usize) {
                service.publish(&events::batch(first..(first + BATCH).min(events), step))?;
            }
        } else {
            for number in 0..partitions {
                if number > 0 {
                    // The next event gets the seq behind the last that is known.
                    let seq = number << PARTITION;
                    let reserve = format!(
                        "insert into sekali.identities (seq, topic, event_id, received_on, erased)
                        values ({seq}, '', '{seq}', current_date, true)"
                    );
                    database.query(&reserve)?;
                }
                service.publish(&events::batch(number * EACH..(number + 1) * EACH, step))?;
            }
        }
        let filled_in = began.elapsed();
        let made = database
            .number("select count(*) from pg_inherits where inhparent = 'sekali.events'::regclass")?;
        ensure!(made >= partitions as f64, "there are {made} partitions and not {partitions}");
        service.settle()?;
        Ok(Self { service, partitions, events, filled_in })
    }

    /// The most locks that a transaction had at one of many looks, while a client sent nothing but duplicates.
    fn locks_of_a_duplicate(&self) -> Result<f64> {
        let database = self.service.database.as_ref().context("only PostgreSQL has locks")?;
        let events = self.events;
        std::thread::scope(|scope| {
            let looking = scope.spawn(|| database.number(MOST_LOCKS));
            let until = Until::Elapsed(Duration::from_secs(3));
            clients::run(self.service.address(), 2, until, |client| again(client, events, 1.0, "locks"))?;
            looking.join().ok().context("the look at locks panicked")?
        })
    }

    /// The time to erase what a rare source has.
    fn erase_by_filter(&self, round: usize) -> Result<Duration> {
        let rare = round as u64 % RARE_SOURCES;
        let began = Instant::now();
        let erased = self.service.erase(&format!("/events?source=rare-{rare}"))?;
        let took = began.elapsed();
        let expected = (self.events - rare).div_ceil(events::step(self.events));
        ensure!(erased == expected, "{erased} events were erased and not {expected}");
        Ok(took)
    }
}

/// Looks for two seconds.
const MOST_LOCKS: &str = "
    create function pg_temp.most_locks() returns bigint language plpgsql as $$
    declare
        most bigint := 0;
        now bigint;
    begin
        for look in 1 .. 400 loop
            perform pg_sleep(0.005);
            select max(count) into now from (
                select count(*) from pg_locks where pid <> pg_backend_pid() group by pid
            ) as holders;
            most := greatest(most, now);
        end loop;
        return most;
    end
    $$;
    select pg_temp.most_locks()";

#[derive(Clone, Copy)]
enum Kind {
    Publish,
    PublishWithDuplicates,
    Get,
    ByTime,
    ByTopicAndTime,
    Erase,
}

const KINDS: [Kind; 6] =
    [Kind::Publish, Kind::PublishWithDuplicates, Kind::Get, Kind::ByTime, Kind::ByTopicAndTime, Kind::Erase];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Publish => "single events, 64 clients",
            Self::PublishWithDuplicates => "single events, 64 clients, 5 % old duplicates",
            Self::Get => "GET of one old event, 16 clients",
            Self::ByTime => "a page of three minutes, 16 clients",
            Self::ByTopicAndTime => "a page of three minutes of a topic, 16 clients",
            Self::Erase => "DELETE of one old event, 4 clients",
        }
    }

    fn run(self, store: &Store<'_>, time: Duration, run: &str) -> Result<Load> {
        let (address, events, until) = (store.service.address(), store.events, Until::Elapsed(time));
        let name = |what| format!("{what}-{run}");
        match self {
            Self::Publish => {
                clients::run(address, CLIENTS, until, |client| again(client, events, 0.0, &name("none")))
            }
            Self::PublishWithDuplicates => clients::run(address, CLIENTS, until, |client| {
                again(client, events, DUPLICATES, &name("some"))
            }),
            Self::Get => clients::run(address, READERS, until, |_| {
                let mut random = fastrand::Rng::new();
                gets(move || path(random_event(&mut random, events, false)))
            }),
            Self::ByTime | Self::ByTopicAndTime => clients::run(address, READERS, until, |_| {
                let mut random = fastrand::Rng::new();
                gets(move || {
                    let n = random.u64(..events - SPAN);
                    let (since, until) = (events::timestamp(n), events::timestamp(n + SPAN));
                    let topic = match self {
                        Self::ByTime => String::new(),
                        _ => format!("&topic={}", events::identity(n).0),
                    };
                    format!("/events?limit=100&since={since}&until={until}{topic}")
                })
            }),
            Self::Erase => clients::run(address, ERASERS, until, |_| {
                let mut random = fastrand::Rng::new();
                let headers = format!("authorization: Bearer {TOKEN}\r\n");
                move |request: &mut Vec<u8>| {
                    let n = random_event(&mut random, events, true);
                    http::write(request, "DELETE", &path(n), &headers, b"");
                }
            }),
        }
    }
}

/// One event of so many may be erased; the others are read.
const SOME: u64 = 7;

/// The number of an event at random that has no rare source: of those that may be erased by their ids, or of the others.
fn random_event(random: &mut fastrand::Rng, events: u64, may_be_erased: bool) -> u64 {
    let step = events::step(events);
    loop {
        let n = random.u64(..events);
        if n.is_multiple_of(SOME) == may_be_erased && n % step >= RARE_SOURCES {
            return n;
        }
    }
}

fn path(n: u64) -> String {
    let (topic, id) = events::identity(n);
    format!("/events/{topic}/{id}")
}

/// A client of single events, of which a share are random ones of those that are stored.
fn again(client: usize, events: u64, share: f64, name: &str) -> impl FnMut(&mut Vec<u8>) + use<> {
    let mut random = fastrand::Rng::new();
    let mut new = clients::singles(&format!("{name}-{client}"));
    let mut body = String::new();
    move |request| {
        if random.f64() >= share {
            return new(request);
        }
        body.clear();
        events::write(random_event(&mut random, events, false), events::step(events), &mut body);
        http::write(request, "POST", "/publish", "", body.as_bytes());
    }
}
