//! When an event that failed comes again.

use std::time::Duration;

/// The pauses behind each failure: three days in all, and then once a day (Standard Webhooks, "Operational considerations").
const PAUSES: [u64; 11] = [5, 30, 120, 600, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// The pause behind the failure of this number, which begins at 1. `random` lies between 0 and 1.
pub fn pause(failure: u32, random: f64) -> Duration {
    let place = (failure.max(1) as usize - 1).min(PAUSES.len() - 1);
    Duration::from_secs(PAUSES[place]).mul_f64(0.8 + 0.4 * random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_day_and_have_a_fifth_of_jitter() {
        assert_eq!([1, 2, 11, 12, 500].map(|n| pause(n, 0.5).as_secs()), [5, 30, 86_400, 86_400, 86_400]);
        assert_eq!([0.0, 1.0].map(|random| pause(1, random).as_millis()), [4000, 6000]);
        assert_eq!(PAUSES.iter().sum::<u64>() / 3600, 75, "three days and three hours");
    }
}
