//! Requests with an Idempotency-Key beside requests without, and where every second one is sent again.

use anyhow::{Result, ensure};

use super::build::{Build, Place};
use super::clients;
use super::figures::Figures;
use super::scale::Scale;
use crate::load::Until;
use crate::{http, workload};

/// Measures one round.
pub fn measure(build: &Build, place: Place<'_>, scale: &Scale, figures: &mut Figures) -> Result<()> {
    let service = build.start(place, &[])?;
    for clients in [64, 256] {
        let name = |what: &str| format!("keys on {}, {clients} clients, {what}", place.name());
        let run = |kind: Kind, time, turn| {
            clients::run(service.address(), clients, Until::Elapsed(time), |client| {
                self::client(kind, &format!("{kind:?}-{clients}-{turn}-{client}"))
            })
        };
        // Spin starts as many instances as it needs.
        run(Kind::Without, scale.time / 4, u32::MAX)?;
        let [without, with, again] = clients::in_turns(
            scale.time,
            [
                &|time, turn| run(Kind::Without, time, turn),
                &|time, turn| run(Kind::EachItsOwn, time, turn),
                &|time, turn| run(Kind::EachTwice, time, turn),
            ],
        )?;
        let answered = again.measured.requests - again.failed;
        // The second of a client's last two may not have been sent, in each turn.
        let expected = answered.saturating_sub(u64::from(clients::TURNS) * clients as u64) / 2;
        ensure!(again.replayed >= expected, "{} replays of {answered} requests", again.replayed);
        figures.load(&name("without a key"), &without);
        figures.load(&name("a key each"), &with);
        figures.load(&name("a key each, every second request a replay"), &again);
        figures.compare(&name("with keys / without"), ", at least 0.6", &with, &without);
        figures.compare(&name("with keys and replays / without"), "", &again, &without);
    }
    Ok(())
}

/// How clients use keys.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Without,
    EachItsOwn,
    EachTwice,
}

/// A client of single events. No other of this store has the same name.
fn client(kind: Kind, name: &str) -> impl FnMut(&mut Vec<u8>) + use<> {
    let mut ids = workload::Ids::ordered(name.to_owned());
    let (mut body, mut headers, mut is_due_again) = (Vec::new(), String::new(), false);
    move |request| {
        if !is_due_again {
            let id = ids.next();
            body.clear();
            workload::write_event(&id, &mut body);
            if kind != Kind::Without {
                headers = format!("idempotency-key: {id}\r\n");
            }
        }
        is_due_again = kind == Kind::EachTwice && !is_due_again;
        http::write(request, "POST", "/publish", &headers, &body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_sent_twice_and_the_next_has_another_key() {
        let mut next = client(Kind::EachTwice, "k");
        let [first, second, third] = [(); 3].map(|()| {
            let mut request = Vec::new();
            next(&mut request);
            String::from_utf8(request).unwrap()
        });
        assert!(first.contains("\r\nidempotency-key: k-000000000001\r\n"), "{first}");
        assert_eq!(first, second);
        assert!(third.contains("\r\nidempotency-key: k-000000000002\r\n"), "{third}");
    }
}
