//! A page by each combination of filters.

use anyhow::Result;

use super::store::{Store, moment, start};
use crate::load::{self, Get, Until};
use crate::report::{Report, median};

/// The median time of a page of 100 by each combination of filters, in both stores.
pub fn measure(few: &Store, many: &Store, report: &mut Report) -> Result<()> {
    for filter in FILTERS {
        let mut medians = [Vec::new(), Vec::new()];
        for _ in 0..5 {
            for (store, medians) in [few, many].into_iter().zip(&mut medians) {
                let get = Get(format!("/events?limit=100{}", query(filter, store.events)));
                let measured = load::run(store.address, vec![get], Until::Requests(60))?;
                medians.push(measured.millis(50.0));
            }
        }
        let [few, many] = medians.map(median);
        let name = if filter.is_empty() { "none" } else { filter };
        report.row(&format!("a page of 100, filter {name}, few"), "p50 ms", few);
        report.row(&format!("a page of 100, filter {name}, many"), "p50 ms", many);
        report.ratio(&format!("filter {name}: many / few"), many / few);
    }
    Ok(())
}

/// The combinations of filters. A moment is given in hundredths of the store, and so is a seq.
const FILTERS: [&str; 32] = [
    "",
    "topic=topic-3",
    "topic=topic-3&topic=topic-4",
    "topic=rare",
    "topic=rare.*",
    "topic=some.*",
    "topic=many.*",
    "topic=many.*&order=desc",
    "topic=rare.*&since=80",
    "topic=many.*&since=80",
    "topic=many.*&source=rare",
    "topic=some.*&source=source-3",
    "source=source-3",
    "source=rare",
    "topic=topic-3&source=source-3",
    "topic=topic-3&source=rare",
    "topic=rare&source=source-3",
    "since=80",
    "since=99",
    "until=20",
    "since=40&until=60",
    "since=50&until=50.1",
    "topic=topic-3&since=80",
    "topic=topic-3&since=40&until=60",
    "topic=rare&since=80",
    "source=source-3&since=80",
    "source=rare&since=80",
    "topic=topic-3&source=source-3&since=80",
    "topic=topic-3&since=80&after=90",
    "order=desc",
    "since=80&order=desc",
    "topic=topic-3&until=20&order=desc",
];

/// The query of a filter in a store of so many events.
fn query(filter: &str, events: u64) -> String {
    let part =
        |hundredths: &str| (hundredths.parse::<f64>().unwrap_or_default() / 100.0 * events as f64) as u64;
    let pairs = filter.split('&').filter_map(|pair| pair.split_once('='));
    let pairs = pairs.map(|(name, value)| match name {
        "since" | "until" => format!("&{name}={}", moment(&start(), part(value))),
        "after" => format!("&after={}", part(value)),
        _ => format!("&{name}={value}"),
    });
    pairs.collect()
}
