//! Exchanges as differences, and the slowest of each interval.

use profiler_common::exchange::spent::SKEWED;
use profiler_common::exchange::{ExchangeKey, ExchangeRecord, SlowExchange};

use crate::batch::hist::Scale;
use crate::batch::{self, Endpoint, ExchangeRow, Hist, ProcessKey, Slowest, Spent, Timestamp};
use crate::kernel::drain::Map;
use crate::kernel::drain::spent::spent_of;

/// With so many entries, half of the kernel's map, those that did nothing for a while have to go.
const CROWD: usize = 1_024;

/// The last reading of each key.
#[derive(Default)]
pub struct Exchanges {
    keys: Map<ExchangeKey, Last>,
    /// Slow ones of which clocks disagree where their threads were.
    pub skewed: u64,
}

/// The last reading of a key. Its record begins with the first exchange that we see end.
struct Last {
    record: Box<ExchangeRecord>,
    /// The slowest since then.
    slowest: Option<Slowest>,
    /// It has grown since the last search for those that are gone.
    grows: bool,
}

impl Default for Last {
    fn default() -> Self {
        Self { record: Box::new(ExchangeRecord::EMPTY), slowest: None, grows: false }
    }
}

impl Exchanges {
    /// One was slower than those before it.
    pub fn slow(&mut self, told: &SlowExchange) {
        let SlowExchange { key, cookie, at_ns, time_ns, tid, .. } = *told;
        let spent = spent_of(told);
        self.skewed += u64::from(spent == Spent::Unknown(SKEWED));
        let last = self.keys.entry(key).or_default();
        if last.slowest.is_none_or(|slowest| slowest.time_ns < time_ns) {
            last.slowest = Some(Slowest { time_ns, at: Timestamp(at_ns), socket: cookie, tid, spent });
        }
    }

    /// What is new of a key, if anything.
    pub fn observe(&mut self, key: &ExchangeKey, now: &ExchangeRecord) -> Option<ExchangeRow> {
        let Last { record: last, slowest, grows } = self.keys.entry(*key).or_default();
        let slowest = slowest.take();
        let counts = |record: &ExchangeRecord| [record.count, record.stalls, record.asked, record.answered];
        if counts(last) == counts(now) && slowest.is_none() {
            return None;
        }
        *grows = true;
        let row = ExchangeRow {
            key: batch::ExchangeKey {
                role: key.role,
                netns: key.netns,
                endpoint: Endpoint::new(key.address, u16::try_from(key.port).unwrap_or_default()).to_string(),
                process: process_of(key),
            },
            count: now.count.wrapping_sub(last.count),
            time_ns: now.time_ns.wrapping_sub(last.time_ns),
            time: Hist::between(Scale::Linear32, &now.time, &last.time),
            timed: now.timed.wrapping_sub(last.timed),
            rtt_ns: now.rtt_ns.wrapping_sub(last.rtt_ns),
            shorter: now.shorter.wrapping_sub(last.shorter),
            slowest,
            stalls: Some(now.stalls.wrapping_sub(last.stalls)),
            stall_ns: now.stall_ns.wrapping_sub(last.stall_ns),
            stall_rtt_ns: now.stall_rtt_ns.wrapping_sub(last.stall_rtt_ns),
            stall_socket: (now.stalls != last.stalls).then_some(now.stall_socket),
            asked: Some(now.asked.wrapping_sub(last.asked)),
            answered: now.answered.wrapping_sub(last.answered),
        };
        **last = *now;
        Some(row)
    }

    /// Entries that the map can let go: of processes that are gone, and where there are many, also those that have not grown
    /// since the last search: an exchange that such a one ends in that very moment is missing.
    pub fn forget(&mut self, gone: impl Fn(ProcessKey) -> bool) -> Vec<ExchangeKey> {
        let crowded = self.keys.len() >= CROWD;
        let mut keys = Vec::new();
        self.keys.retain(|key, last| {
            let stays = std::mem::take(&mut last.grows) || !(crowded || gone(process_of(key)));
            keys.extend((!stays).then_some(*key));
            stays
        });
        keys
    }
}

fn process_of(key: &ExchangeKey) -> ProcessKey {
    ProcessKey { pid: key.pid, start_ns: key.process_start_ns }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(pid: u32) -> ExchangeKey {
        ExchangeKey { pid, port: 80, ..ExchangeKey::default() }
    }

    fn record(count: u64, time_ns: u64) -> ExchangeRecord {
        ExchangeRecord { count, time_ns, ..ExchangeRecord::EMPTY }
    }

    #[test]
    fn the_slowest_of_an_interval_is_told_with_it_and_only_then() {
        let mut exchanges = Exchanges::default();
        for (time_ns, cookie) in [(30, 1), (50, 2), (40, 3)] {
            exchanges.slow(&SlowExchange { key: key(7), cookie, time_ns, at_ns: 90, ..SlowExchange::default() });
        }
        let row = exchanges.observe(&key(7), &record(3, 120)).unwrap();
        let slowest = row.slowest.unwrap();
        assert_eq!((row.count, row.time_ns, slowest.time_ns, slowest.socket), (3, 120, 50, 2));
        assert_eq!(row.key.endpoint, "[::]:80");
        assert_eq!(exchanges.observe(&key(7), &record(3, 120)), None);
        let row = exchanges.observe(&key(7), &record(5, 140)).unwrap();
        assert_eq!((row.count, row.time_ns, row.slowest), (2, 20, None));
    }

    #[test]
    fn what_is_asked_in_vain_and_what_is_held_back_is_told_without_an_exchange() {
        let mut exchanges = Exchanges::default();
        let row = exchanges.observe(&key(7), &ExchangeRecord { asked: 4, answered: 1, ..record(1, 9) }).unwrap();
        assert_eq!((row.asked, row.answered, row.stalls, row.stall_socket), (Some(4), 1, Some(0), None));
        let row = exchanges.observe(&key(7), &ExchangeRecord { asked: 6, answered: 1, ..record(1, 9) }).unwrap();
        assert_eq!((row.count, row.asked, row.answered), (0, Some(2), 0));
        let held = ExchangeRecord { stalls: 1, stall_ns: 40, stall_socket: 5, asked: 6, answered: 1, ..record(1, 9) };
        let row = exchanges.observe(&key(7), &held).unwrap();
        assert_eq!((row.asked, row.stalls, row.stall_ns, row.stall_socket), (Some(0), Some(1), 40, Some(5)));
    }

    #[test]
    fn what_is_gone_goes_and_of_a_crowd_what_is_idle() {
        let mut exchanges = Exchanges::default();
        exchanges.observe(&key(7), &record(1, 1));
        let gone = |process: ProcessKey| process.pid == 7;
        assert_eq!(exchanges.forget(gone), [], "it has just grown");
        assert_eq!(exchanges.forget(gone), [key(7)]);
        for pid in 10..10 + u32::try_from(CROWD).unwrap() {
            exchanges.observe(&key(pid), &record(1, 1));
        }
        assert_eq!(exchanges.forget(gone), []);
        exchanges.observe(&key(10), &record(2, 2));
        assert_eq!(exchanges.forget(gone).len(), CROWD - 1);
    }
}
