//! Main memory of one latency and one bandwidth: channels that are busy for the length of each transfer.

use daxsim_configs::machine::DramSpec;
use daxsim_types::{CacheLine, LINE_BYTES, Time};

use crate::memory::interleave::Interleave;
use crate::memory::stats::DeviceStats;

/// DRAM behind line-interleaved channels. First come, first served; no banks, no refresh.
pub(super) struct Flat {
    channels: Interleave,
    busy_until: Vec<Time>,
    read_latency: Time,
    occupancy: Time,
    /// Backlog with which a channel's write queue still has room for one more line.
    write_backlog: Time,
}

impl Flat {
    /// Idle channels, each with a write queue of `queue_lines`.
    ///
    /// The queue is the memory controller's write pending queue, the same for either kind of
    /// memory (512 B a channel as seen by LENS, MICRO'20).
    pub fn new(spec: &DramSpec, queue_lines: u32) -> Self {
        Self {
            channels: Interleave::new(1, spec.channels),
            busy_until: vec![Time::ZERO; spec.channels.max(1) as usize],
            read_latency: spec.read_latency,
            occupancy: spec.line_occupancy,
            write_backlog: Time(u64::from(queue_lines.saturating_sub(1)) * spec.line_occupancy.0),
        }
    }

    /// A read of `line` that reaches the controller at `arrive`: its latency from there.
    pub fn read(&mut self, line: CacheLine, arrive: Time, stats: &mut DeviceStats) -> Time {
        let (channel, _) = self.channels.locate(line.0);
        let busy = &mut self.busy_until[channel];
        let queueing = busy.saturating_sub(arrive);
        *busy = arrive + queueing + self.occupancy;
        stats.count_read();
        stats.media_bytes_read += LINE_BYTES;
        self.read_latency + queueing
    }

    /// A posted write of `line` that reaches the controller at `arrive`: how long it waits for
    /// room in the channel's write queue.
    pub fn write(&mut self, line: CacheLine, arrive: Time, stats: &mut DeviceStats) -> Time {
        let (channel, _) = self.channels.locate(line.0);
        let busy = &mut self.busy_until[channel];
        let backlog = busy.saturating_sub(arrive);
        *busy = arrive + backlog + self.occupancy;
        let stall = backlog.saturating_sub(self.write_backlog);
        stats.count_write(stall);
        stats.media_bytes_written += LINE_BYTES;
        stall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A flat memory and its counts.
    struct Counted(Flat, DeviceStats);

    impl Counted {
        fn read(&mut self, line: CacheLine, arrive: Time) -> Time {
            self.0.read(line, arrive, &mut self.1)
        }

        fn write(&mut self, line: CacheLine, arrive: Time) -> Time {
            self.0.write(line, arrive, &mut self.1)
        }
    }

    fn dram(channels: u32) -> Counted {
        let spec =
            DramSpec { capacity: 1 << 30, channels, read_latency: Time(60_000), line_occupancy: Time(3_000) };
        Counted(Flat::new(&spec, 8), DeviceStats::default())
    }

    #[test]
    fn an_idle_channel_costs_the_read_latency_and_a_busy_one_the_wait() {
        let mut d = dram(2);
        assert_eq!(d.read(CacheLine(0), Time(100)), Time(60_000));
        assert_eq!(d.read(CacheLine(2), Time(100)), Time(63_000));
        assert_eq!(d.read(CacheLine(1), Time(100)), Time(60_000), "the other channel is idle");
        assert_eq!(d.read(CacheLine(0), Time(50)), Time(66_050), "an earlier time waits, too");
    }

    #[test]
    fn streams_run_at_the_bandwidth_of_the_channels() {
        for write in [false, true] {
            let mut d = dram(4);
            let lines = 40_000;
            let mut end = Time::ZERO;
            for n in 0..lines {
                let latency =
                    if write { d.write(CacheLine(n), Time::ZERO) } else { d.read(CacheLine(n), Time::ZERO) };
                end = end.max(latency);
            }
            let gb_per_s = (lines * LINE_BYTES) as f64 / end.as_ns();
            let peak = 4.0 * 64.0 / 3.0;
            assert!((gb_per_s / peak - 1.0).abs() < 0.01, "{gb_per_s} GB/s, write {write}");
        }
    }

    #[test]
    fn a_write_stalls_when_the_queue_is_full() {
        let mut d = dram(1);
        for n in 0..8 {
            assert_eq!(d.write(CacheLine(n), Time::ZERO), Time::ZERO);
        }
        assert_eq!(d.write(CacheLine(8), Time::ZERO), Time(3_000));
        assert_eq!((d.1.stalls, d.1.stall_time), (1, Time(3_000)));
    }
}
