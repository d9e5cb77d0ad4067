//! A reader that goes from page to page while others write.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sekali::store::Store;
use serde_json::Value;

use super::clients::Clients;
use super::receipts::Books;
use crate::sim::Violations;

/// A reader, and the seqs that it has read.
#[derive(Clone, Default)]
pub struct Pager(Rc<RefCell<Vec<u64>>>);

impl Pager {
    /// Reads pages until nobody writes, and nothing is left.
    pub async fn run<S: Store>(self, clients: Rc<Clients<S>>) {
        let sim = &clients.sim;
        loop {
            // All who write hold the clients. The other two are the scenario and this reader.
            let is_over = Rc::strong_count(&clients) <= 2;
            let after = self.0.borrow().last().copied().unwrap_or_default();
            let limit = sim.draw(|random| random.u32(1..300));
            let target = format!("/events?after={after}&limit={limit}");
            let answer =
                clients.exchange("GET", &target, &[("accept", "application/x-ndjson")], vec![]).await;
            if answer.status == 200 {
                let seq = |line: &str| serde_json::from_str::<Value>(line).ok()?["seq"].as_u64();
                let page: Vec<_> = answer.text.lines().filter_map(seq).collect();
                sim.log(format!("page of {} behind {after}", page.len()));
                self.0.borrow_mut().extend(&page);
                if is_over && page.is_empty() {
                    return;
                }
            }
            sim.sleep(Duration::from_millis(1) + sim.below_millis(20)).await;
        }
    }

    /// It has read every event, once, in the order of seq.
    pub fn check(&self, books: &Books, violations: &Violations) {
        let expected: Vec<_> = books.seqs().into_iter().collect();
        let seqs = self.0.borrow();
        violations.check(*seqs == expected, || {
            let at = (0..).find(|&at| seqs.get(at) != expected.get(at)).unwrap_or_default();
            format!("a reader of pages got {:?} where {:?} was due", seqs.get(at), expected.get(at))
        });
    }
}
