//! The media of a DIMM: partitions that read and write lines of their own, and the writes that wait for them.

use daxsim_configs::machine::PmemSpec;
use daxsim_types::Time;

use super::busy::Busy;
use super::queue::Queue;
use crate::memory::interleave::Divisor;

/// Partitions, lines interleaved over them. Reads go before the writes that wait, but not before the one under way, and by a
/// share of the time that they take they keep the writes back.
pub(super) struct Media {
    partitions: Vec<Partition>,
    interleave: Divisor,
    read_time: Time,
    /// What a read takes from the writes of its partition.
    read_share: Time,
    write_time: Time,
    /// Writes that have not ended.
    pub writes: Queue,
}

#[derive(Clone, Copy, Default)]
struct Partition {
    reads: Busy,
    /// When the last write ends.
    write_until: Time,
}

impl Media {
    /// Idle media.
    pub fn new(spec: &PmemSpec) -> Self {
        let partitions = u64::from(spec.media_partitions.max(1));
        Self {
            partitions: vec![Partition::default(); partitions as usize],
            interleave: Divisor::new(partitions),
            // The bandwidth is that of all of them.
            read_time: Time(spec.media_read_occupancy.0 * partitions),
            read_share: Time(
                spec.media_read_occupancy.0 * partitions * u64::from(spec.media_read_share) / 100,
            ),
            write_time: Time(spec.media_write_occupancy.0 * partitions),
            writes: Queue::new(spec.media_queue),
        }
    }

    #[inline]
    const fn partition(&self, line: u64) -> usize {
        self.interleave.div_rem(line).1 as usize
    }

    /// How long a read of `line` at `at` waits.
    #[inline]
    pub fn read(&mut self, line: u64, at: Time) -> Time {
        let partition = self.partition(line);
        let partition = &mut self.partitions[partition];
        // Writes follow each other without a gap, so one ends every `write_time` before the last does.
        let under_way = partition.write_until.saturating_sub(at).0 % self.write_time.0.max(1);
        let start = partition.reads.take(at + Time(under_way), self.read_time);
        if partition.write_until > at {
            partition.write_until += self.read_share;
        }
        start.saturating_sub(at)
    }

    /// Writes `line`, which comes at `at` and finds room in the queue: when it is there.
    #[inline]
    pub fn write(&mut self, line: u64, at: Time) -> Time {
        let partition = self.partition(line);
        let partition = &mut self.partitions[partition];
        let reads = if self.read_share > Time::ZERO { partition.reads.until() } else { Time::ZERO };
        let start = at.max(partition.write_until).max(reads);
        partition.write_until = start + self.write_time;
        let end = partition.write_until;
        self.writes.push(at, end);
        end
    }
}
