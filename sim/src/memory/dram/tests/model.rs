//! The schedule against slow, obvious models, and against arithmetic on paper.

use daxsim_configs::machine::MachineSpec;
use daxsim_types::{CacheLine, Time};
use proptest::prelude::*;

use super::{banked, spec, timings};
use crate::memory::dram::activates::Activates;
use crate::memory::dram::banked::Banked;
use crate::memory::dram::columns::Columns;
use crate::memory::dram::timing::{Column, Kind, Timings};
use crate::memory::stats::DeviceStats;

/// A channel of one rank with a line's number made of row, bank, group and column, each of 16 bits or less.
fn plain(keys: &[&str]) -> MachineSpec {
    let first = ["channels=1", "ranks=1", "mapping=row bank group rank column channel"];
    let all: Vec<&str> = first.into_iter().chain(keys.iter().copied()).collect();
    spec("DDR4-2666V", &all)
}

/// Bank and row of [`plain`], column 0.
const fn line(bank: u64, row: u64) -> CacheLine {
    CacheLine((row * 16 + bank) * 128)
}

/// Clocks of DDR4-2666.
const fn clocks(n: u64) -> Time {
    Time(n * 750)
}

struct Counted(Banked, DeviceStats);

impl Counted {
    fn new(spec: &MachineSpec) -> Self {
        Self(banked(spec), DeviceStats::default())
    }

    fn read(&mut self, line: CacheLine, clock: u64) -> u64 {
        let latency = self.0.read(line, clocks(clock), &mut self.1);
        assert_eq!(latency.0 % 750, 0);
        latency.0 / 750
    }

    fn write(&mut self, line: CacheLine, clock: u64) -> u64 {
        self.0.write(line, clocks(clock), &mut self.1).0 / 750
    }
}

// CL 19, RCD 19, RP 19, RAS 43, RTP 10, CWL 14, WR 20, WTR_L 10, WTR_S 4, a burst is 4.

#[test]
fn a_closed_bank_an_open_row_and_another_row_cost_what_they_do_on_paper() {
    let mut d = Counted::new(&plain(&["refresh=off"]));
    assert_eq!(d.read(line(0, 5), 0), 19 + 19 + 4);
    assert_eq!(d.read(line(0, 5), 1000), 19 + 4);
    assert_eq!(d.read(line(0, 6), 2000), 19 + 19 + 19 + 4);
    assert_eq!(d.read(line(0, 7), 2000), 19 + (62 + 19) + 19 + 4, "tRC after the activate at 2019");
    assert_eq!(
        d.read(line(1, 7), 2000),
        19 + 19 + 4,
        "before what was promised: another group, another bank"
    );
    let stats = d.0.stats();
    assert_eq!((stats.row_hits, stats.row_misses, stats.row_conflicts), (1, 2, 2));
    assert_eq!((stats.activates, stats.precharges), (4, 2));
}

#[test]
fn a_row_that_is_closed_at_once_costs_the_same_each_time() {
    let mut d = Counted::new(&plain(&["refresh=off", "page_policy=closed"]));
    for n in 0..4 {
        assert_eq!(d.read(line(0, n / 2), 1000 * n), 19 + 19 + 4);
    }
    assert_eq!(d.read(line(0, 0), 3000), 62 + 19 + 19 + 4, "tRC");
    assert_eq!(d.0.stats().row_misses, 5);
}

#[test]
fn a_row_is_used_once_more_before_it_is_closed_for_another() {
    let mut d = Counted::new(&plain(&["refresh=off"]));
    assert_eq!(d.read(line(0, 5), 0), 42);
    assert_eq!(d.read(line(0, 6), 1), 61 + 19 + 19 + 4, "the row is closed at 43 at the earliest: tRAS");
    assert_eq!(d.read(line(0, 5), 2), 19 + 19 + 4 + 7 - 2, "tCCD_L after the first");
    assert_eq!(d.0.stats().row_hits, 1);
    assert_eq!(d.read(line(0, 5), 34), 62 + 62 + 19 + 19 + 4 - 34, "too late for tRTP: after the other one");
}

#[test]
fn a_refresh_keeps_a_rank_from_work_and_closes_its_rows() {
    let mut d = Counted::new(&plain(&[]));
    let starts = d.0.channels[0].refreshes_before(&d.0.rules.t, [0, 0], 100_000);
    let (due, rfc, fifth) = (starts[0], 480, starts[4]);
    assert_eq!(d.read(line(0, 5), due - 200), 42);
    assert_eq!(d.read(line(0, 5), due - 100), 23);
    assert_eq!(d.read(line(0, 5), due - 20), 20 + rfc + 42, "no time to precharge");
    assert_eq!(d.read(line(0, 5), due + rfc + 100), 23);
    assert_eq!(d.read(line(0, 5), fifth), rfc + 42);
    assert_eq!(d.0.stats().refreshes, 5);
    assert_eq!(d.0.stats().row_conflicts, 0);
}

#[test]
fn writes_wait_until_nothing_is_read() {
    let mut d = Counted::new(&plain(&["refresh=off"]));
    assert_eq!(d.read(line(0, 5), 0), 42);
    assert_eq!(d.write(line(0, 6), 1), 0, "posted");
    assert_eq!(d.read(line(0, 6), 5), 1, "and read from the queue");
    assert_eq!(d.0.moved(), (64, 0));
    // The bus is idle from clock 20 on: precharge at 43, activate at 62, write at 81.
    assert_eq!(d.read(line(0, 6), 90), 81 + 14 + 4 + 10 + 19 + 4 - 90, "tWTR_L after the write's data");
    assert_eq!((d.0.moved(), d.0.stats().forwarded_reads, d.0.stats().switches), ((128, 64), 1, 2));
}

#[test]
fn a_full_write_queue_goes_before_reads_and_then_stalls() {
    let mut d = Counted::new(&plain(&["refresh=off", "write_queue=8", "write_high=6", "write_low=2"]));
    for n in 0..5 {
        assert_eq!(d.write(line(0, n), 100), 0);
    }
    assert_eq!(d.0.moved(), (0, 0));
    assert_eq!(d.write(line(0, 5), 100), 0);
    assert_eq!(d.0.moved(), (0, 4 * 64), "down to the low mark");
    let stalls: Vec<u64> = (6..9).map(|n| d.write(line(0, n), 100)).collect();
    // Two wait, four are on their way: in another two places. The first command is at 119.
    assert_eq!(stalls, [0, 0, 19]);
    assert_eq!(d.0.stats().write_queue_max, 8);
}

#[test]
fn every_line_that_was_written_leaves_the_queue() {
    let mut d = Counted::new(&plain(&[]));
    for n in 0..1000 {
        d.write(CacheLine(n * 9973), n * 40);
    }
    d.read(line(0, 0), 1_000_000);
    assert_eq!(d.0.moved(), (64, 64_000));
}

#[test]
fn a_stream_runs_at_nearly_the_bandwidth_of_the_bus() {
    for write in [false, true] {
        let spec = spec("DDR4-2666V", &["channels=6", "refresh=off"]);
        let (mut dram, mut stats) = (banked(&spec), DeviceStats::default());
        let (lines, mut end) = (60_000, Time::ZERO);
        for n in 0..lines {
            let at = Time(n * 450);
            let wait = if write {
                dram.write(CacheLine(n), at, &mut stats)
            } else {
                dram.read(CacheLine(n), at, &mut stats)
            };
            end = end.max(at + wait);
        }
        let gb_per_s = (lines * 64) as f64 / end.as_ns();
        assert!(gb_per_s > 0.97 * 128.0, "{gb_per_s}, write {write}");
    }
}

/// The earliest clock from `from` on at which `legal` holds.
fn first(from: u64, legal: impl Fn(u64) -> bool) -> u64 {
    (from..).find(|at| legal(*at)).unwrap()
}

fn columns_are_apart(t: &Timings, a: (u64, Column), b: (u64, Column)) -> bool {
    let (first, second) = if a.0 <= b.0 { (a, b) } else { (b, a) };
    first.0 + t.between(first.1, second.1) <= second.0
}

/// Whether activates keep tRRD and tFAW.
fn activates_are_apart(t: &Timings, all: &[(u64, u8)]) -> bool {
    let mut all = all.to_vec();
    all.sort_unstable();
    let pairs = (0..all.len()).flat_map(|i| (i + 1..all.len()).map(move |j| (i, j)));
    let near = |(i, j): (usize, usize)| {
        let same = all[i].1 == all[j].1;
        all[j].0 < all[i].0 + if same { t.rrd_l } else { t.rrd_s }
    };
    !pairs.into_iter().any(near) && all.windows(5).all(|w| w[4].0 >= w[0].0 + t.faw)
}

/// A bank at a time, a clock at a time: what a lone read costs.
struct Stepper {
    t: Timings,
    closed: bool,
    /// Row, activate, last read.
    open: [Option<(u64, u64, u64)>; 16],
    /// Earliest activate.
    ready: [u64; 16],
    /// Beginnings of the refreshes.
    due: Vec<u64>,
}

impl Stepper {
    /// The clock of the data.
    fn read(&mut self, bank: usize, row: u64, from: u64) -> u64 {
        let mut clock = from;
        loop {
            let due = self.last_due(clock);
            let refreshing = due > 0 && clock < due + self.t.rfc;
            if refreshing || self.ready_by(bank, row, clock) > self.next_close(clock) {
                // Everything is closed until the refresh is over.
                let until = self.next_close(clock) + self.t.rp + self.t.rfc;
                let until = if refreshing { due + self.t.rfc } else { until };
                self.open = [None; 16];
                self.ready = [until; 16];
                clock = until;
                continue;
            }
            self.expire(clock);
            match self.open[bank] {
                Some((open, act, _)) if open == row && clock >= act + self.t.rcd => {
                    self.open[bank] = Some((row, act, clock));
                    if self.closed {
                        self.close(bank, (act + self.t.ras).max(clock + self.t.to_precharge(Kind::Read)));
                    }
                    return clock + self.t.cl + self.t.burst;
                }
                Some((open, act, read)) if open != row => {
                    let ready = (act + self.t.ras).max(read + self.t.to_precharge(Kind::Read));
                    if clock >= ready {
                        self.close(bank, clock);
                    }
                }
                None if clock >= self.ready[bank] => self.open[bank] = Some((row, clock, clock)),
                _ => {}
            }
            clock += 1;
        }
    }

    fn close(&mut self, bank: usize, at: u64) {
        self.open[bank] = None;
        self.ready[bank] = at + self.t.rp;
    }

    /// The last precharge before the next refresh.
    fn next_close(&self, clock: u64) -> u64 {
        self.due.iter().map(|due| due - self.t.rp).find(|close| *close > clock).unwrap_or(u64::MAX)
    }

    /// The last refresh that began, or for which everything is closed; 0 before the first.
    fn last_due(&self, clock: u64) -> u64 {
        self.due.iter().copied().take_while(|due| *due <= clock + self.t.rp).last().unwrap_or(0)
    }

    /// Closes what was open at the last refresh.
    fn expire(&mut self, clock: u64) {
        let due = self.last_due(clock);
        for open in &mut self.open {
            if open.is_some_and(|(_, act, _)| act < due) {
                *open = None;
            }
        }
    }

    /// When the bank could be closed again after a read that starts now.
    fn ready_by(&self, bank: usize, row: u64, clock: u64) -> u64 {
        let t = &self.t;
        let rtp = t.to_precharge(Kind::Read);
        match self.open[bank] {
            Some((open, act, _)) if open == row => (clock.max(act + t.rcd) + rtp).max(act + t.ras),
            Some((_, act, read)) => clock.max(act + t.ras).max(read + rtp) + t.rp + t.ras,
            None => clock.max(self.ready[bank]) + t.ras,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_column_command_takes_the_first_gap_that_is_wide_enough(
        preset in prop::sample::select(vec!["DDR4-2666V", "DDR5-4800BN"]),
        asks in prop::collection::vec((0u64..600, any::<bool>(), 0u8..2, 0u8..2), 1..100),
    ) {
        let t = timings(preset);
        let mut columns = Columns::new();
        let mut placed = Vec::new();
        for (from, write, rank, group) in asks {
            let column = Column { kind: if write { Kind::Write } else { Kind::Read }, rank, group: rank * 2 + group };
            let at = columns.earliest(&t, from, column);
            let slow = first(from, |at| placed.iter().all(|other| columns_are_apart(&t, *other, (at, column))));
            prop_assert_eq!(at, slow);
            columns.insert(&t, at, column);
            placed.push((at, column));
        }
        placed.sort_by_key(|(at, _)| *at);
        let switches = placed.windows(2).filter(|w| w[0].1.kind != w[1].1.kind).count();
        prop_assert_eq!(columns.switches, switches as u64);
        prop_assert_eq!(columns.reads_after(300), placed.iter().filter(|(at, c)| *at > 300 && c.kind == Kind::Read).count());
    }

    #[test]
    fn an_activate_takes_the_first_gap_that_is_wide_enough(
        width in prop::sample::select(vec!["x4", "x8", "x16"]),
        asks in prop::collection::vec((0u64..300, 0u8..4), 1..32),
    ) {
        let spec = spec("DDR4-3200AA", &[&format!("device_width={width}"), "capacity=4 GiB"]);
        let t = Timings::new(&spec.dram_preset, &spec.dram_banks);
        let mut activates = Activates::new();
        let mut placed: Vec<(u64, u8)> = Vec::new();
        for (from, group) in asks {
            let at = activates.earliest(&t, from, group);
            let with = |at| placed.iter().copied().chain([(at, group)]).collect::<Vec<_>>();
            prop_assert_eq!(at, first(from, |at| activates_are_apart(&t, &with(at))));
            activates.insert(&t, at, group);
            placed.push((at, group));
        }
    }

    #[test]
    fn reads_one_after_another_take_as_long_as_clock_by_clock(
        closed in any::<bool>(),
        reads in prop::collection::vec((0usize..16, 0u64..3, prop_oneof![0u64..60, 0u64..3000]), 1..120),
    ) {
        let spec = plain(if closed { &["page_policy=closed"] } else { &[] });
        let mut d = Counted::new(&spec);
        let t = Timings::new(&spec.dram_preset, &spec.dram_banks);
        let due = d.0.channels[0].refreshes_before(&t, [0, 0], 1_000_000);
        let mut slow = Stepper { t, closed, open: [None; 16], ready: [0; 16], due };
        let mut now = 0;
        for (bank, row, gap) in reads {
            // After the last data, so that no other bank matters.
            now += gap;
            let latency = d.read(line(bank as u64, row), now);
            prop_assert_eq!(latency, slow.read(bank, row, now) - now, "bank {} row {} at {}", bank, row, now);
            now += latency;
        }
    }
}
