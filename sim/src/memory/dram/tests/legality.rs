//! A checker of command logs that knows only the speed bin: random programs must not break a timing.

use daxsim_configs::machine::{DramPreset, DramRefresh, MachineSpec};
use daxsim_types::{CacheLine, Time};
use proptest::prelude::*;

use super::{banked, spec};
use crate::memory::dram::channel::{Channel, Command};
use crate::memory::dram::timing::{Kind, Timings};
use crate::memory::stats::DeviceStats;

/// A bank as the checker knows it.
#[derive(Clone, Copy, Default)]
struct Bank {
    open: Option<u64>,
    activated: Option<u64>,
    precharged: Option<u64>,
    /// Last column command, and whether it wrote.
    column: Option<(u64, bool)>,
}

/// The rules of one channel, applied to commands in the order of their time.
struct Checker<'a> {
    p: &'a DramPreset,
    spec: &'a MachineSpec,
    banks: Vec<Bank>,
    per_group: usize,
    per_rank: usize,
    /// Time and bank of every activate, and of every column command with whether it wrote.
    activates: Vec<(u64, usize)>,
    columns: Vec<(u64, usize, bool)>,
    /// End of the last refresh of each bank.
    refreshed: Vec<u64>,
    /// The last same-bank refresh of each rank.
    same_bank: Vec<Option<u64>>,
}

/// What a column command is of: `[same group, same rank, other rank]`.
type Apart = [u32; 3];

impl<'a> Checker<'a> {
    fn new(spec: &'a MachineSpec) -> Self {
        let p = &spec.dram_preset;
        let g = p.geometry(&spec.dram_banks, spec.dram.channels);
        let (per_group, per_rank) = (g.banks as usize, (g.banks * g.groups) as usize);
        let (banks, ranks) = (per_rank * g.ranks as usize, g.ranks as usize);
        Self {
            p,
            spec,
            banks: vec![Bank::default(); banks],
            per_group,
            per_rank,
            activates: Vec::new(),
            columns: Vec::new(),
            refreshed: vec![0; banks],
            same_bank: vec![None; ranks],
        }
    }

    fn after(&self, what: &str, at: u64, first: Option<u64>, clocks: u32) -> Result<(), String> {
        match first {
            Some(first) if at < first + u64::from(clocks) => {
                Err(format!("{what}: {at} is less than {clocks} after {first}"))
            }
            _ => Ok(()),
        }
    }

    fn apart(&self, a: usize, b: usize, clocks: Apart) -> u32 {
        let [group, rank, other] = clocks;
        if a / self.per_group == b / self.per_group {
            group
        } else if a / self.per_rank == b / self.per_rank {
            rank
        } else {
            other
        }
    }

    fn activate(&mut self, at: u64, bank: usize, row: u64) -> Result<(), String> {
        let (state, rank) = (self.banks[bank], bank / self.per_rank);
        if state.open.is_some() {
            return Err(format!("activate at {at} of an open bank"));
        }
        self.after("tRP", at, state.precharged, self.p.rp)?;
        self.after("tRC", at, state.activated, self.p.rc)?;
        if at < self.refreshed[bank] {
            return Err(format!("tRFC: activate at {at}, refresh until {}", self.refreshed[bank]));
        }
        self.after("tREFSBRD", at, self.same_bank[rank], self.clocks(self.p.refsb_to_activate))?;
        let (rrd_s, rrd_l, faw) = self.p.activates(self.spec.dram_banks.device_width);
        let same_rank: Vec<_> =
            self.activates.iter().rev().filter(|(_, b)| b / self.per_rank == rank).take(8).collect();
        for (other, b) in &same_rank {
            self.after("tRRD", at, Some(*other), self.apart(*b, bank, [rrd_l, rrd_s, 0]))?;
        }
        self.after("tFAW", at, same_rank.get(3).map(|(fourth, _)| *fourth), faw)?;
        self.activates.push((at, bank));
        self.banks[bank] = Bank { open: Some(row), activated: Some(at), precharged: None, column: None };
        Ok(())
    }

    fn precharge(&mut self, at: u64, bank: usize) -> Result<(), String> {
        let state = self.banks[bank];
        if state.open.is_none() {
            return Err(format!("precharge at {at} of a closed bank"));
        }
        self.after("tRAS", at, state.activated, self.p.ras)?;
        let wait = if state.column.is_some_and(|(_, wrote)| wrote) {
            self.p.cwl + self.p.burst_clocks() + self.p.wr
        } else {
            self.p.rtp
        };
        self.after("tRTP or tWR", at, state.column.map(|(last, _)| last), wait)?;
        (self.banks[bank].open, self.banks[bank].precharged) = (None, Some(at));
        Ok(())
    }

    fn column(&mut self, at: u64, bank: usize, row: u64, wrote: bool) -> Result<(), String> {
        let (p, burst) = (self.p, self.p.burst_clocks());
        if self.banks[bank].open != Some(row) {
            return Err(format!("column command at {at} of row {row}, open is {:?}", self.banks[bank].open));
        }
        self.after("tRCD", at, self.banks[bank].activated, p.rcd)?;
        let data = |at: u64, wrote: bool| at + u64::from(if wrote { p.cwl } else { p.cl });
        for &(other, b, wrote_before) in self.columns.iter().rev().take(40) {
            let clocks = match (wrote_before, wrote) {
                (false, false) => [p.ccd_l, p.ccd_s, 0],
                (true, true) => [p.ccd_l_wr, p.ccd_s, 0],
                (true, false) => [p.cwl + burst + p.wtr_l, p.cwl + burst + p.wtr_s, 0],
                (false, true) => [0; 3],
            };
            self.after("tCCD or tWTR", at, Some(other), self.apart(b, bank, clocks))?;
            // The bus: data of one, then perhaps clocks without, then data of the other.
            let other_rank = b / self.per_rank != bank / self.per_rank;
            let idle = if other_rank { p.rank_switch } else { 0 };
            let idle = if !wrote_before && wrote { idle.max(p.read_to_write) } else { idle };
            let end = data(other, wrote_before);
            self.after("bus", data(at, wrote), Some(end), burst + idle)?;
        }
        self.columns.push((at, bank, wrote));
        let last = self.banks[bank].column;
        self.banks[bank].column = Some((at, wrote)).max(last);
        Ok(())
    }

    fn clocks(&self, time: Time) -> u32 {
        time.0.div_ceil(self.p.clock.0) as u32
    }

    /// A refresh of a rank: of all banks, or of those of one number in their group.
    fn refresh(&mut self, at: u64, [rank, set]: [usize; 2]) -> Result<(), String> {
        let same_bank = self.spec.dram_banks.refresh == DramRefresh::SameBank;
        if same_bank {
            let (_, rrd_l, _) = self.p.activates(self.spec.dram_banks.device_width);
            let last = self.activates.iter().rev().find(|(_, b)| b / self.per_rank == rank);
            self.after("tRRD before refresh", at, last.map(|(last, _)| *last), rrd_l)?;
            self.after("tREFSBRD", at, self.same_bank[rank], self.clocks(self.p.refsb_to_activate))?;
            self.same_bank[rank] = Some(at);
        }
        let density = self.spec.dram_banks.density;
        let rfc = self.clocks(if same_bank { self.p.rfc_sb(density) } else { self.p.rfc(density) });
        let all = rank * self.per_rank..(rank + 1) * self.per_rank;
        for bank in all.filter(|bank| !same_bank || bank % self.per_group == set) {
            if self.banks[bank].open.is_some() {
                return Err(format!("refresh at {at} with bank {bank} open"));
            }
            self.after("tRP before refresh", at, self.banks[bank].precharged, self.p.rp)?;
            self.refreshed[bank] = at + u64::from(rfc);
        }
        Ok(())
    }
}

/// When a refresh begins, and of what: a rank, and a set of its banks.
type Refreshed = (u64, [usize; 2]);

/// Sorts the log of a channel by time and replays it with the refreshes, in order.
fn check(spec: &MachineSpec, log: &[(u64, Command)], refreshes: &[Refreshed]) -> Result<(), String> {
    let mut checker = Checker::new(spec);
    // Precharges first: a bank that is activated in the same clock would be found by tRP.
    let order = |c: &Command| match c {
        Command::Precharge { .. } => 0,
        Command::Column { .. } => 1,
        Command::Activate { .. } => 2,
    };
    let mut log = log.to_vec();
    log.sort_by_key(|(at, command)| (*at, order(command)));
    let mut due = refreshes.iter().copied().peekable();
    for &(at, command) in &log {
        while let Some((time, of)) = due.next_if(|(time, _)| *time <= at) {
            // What is still open is closed by an all-bank precharge that the log does not have: rows never asked for again.
            checker.refresh(time, of)?;
        }
        match command {
            Command::Activate { bank, row } => checker.activate(at, bank, row)?,
            Command::Precharge { bank } => checker.precharge(at, bank)?,
            Command::Column { kind, bank, row } => checker.column(at, bank, row, kind == Kind::Write)?,
        }
    }
    Ok(())
}

/// The refreshes of a channel during its log, if they are as many as the devices need: the standards let up to eight wait.
fn refreshes(spec: &MachineSpec, t: &Timings, channel: &Channel) -> Result<Vec<Refreshed>, String> {
    let p = &spec.dram_preset;
    let end = channel.log.iter().map(|(at, _)| *at).max().unwrap_or_default();
    if spec.dram_banks.refresh == DramRefresh::Off {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    let there = p.geometry(&spec.dram_banks, spec.dram.channels);
    let sets = if spec.dram_banks.refresh == DramRefresh::SameBank { there.banks as usize } else { 1 };
    for (rank, set) in (0..there.ranks as usize).flat_map(|rank| (0..sets).map(move |set| (rank, set))) {
        let of_rank = channel.refreshes_before(t, [rank, set], end);
        let refi = p.refi.0.div_ceil(p.clock.0);
        for (n, at) in (1u64..).zip(&of_rank) {
            if *at > (n + 8) * refi {
                return Err(format!("tREFI: refresh {n} of rank {rank} at {at}"));
            }
        }
        let missing = (end / refi).saturating_sub(of_rank.len() as u64);
        if missing > 8 {
            return Err(format!("tREFI: {missing} refreshes of rank {rank} are missing"));
        }
        all.extend(of_rank.into_iter().map(|at| (at, [rank, set])));
    }
    all.sort_unstable();
    Ok(all)
}

/// Closes what is open, and checks the log of a channel.
fn check_channel(spec: &MachineSpec, t: &Timings, channel: &mut Channel) -> Result<(), String> {
    channel.close_all();
    check(spec, &channel.log, &refreshes(spec, t, channel)?)
}

/// A request: line, whether it writes, and picoseconds since the one before; some come a little early.
type Request = (u64, bool, i64);

fn requests() -> impl Strategy<Value = Vec<Request>> {
    let line = prop_oneof![
        3 => 0u64..64,
        3 => (0u64..4, 0u64..16).prop_map(|(row, column)| row * 8192 * 4 + column),
        2 => 0u64..(16 << 24),
    ];
    let gap = prop_oneof![4 => 0i64..3_000, 2 => 0i64..100_000, 1 => -20_000i64..0, 1 => 0i64..20_000_000];
    prop::collection::vec((line, prop::bool::weighted(0.35), gap), 1..400)
}

fn machine() -> impl Strategy<Value = MachineSpec> {
    let presets = [
        "DDR4-2400R",
        "DDR4-2666V",
        "DDR4-2933Y",
        "DDR4-3200AA",
        "DDR5-4800BN",
        "DDR5-5600AN",
        "DDR5-6400AN",
    ];
    let mapping = prop::sample::select(vec![
        "row rank bank column group channel",
        "row bank group rank column channel",
        "row column:3 rank bank group column channel",
    ]);
    let words = (
        prop::sample::select(presets.to_vec()),
        mapping,
        prop::sample::select(vec!["x4", "x8", "x16"]),
        prop::sample::select(vec!["8Gb", "16Gb"]),
        prop::sample::select(vec!["open", "closed"]),
        prop::sample::select(vec!["off", "all-bank", "same-bank"]),
    );
    (
        words,
        0u32..3,
        1u32..4,
        any::<bool>(),
        0u32..5,
        prop::sample::select(vec![(1, 1, 0), (8, 6, 2), (32, 26, 6)]),
    )
        .prop_map(
            |((preset, mapping, width, density, policy, refresh), ranks, channels, xor, starve, queue)| {
                let refresh =
                    if preset.starts_with("DDR4") && refresh == "same-bank" { "off" } else { refresh };
                spec(
                    preset,
                    &[
                        &format!("mapping={mapping}"),
                        &format!("device_width={width}"),
                        &format!("density={density}"),
                        &format!("page_policy={policy}"),
                        &format!("refresh={refresh}"),
                        &format!("ranks={}", 1 << ranks),
                        &format!("channels={channels}"),
                        &format!("bank_xor={xor}"),
                        &format!("starvation_limit={starve}"),
                        &format!("write_queue={}", queue.0),
                        &format!("write_high={}", queue.1),
                        &format!("write_low={}", queue.2),
                        "capacity=4 GiB",
                    ],
                )
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_command_breaks_a_timing(spec in machine(), requests in requests()) {
        let mut dram = banked(&spec);
        let mut stats = DeviceStats::default();
        let mut now = 0i64;
        for &(line, write, gap) in &requests {
            now = (now + gap).max(0);
            let at = Time(now as u64);
            if write {
                dram.write(CacheLine(line), at, &mut stats);
            } else {
                let least = Time(u64::from(spec.dram_preset.cl) * spec.dram_preset.clock.0);
                let latency = dram.read(CacheLine(line), at, &mut stats);
                prop_assert!(latency >= least || dram.stats().forwarded_reads > 0, "{latency:?}");
            }
        }
        let all = dram.stats();
        prop_assert_eq!(all.row_hits + all.row_misses + all.row_conflicts, {
            let (read, written) = dram.moved();
            (read + written) / 64
        });
        let t = dram.rules.t.clone();
        for (index, channel) in dram.channels.iter_mut().enumerate() {
            if let Err(wrong) = check_channel(&spec, &t, channel) {
                prop_assert!(false, "channel {}: {}", index, wrong);
            }
        }
    }
}

/// The checker itself: it must find what is wrong.
#[test]
fn the_checker_finds_each_broken_rule() {
    let spec = spec("DDR4-2666V", &["channels=1", "device_width=x8"]);
    let act = |at, bank| (at, Command::Activate { bank, row: 1 });
    let pre = |at, bank| (at, Command::Precharge { bank });
    let col = |at, bank, kind| (at, Command::Column { kind, bank, row: 1 });
    let (read, write) = (Kind::Read, Kind::Write);
    for (log, wrong) in [
        (vec![act(100, 0), col(118, 0, read)], "tRCD"),
        (vec![act(100, 0), pre(142, 0)], "tRAS"),
        (vec![act(100, 0), col(140, 0, read), pre(149, 0)], "tRTP"),
        (vec![act(100, 0), col(140, 0, write), pre(177, 0)], "tWR"),
        (vec![act(100, 0), pre(143, 0), act(161, 0)], "tRP"),
        (vec![act(100, 0), act(170, 0)], "of an open bank"),
        (vec![act(100, 0), act(106, 1)], "tRRD"),
        (vec![act(100, 0), act(103, 4)], "tRRD"),
        (vec![act(100, 0), act(104, 4), act(108, 8), act(112, 12), act(127, 1)], "tFAW"),
        (vec![act(100, 0), act(110, 1), col(140, 0, read), col(146, 1, read)], "tCCD"),
        (vec![act(100, 0), act(110, 4), col(140, 0, read), col(143, 4, read)], "tCCD"),
        (vec![act(100, 0), act(110, 4), col(140, 0, write), col(161, 4, read)], "tWTR"),
        (vec![act(100, 0), act(110, 1), col(140, 0, write), col(167, 1, read)], "tWTR"),
        (vec![act(100, 0), act(110, 4), col(140, 0, read), col(150, 4, write)], "bus"),
        (vec![act(100, 0), act(110, 16), col(140, 0, read), col(145, 16, read)], "bus"),
        (vec![act(100, 0), act(6000, 1)], "refresh"),
        (vec![act(5220, 0)], "tRFC"),
    ] {
        let found = check(&spec, &log, &[(5200, [0, 0])]).expect_err(wrong);
        assert!(found.contains(wrong), "{found}, expected {wrong}");
    }
    let legal = [act(100, 0), col(119, 0, read), pre(143, 0), act(162, 0), col(181, 0, write)];
    assert_eq!(check(&spec, &legal, &[]), Ok(()));
}

/// Dense requests, of rows in the same banks and in others.
fn dense() -> impl Iterator<Item = (CacheLine, bool)> {
    let mut seed = 42u64;
    (0..6000).map(move |_| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let line = if seed & 1 == 0 { seed >> 40 } else { (seed >> 44) & 0xfff };
        (CacheLine(line), seed & 0x30 == 0)
    })
}

/// What the checker says of a schedule whose timings `change` made wrong.
fn with_wrong_timings(change: impl Fn(&mut Timings)) -> Result<(), String> {
    let keys = ["channels=1", "device_width=x8", "mapping=row column rank bank group channel"];
    replayed(&spec("DDR4-2666V", &keys), change)
}

fn replayed(spec: &MachineSpec, change: impl Fn(&mut Timings)) -> Result<(), String> {
    let (mut dram, mut stats) = (banked(spec), DeviceStats::default());
    change(&mut dram.rules.t);
    for (n, (line, write)) in dense().enumerate() {
        let at = Time(n as u64 / 24 * 100_000);
        if write {
            dram.write(line, at, &mut stats)
        } else {
            dram.read(line, at, &mut stats)
        };
    }
    let t = dram.rules.t.clone();
    check_channel(spec, &t, &mut dram.channels[0])
}

#[test]
fn the_checker_finds_what_same_bank_refreshes_forbid() {
    let keys = [
        "density=16Gb",
        "device_width=x8",
        "mapping=row column rank bank group channel",
        "refresh=same-bank",
    ];
    let spec = spec("DDR5-4800BN", &keys);
    assert_eq!(replayed(&spec, |_| ()), Ok(()));
    type Change = fn(&mut Timings);
    let faster: [(&str, Change); 2] =
        [("tRFC", |t| t.rfc -= 20), ("tREFSBRD", |t| t.refsb_to_activate -= 20)];
    for (rule, change) in faster {
        let found = replayed(&spec, change).expect_err(rule);
        assert!(found.contains(rule), "{found}, expected {rule}");
    }
    let other = [(100, Command::Activate { bank: 1, row: 1 }), (300, Command::Precharge { bank: 1 })];
    assert_eq!(check(&spec, &other, &[(200, [0, 0])]), Ok(()), "the other banks go on");
    for (at, set, rule) in [(105, 0, "tRRD before refresh"), (200, 1, "open"), (95, 0, "tREFSBRD")] {
        let found = check(&spec, &other, &[(at, [0, set])]).expect_err(rule);
        assert!(found.contains(rule), "{found}, expected {rule}");
    }
}

#[test]
fn a_schedule_that_is_a_clock_too_fast_anywhere_is_found() {
    assert_eq!(with_wrong_timings(|_| ()), Ok(()));
    type Change = fn(&mut Timings);
    let faster: [(&str, Change); 9] = [
        ("tRCD", |t| t.rcd -= 1),
        ("tRP", |t| (t.rp, t.rc) = (t.rp - 1, t.rc - 1)),
        ("tRAS", |t| (t.ras, t.rc) = (t.ras - 1, t.rc - 1)),
        ("tRRD", |t| t.rrd_s -= 1),
        ("tRRD", |t| t.rrd_l -= 1),
        ("tFAW", |t| t.faw -= 1),
        ("tRFC", |t| t.rfc -= 1),
        ("tRTP", |t| t.to_precharge[0] -= 1),
        ("tWR", |t| t.to_precharge[1] -= 1),
    ];
    for (rule, change) in faster {
        let found = with_wrong_timings(change).expect_err(rule);
        assert!(found.contains(rule), "{found}, expected {rule}");
    }
    for (first, second, distance) in (0..12).map(|n| (n / 6, n / 3 % 2, n % 3)) {
        let found = with_wrong_timings(|t| t.between[first][second][distance] -= 1);
        let found = found.expect_err(&format!("{first} {second} {distance}"));
        assert!(["tCCD", "bus"].iter().any(|rule| found.contains(rule)), "{found}");
    }
}
