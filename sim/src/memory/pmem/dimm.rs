//! One DIMM and the queues of the memory controller in front of it.

use daxsim_configs::machine::PmemSpec;
use daxsim_types::Time;

use super::arbiter::Arbiter;
use super::buffer::{Buffer, Slot};
use super::entrance::Entrance;
use super::link::Link;
use super::media::Media;
use super::queue::Queue;
use super::translation::Translation;
use super::wear::Wear;
use crate::memory::interleave::Divisor;
use crate::memory::stats::DeviceStats;

/// From the controller's queues to the media. `docs/memory.md` has the whole.
pub(super) struct Dimm {
    /// Writes that the DIMM has not taken yet: the last place in the ADR domain that a core can see.
    pub wpq: Queue,
    /// Reads whose data are not back.
    pub rpq: Queue,
    incoming: Entrance,
    asked: Arbiter,
    link: Link,
    /// Lines written, and those read if they have no buffer of their own.
    buffer: Buffer,
    /// Lines read.
    reads: Option<Buffer>,
    translation: Option<Translation>,
    wear: Wear,
    pub media: Media,
    /// When the newest write was accepted.
    accepted: Time,
    /// Lines of which every sector was read leave the buffer of those read.
    drop_read: bool,
    media_line: u64,
    /// Media lines to blocks of the table.
    block: Divisor,
    /// Mask of every sector of a media line.
    full: u64,
    latency_buffered: Time,
    latency_media: Time,
    drain: Time,
    turn: Time,
    sector: Time,
    table_updates: u32,
    /// Writes of media lines until the next of the table.
    table_left: u32,
}

impl Dimm {
    /// An idle DIMM whose media lines have `sectors` sectors.
    pub fn new(spec: &PmemSpec, sectors: u64, number: u64) -> Self {
        // Every random choice has a generator of its own.
        let seed = u64::from(spec.seed).wrapping_mul(1 << 32) + 8 * number;
        Self {
            wpq: Queue::new(spec.wpq_lines),
            rpq: Queue::new(spec.rpq_lines),
            // As long as full lines of the media take.
            incoming: Entrance::new(spec, Time(spec.media_write_occupancy.0 / sectors.max(1)), seed + 3),
            asked: Arbiter::new(spec.rpq_samples, seed + 4),
            link: Link::new(spec),
            buffer: Buffer::new((spec.buffer_replacement, spec.buffer_samples), spec.buffer_lines, seed),
            reads: (spec.read_buffer_lines > 0).then(|| {
                let choice = (spec.read_buffer_replacement, spec.read_buffer_samples);
                Buffer::new(choice, spec.read_buffer_lines, seed + 5)
            }),
            translation: Translation::new(spec, seed + 1),
            wear: Wear::new(spec),
            media: Media::new(spec),
            accepted: Time::ZERO,
            drop_read: spec.drop_read_lines,
            media_line: spec.media_line,
            block: Divisor::new(spec.ait_block / spec.media_line.max(1)),
            full: u64::MAX >> (64 - sectors.clamp(1, 64)),
            latency_buffered: spec.read_latency_buffered,
            latency_media: spec.read_latency_media,
            drain: spec.wpq_drain,
            turn: spec.wpq_turn,
            sector: spec.sector_interval,
            table_updates: spec.ait_update_writes,
            table_left: spec.ait_update_writes,
        }
    }

    #[inline]
    const fn block(&self, line: u64) -> u64 {
        self.block.div_rem(line).0
    }

    /// Latency of a 64-byte read of media line `line`.
    ///
    /// A line that is being read from the media is ready when that ends, and its sectors follow each other on the link.
    pub fn read(&mut self, line: u64, sector: u64, arrive: Time, stats: &mut DeviceStats) -> Time {
        self.let_in(arrive, stats);
        let queued = self.rpq.wait(arrive);
        stats.count_read_wait(queued);
        let entered = arrive + queued;
        self.asked.come(line, sector, arrive);
        self.asked.turn(arrive, entered);
        let mut back = self.rpq.last().max(entered);
        while let Some(next) = self.asked.next() {
            let sent = self.link.read(entered);
            let at = sent + self.wear.wait(self.block(next.line), sent);
            stats.migration_stall += at.saturating_sub(sent);
            back = self.data(next.line, next.sector, at, stats);
        }
        self.rpq.push(entered, back);
        back.saturating_sub(arrive)
    }

    /// When the data of a read that the DIMM gets at `at` are back.
    fn data(&mut self, line: u64, sector: u64, at: Time, stats: &mut DeviceStats) -> Time {
        let (sectors, buffered) = (self.sector, self.latency_buffered);
        let found = self.buffer.touch(line);
        if let Some(slot) = found.map(|slot| self.buffer.slot(slot))
            && slot.valid & sector != 0
        {
            stats.buffer_read_hits += 1;
            return next_sector(slot, at + buffered, sectors);
        }
        if let Some(reads) = &mut self.reads
            && let Some(slot) = reads.touch(line)
        {
            stats.buffer_read_hits += 1;
            let there = next_sector(reads.slot(slot), at + buffered, sectors);
            if self.drop_read && read_sector(reads.slot(slot), sector, self.full) {
                reads.remove(slot);
            }
            return there;
        }
        let translated = self.translate(line, at, stats);
        let at = at + self.media.read(line, at);
        let back = at + self.latency_media + translated;
        stats.media_bytes_read += self.media_line;
        self.keep((line, sector), found, [at, back + sectors], stats);
        back
    }

    /// Keeps a line that was asked of the media at `at`, and whose next sector is there at `ready`: with what was written of it,
    /// or among the lines read.
    fn keep(
        &mut self,
        (line, sector): (u64, u64),
        found: Option<u32>,
        [at, ready]: [Time; 2],
        stats: &mut DeviceStats,
    ) {
        let slot = match (&mut self.reads, found) {
            (Some(reads), None) => {
                if reads.len() >= reads.capacity() && reads.evict(at).is_none() {
                    return;
                }
                let slot = reads.insert(line);
                reads.slot(slot)
            }
            (_, found) => match found.or_else(|| self.room(line, at, false, stats).1) {
                Some(slot) => self.buffer.slot(slot),
                None => return,
            },
        };
        // Sectors that were written before stay as they are; the rest are now valid, too.
        slot.valid = self.full;
        slot.ready = ready;
        slot.read = sector;
    }

    /// What finding a media line adds to a read at `at`.
    fn translate(&mut self, line: u64, at: Time, stats: &mut DeviceStats) -> Time {
        let block = self.block(line);
        let Some(translation) = &mut self.translation else { return Time::ZERO };
        let (hit, place) = translation.find(block);
        stats.count_translation(hit);
        translation.wait(hit, place, at)
    }

    /// How long a 64-byte write, sent at `sent`, waits at the controller, where it is at `arrive`.
    ///
    /// One whose sender may have seen the last one accepted, as after a fence, and that is sent soon after that, finds the
    /// controller draining its queue, and waits for the next turn.
    pub fn write(
        &mut self,
        line: u64,
        sector: u64,
        [sent, arrive]: [Time; 2],
        stats: &mut DeviceStats,
    ) -> Time {
        self.let_in(arrive, stats);
        let mut stall = self.incoming.place(&self.wpq).saturating_sub(arrive);
        if sent >= self.accepted && sent < self.accepted + self.drain {
            stall = stall.max(self.turn);
        }
        self.accepted = arrive + stall;
        self.incoming.come(line, sector, self.accepted);
        self.let_in(arrive, stats);
        stall
    }

    /// Lets those writes into the queue whose turn has come at `now`.
    #[inline]
    fn let_in(&mut self, now: Time, stats: &mut DeviceStats) {
        while let Some((turn, next)) = self.incoming.next(now) {
            let begun = turn.max(self.wpq.last());
            let sent = self.link.write(begun);
            let moved = self.wear.wait(self.block(next.line), sent);
            stats.migration_stall += moved;
            let taken = self.put(next.line, next.sector, sent + moved, stats);
            // A move is no part of the pace: it is rare, and long.
            self.incoming.took(taken.saturating_sub(begun + moved));
            self.wpq.push(turn, taken);
        }
    }

    /// When the newest write will have left the queue.
    pub fn last_leaves(&self) -> Time {
        self.incoming.last(&self.wpq)
    }

    /// Writes a sector into the buffer: when it is there. A line of which every sector is written goes to the media at once.
    fn put(&mut self, line: u64, sector: u64, at: Time, stats: &mut DeviceStats) -> Time {
        let (full, mut at) = (self.full, at);
        let complete = if let Some(slot) = self.buffer.touch(line) {
            stats.buffer_write_hits += 1;
            write_sector(self.buffer.slot(slot), sector, full)
        } else if sector == full {
            true
        } else {
            let (there, slot) = self.room(line, at, true, stats);
            at = there;
            slot.is_some_and(|slot| write_sector(self.buffer.slot(slot), sector, full))
        };
        if complete { self.write_back(line, at, stats) } else { at }
    }

    /// Makes room for `line` at `at`, or for a read not: when there is some, and the new place.
    ///
    /// What is on its way to the media takes places, too.
    fn room(&mut self, line: u64, at: Time, wait: bool, stats: &mut DeviceStats) -> (Time, Option<u32>) {
        let mut at = at;
        let places = self.buffer.capacity().saturating_sub(self.media.writes.held(at)).max(1);
        while self.buffer.len() >= places {
            let Some(victim) =
                self.buffer.evict(at).or_else(|| wait.then(|| self.buffer.evict(Time::MAX))?)
            else {
                break;
            };
            if wait {
                at = at.max(victim.ready);
            }
            if victim.dirty != 0 {
                let known =
                    victim.valid == self.full || self.reads.as_ref().is_some_and(|r| r.holds(victim.line));
                if !known {
                    stats.media_bytes_read += self.media_line;
                    stats.partial_writes += 1;
                }
                let there = self.write_back(victim.line, at, stats);
                if wait {
                    at = there;
                }
            }
        }
        if self.buffer.len() >= self.buffer.capacity() {
            return (at, None);
        }
        (at, Some(self.buffer.insert(line)))
    }

    /// Sends a line to the media: when its queue has room.
    ///
    /// A line of which a part is neither written nor read costs a media read, which counts in bytes but is hidden behind the
    /// write in time: random 64-byte ntstores run at 0.55 GB/s, exactly a quarter of the 2.21 GB/s of full lines.
    fn write_back(&mut self, line: u64, at: Time, stats: &mut DeviceStats) -> Time {
        let at = at + self.media.writes.wait(at);
        self.media.write(line, at);
        stats.media_bytes_written += self.media_line;
        let block = self.block(line);
        self.table_line(line, at, stats);
        if let Some(translation) = &mut self.translation {
            let (hit, place) = translation.find(block);
            stats.count_translation(hit);
            if translation.wear(place) {
                stats.migrations += 1;
                self.wear.start(block, at);
            }
        }
        at
    }
}

impl Dimm {
    /// Counts a write of a media line, and writes one of the table after every so many.
    #[inline]
    fn table_line(&mut self, line: u64, at: Time, stats: &mut DeviceStats) {
        if self.table_updates == 0 {
            return;
        }
        self.table_left -= 1;
        if self.table_left == 0 {
            self.table_left = self.table_updates;
            self.media.write(line, at);
            stats.media_bytes_written += self.media_line;
        }
    }
}

/// When a sector of a line that is or comes here is ready, if from here alone it were so at `ready`.
fn next_sector(slot: &mut Slot, ready: Time, interval: Time) -> Time {
    if slot.ready <= ready {
        return ready;
    }
    let ready = slot.ready;
    slot.ready += interval;
    ready
}

/// Whether every sector was read now.
const fn read_sector(slot: &mut Slot, sector: u64, full: u64) -> bool {
    slot.read |= sector;
    slot.read == full
}

/// Whether every sector is written now; then the line is as the media will have it.
fn write_sector(slot: &mut Slot, sector: u64, full: u64) -> bool {
    slot.valid |= sector;
    slot.dirty |= sector;
    let complete = slot.dirty == full;
    if complete {
        slot.dirty = 0;
    }
    complete
}
