//! All channels of banks: simulated time becomes clocks here, and back.

use daxsim_configs::machine::{DramBanksSpec, DramPreset, PagePolicy};
use daxsim_types::{CacheLine, LINE_BYTES, Time};

use super::channel::{Channel, Rules};
use super::mapping::Mapper;
use super::refresh::Refresh;
use super::timing::Timings;
use super::writes::Writes;
use crate::memory::interleave::Divisor;
use crate::memory::stats::{DeviceStats, DramStats};

/// The channels and the way to them.
pub(super) struct Banked {
    mapper: Mapper,
    pub(super) rules: Rules,
    pub(super) channels: Vec<Channel>,
    /// Picoseconds of a clock.
    period: u64,
    clock: Divisor,
    controller: Time,
}

impl Banked {
    /// Idle channels with all rows closed.
    pub fn new(spec: &DramBanksSpec, preset: &DramPreset, channels: u32) -> Self {
        let geometry = preset.geometry(spec, channels.max(1));
        let rules = Rules {
            t: Timings::new(preset, spec),
            closed: spec.page_policy == PagePolicy::Closed,
            write_high: spec.write_high as usize,
            write_low: spec.write_low as usize,
        };
        let (channels, ranks) = (u64::from(geometry.channels), u64::from(geometry.ranks));
        let sets = rules.t.refresh_sets;
        let refresh = |n: u64| Refresh::new(&rules.t, n, channels * ranks * sets);
        // The first rank of each channel, then the second: neighbours in time are in different channels.
        let channel = |channel: u64| {
            let of_rank = |rank: u64| {
                let set = |set: u64| refresh(set * channels * ranks + rank * channels + channel);
                (0..sets).map(set).collect()
            };
            let ranks = (0..ranks).map(of_rank).collect();
            let banks = geometry.ranks * geometry.groups * geometry.banks;
            Channel::new(banks as usize, ranks, Writes::new(spec.write_queue, spec.starvation_limit))
        };
        let channels = (0..channels).map(channel).collect();
        Self {
            mapper: Mapper::new(&spec.mapping, &geometry, spec.bank_xor),
            channels,
            rules,
            period: preset.clock.0.max(1),
            clock: Divisor::new(preset.clock.0),
            controller: spec.controller_latency,
        }
    }

    /// The first clock edge from `at` on.
    #[inline]
    const fn edge(&self, at: Time) -> u64 {
        let (clock, rest) = self.clock.div_rem(at.0);
        clock + (rest > 0) as u64
    }

    pub fn read(&mut self, line: CacheLine, arrive: Time, stats: &mut DeviceStats) -> Time {
        let (place, from) = (self.mapper.locate(line), self.edge(arrive));
        let channel = &mut self.channels[place.channel];
        let data = channel.read(&self.rules, line, &place, from);
        stats.count_read();
        self.controller + Time(data * self.period).saturating_sub(arrive)
    }

    pub fn write(&mut self, line: CacheLine, arrive: Time, stats: &mut DeviceStats) -> Time {
        let (place, from) = (self.mapper.locate(line), self.edge(arrive));
        let channel = &mut self.channels[place.channel];
        let accepted = channel.write(&self.rules, line, place, from);
        let stall = Time((accepted - from) * self.period);
        stats.count_write(stall);
        stall
    }

    /// Bytes read from the devices, and written to them.
    pub fn moved(&self) -> (u64, u64) {
        let counts = self.channels.iter().map(|channel| &channel.counts);
        let (reads, writes) = counts.fold((0, 0), |(r, w), c| (r + c.column_reads, w + c.column_writes));
        (reads * LINE_BYTES, writes * LINE_BYTES)
    }

    pub fn stats(&self) -> DramStats {
        let mut all = DramStats { channels: self.channels.len() as u64, ..DramStats::default() };
        let time = |clocks: u64| Time(clocks * self.period);
        for channel in &self.channels {
            let c = &channel.counts;
            all.row_hits += c.hits;
            all.row_misses += c.misses;
            all.row_conflicts += c.conflicts;
            all.activates += c.activates;
            all.precharges += c.precharges;
            all.refreshes += channel.refreshes(&self.rules.t);
            all.switches += channel.switches();
            all.forwarded_reads += c.forwarded;
            all.write_bursts += c.bursts;
            all.read_wait += time(c.read_wait);
            all.write_wait += time(c.write_wait);
            all.read_queue_max = all.read_queue_max.max(c.reads_max);
            all.write_queue_max = all.write_queue_max.max(c.writes_max);
            all.observed = all.observed.max(time(channel.latest));
        }
        all
    }
}
