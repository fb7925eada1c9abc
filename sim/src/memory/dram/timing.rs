//! The timings of a speed bin, in clocks, as the schedule needs them.

use daxsim_configs::machine::{DramBanksSpec, DramPreset, DramRefresh};
use daxsim_types::Time;

/// What a column command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
}

/// A read or write command of a line, without its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub kind: Kind,
    pub rank: u8,
    /// Numbered through the ranks.
    pub group: u8,
}

/// Clocks between commands. Names are those of the JEDEC standards.
#[derive(Clone, Debug)]
pub(super) struct Timings {
    pub cl: u64,
    pub burst: u64,
    pub rcd: u64,
    pub rp: u64,
    pub ras: u64,
    pub rc: u64,
    pub rrd_s: u64,
    pub rrd_l: u64,
    pub faw: u64,
    pub refi: u64,
    pub rfc: u64,
    /// Refreshes that a rank takes in turn: one of all banks, or one for each bank of a group.
    pub refresh_sets: u64,
    /// From the refresh of other banks of the rank to an activate.
    pub refsb_to_activate: u64,
    /// From a read, and from a write, to the precharge of its bank.
    pub to_precharge: [u64; 2],
    /// From a column command to the next: `[first][second][0 same group, 1 same rank, 2 other rank]`.
    pub between: [[[u64; 3]; 2]; 2],
    /// The longest of those.
    pub reach: u64,
}

impl Timings {
    pub fn new(p: &DramPreset, spec: &DramBanksSpec) -> Self {
        let clocks = |n: u32| u64::from(n);
        let (rrd_s, rrd_l, faw) = p.activates(spec.device_width);
        let (burst, cl, cwl) = (clocks(p.burst_clocks()), clocks(p.cl), clocks(p.cwl));
        let (short, switch) = (clocks(p.ccd_s).max(burst), clocks(p.rank_switch));
        // Data of a read end `cl + burst` after its command, those of a write `cwl + burst`.
        let write_after_read = |idle: u64| (cl + burst + idle).saturating_sub(cwl).max(burst);
        let turn = clocks(p.read_to_write);
        let reads = [clocks(p.ccd_l).max(short), short, burst + switch];
        let writes = [clocks(p.ccd_l_wr).max(short), short, burst + switch];
        let read_write = [write_after_read(turn), write_after_read(turn), write_after_read(turn.max(switch))];
        let other_rank = (cwl + burst + switch).saturating_sub(cl).max(1);
        let write_read = [cwl + burst + clocks(p.wtr_l), cwl + burst + clocks(p.wtr_s), other_rank];
        let between = [[reads, read_write], [write_read, writes]];
        let in_clocks = |time: Time| time.0.div_ceil(p.clock.0.max(1));
        let (refresh_sets, rfc) = match spec.refresh {
            DramRefresh::SameBank => (u64::from(p.geometry(spec, 1).banks), p.rfc_sb(spec.density)),
            DramRefresh::AllBank | DramRefresh::Off => (1, p.rfc(spec.density)),
        };
        Self {
            cl,
            burst,
            rcd: clocks(p.rcd),
            rp: clocks(p.rp),
            ras: clocks(p.ras),
            rc: clocks(p.rc),
            rrd_s: clocks(rrd_s),
            rrd_l: clocks(rrd_l),
            faw: clocks(faw),
            refi: if spec.refresh == DramRefresh::Off { 0 } else { in_clocks(p.refi) },
            rfc: in_clocks(rfc),
            refresh_sets,
            refsb_to_activate: in_clocks(p.refsb_to_activate),
            to_precharge: [clocks(p.rtp), cwl + burst + clocks(p.wr)],
            between,
            reach: between.iter().flatten().flatten().copied().max().unwrap_or(0),
        }
    }

    /// From a column command to the precharge of its bank, at least.
    #[inline]
    pub const fn to_precharge(&self, kind: Kind) -> u64 {
        self.to_precharge[kind as usize]
    }

    /// From one column command to another one of the channel, at least.
    #[inline]
    pub const fn between(&self, first: Column, second: Column) -> u64 {
        let distance = if first.group == second.group { 0 } else { 1 + (first.rank != second.rank) as usize };
        self.between[first.kind as usize][second.kind as usize][distance]
    }
}
