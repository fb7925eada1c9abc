//! The reading side.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use crate::layout::{FINISHED, MAGIC, NOT_YET, VERSION};
use crate::liveness::{self, Side};
use crate::mapping::{self, Mapping};
use crate::protocol::{ReaderEnd, wait_for_writer, wake_writer};
use crate::record::{Access, Header, Item, Items, Raw};
use crate::{Geometry, RingError};

/// Longest sleep before the reader looks at what writers did not find enough to wake it for.
const LOOK: Duration = Duration::from_millis(2);

/// Where the rings are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In memory without a name. The writer opens [`Reader::path`], which names this process.
    Memory,
    /// In a new file, which is removed with the reader. A file in `/dev/shm` never goes to a disk.
    File(PathBuf),
}

/// The next accesses of a vCPU.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Which vCPU.
    pub vcpu: u32,
    /// Its place among the batches of all vCPUs, from 0. A stamp is drawn when a batch is complete. If one thread runs all vCPUs and
    /// flushes one before the next one writes, the stamps give the order of all accesses. If each vCPU has its thread, the accesses of a batch
    /// came before its stamp was drawn, and after the stamp of the batch before of the same vCPU: between batches that overlap so,
    /// nothing more is known.
    pub stamp: u64,
    /// Instructions that the vCPU had begun before the first access's gap, modulo 2^48.
    pub instructions: u64,
    records: Vec<Raw>,
}

impl Batch {
    /// The accesses, in the order of the vCPU. A batch may have none: it says the number of instructions.
    pub fn accesses(&self) -> impl Iterator<Item = Access> + '_ {
        self.items().filter_map(|item| match item {
            Item::Access(access) => Some(access),
            Item::Control(_) => None,
        })
    }

    /// The accesses, with what the vCPU did to its translations between them.
    #[must_use]
    pub fn items(&self) -> Items<'_> {
        Items(self.records.iter())
    }
}

/// What [`Reader::next_batch`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A batch.
    Batch,
    /// Nothing in the time given.
    Nothing,
    /// That nothing will come.
    End(Ending),
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The writer said so.
    Finished,
    /// The writer died. All batches that it had shown were handed out; up to one of each vCPU was under way.
    Died,
}

/// Reads the rings of one file. There is one reader, from before the writer opens the file.
pub struct Reader {
    mapping: Mapping,
    file: File,
    path: PathBuf,
    /// The file to be removed.
    named: bool,
    ends: Vec<ReaderEnd>,
    /// The stamp of the next batch.
    next: u64,
    /// The ring that had the last batch.
    last: u32,
    ended: Option<Ending>,
    scratch: Vec<Raw>,
}

impl Reader {
    /// Makes rings.
    ///
    /// # Errors
    ///
    /// [`RingError`] if `geometry` cannot be, or the file cannot be made.
    pub fn create(place: &Place, geometry: Geometry) -> Result<Self, RingError> {
        let geometry = geometry.check()?;
        let shown = match place {
            Place::Memory => PathBuf::from("memory"),
            Place::File(path) => path.clone(),
        };
        let failed = |what| {
            let place = shown.clone();
            move |source| RingError::Io { place, what, source }
        };
        let file = match place {
            Place::Memory => mapping::memory_file(),
            Place::File(path) => {
                OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
            }
        };
        let file = file.map_err(failed("create"))?;
        file.set_len(geometry.bytes() as u64).map_err(failed("extend"))?;
        let mapping = mapping::map(&file, geometry).map_err(failed("map"))?;
        if !liveness::take(&file, Side::Reader).map_err(failed("lock"))? {
            return Err(RingError::Taken { place: shown, who: "reader" });
        }
        let path = match place {
            Place::Memory => format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into(),
            Place::File(path) => path.clone(),
        };
        let header = mapping.header();
        header.version.store(VERSION, Relaxed);
        header.rings.store(geometry.rings, Relaxed);
        header.slots.store(geometry.slots, Relaxed);
        header.batch.store(geometry.batch, Relaxed);
        header.magic.store(MAGIC, Release);
        let ends = (0..geometry.rings).map(|ring| ReaderEnd::new(mapping.ring(ring))).collect();
        let named = *place != Place::Memory;
        Ok(Self { mapping, file, path, named, ends, next: 0, last: 0, ended: None, scratch: Vec::new() })
    }

    /// The file that the writer opens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a writer has opened the file.
    #[must_use]
    pub fn has_writer(&self) -> bool {
        self.mapping.header().writer.load(Acquire) != NOT_YET
    }

    /// Replaces `batch` by the next one, by stamps. Waits for it about as long as `at_most`.
    ///
    /// # Errors
    ///
    /// [`RingError::Batch`] if what is in a ring is no batch.
    pub fn next_batch(&mut self, batch: &mut Batch, at_most: Duration) -> Result<Received, RingError> {
        if let Some(ending) = self.ended {
            return Ok(Received::End(ending));
        }
        let mut left = at_most;
        loop {
            if self.take_next(batch)? {
                return Ok(Received::Batch);
            }
            if let Some(ending) = self.ending() {
                // Looked for once more, as it may have come before the end.
                if self.take_next(batch)? || self.take_lowest(batch)? {
                    return Ok(Received::Batch);
                }
                self.ended = Some(ending);
                return Ok(Received::End(ending));
            }
            if left.is_zero() {
                return Ok(Received::Nothing);
            }
            let sleep = left.min(LOOK);
            left -= sleep;
            self.sleep(sleep);
        }
    }

    fn rings(&self) -> u32 {
        let used = self.mapping.header().used.load(Relaxed);
        used.min(self.mapping.geometry().rings)
    }

    fn ending(&self) -> Option<Ending> {
        let writer = &self.mapping.header().writer;
        match writer.load(Acquire) {
            NOT_YET => None,
            FINISHED => Some(Ending::Finished),
            _ if liveness::is_alive(&self.file, Side::Writer) => None,
            // It may have finished since it was asked.
            _ if writer.load(Acquire) == FINISHED => Some(Ending::Finished),
            _ => Some(Ending::Died),
        }
    }

    /// Sleeps until there is something to read. Writers that wait for room get it now: nothing more will be read before.
    fn sleep(&mut self, at_most: Duration) {
        let rings = self.rings();
        for ring in 0..rings {
            wake_writer(self.mapping.ring(ring));
        }
        let Self { mapping, ends, next, scratch, .. } = self;
        let header = mapping.header();
        wait_for_writer(&header.common, at_most, || {
            let found = |ring| matches!(front(mapping, &mut ends[ring as usize], ring, scratch), Ok(Some(h)) if h.stamp == *next);
            header.writer.load(Acquire) == FINISHED || (0..rings).any(found)
        });
    }

    /// Takes the batch with the next stamp, if it is there.
    fn take_next(&mut self, batch: &mut Batch) -> Result<bool, RingError> {
        let rings = self.rings();
        for turn in 0..rings {
            let ring = (self.last + turn) % rings;
            let front = front(&self.mapping, &mut self.ends[ring as usize], ring, &mut self.scratch)?;
            if let Some(header) = front
                && header.stamp == self.next
            {
                self.take(ring, header, batch);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes the batch with the lowest stamp: after a death, stamps may be missing.
    fn take_lowest(&mut self, batch: &mut Batch) -> Result<bool, RingError> {
        let mut lowest: Option<(u32, Header)> = None;
        for ring in 0..self.rings() {
            if let Some(header) =
                front(&self.mapping, &mut self.ends[ring as usize], ring, &mut self.scratch)?
                && lowest.is_none_or(|(_, low)| header.stamp < low.stamp)
            {
                lowest = Some((ring, header));
            }
        }
        if let Some((ring, header)) = lowest {
            self.take(ring, header, batch);
        }
        Ok(lowest.is_some())
    }

    fn take(&mut self, ring: u32, header: Header, batch: &mut Batch) {
        let end = &mut self.ends[ring as usize];
        batch.vcpu = ring;
        batch.stamp = header.stamp;
        batch.instructions = header.instructions;
        batch.records.clear();
        // SAFETY: the mapping is ours; `front` found the batch between tail and head; there is one reader.
        unsafe {
            self.mapping.slots(ring).read(end.tail() + 1, header.records as usize, &mut batch.records);
        }
        let half = u64::from(self.mapping.geometry().slots) / 2;
        end.give_back(self.mapping.ring(ring), u64::from(header.records) + 1, half);
        self.next = header.stamp + 1;
        self.last = ring;
    }
}

/// The header of the first batch of a ring.
fn front(
    mapping: &Mapping,
    end: &mut ReaderEnd,
    ring: u32,
    scratch: &mut Vec<Raw>,
) -> Result<Option<Header>, RingError> {
    let filled = end.filled(mapping.ring(ring));
    if filled == 0 {
        return Ok(None);
    }
    let geometry = mapping.geometry();
    let wrong = |found: String, expected: String| RingError::Batch { ring, found, expected };
    if filled > u64::from(geometry.slots) {
        return Err(wrong(format!("{filled} filled slots"), format!("at most {}", geometry.slots)));
    }
    scratch.clear();
    // SAFETY: the mapping is the caller's; the slot lies between tail and head; there is one reader.
    unsafe { mapping.slots(ring).read(end.tail(), 1, scratch) };
    let Some(header) = scratch.first().and_then(|raw| Header::of_raw(*raw)) else {
        return Err(wrong(format!("the record {scratch:x?}"), "a header".into()));
    };
    if u64::from(header.records) >= filled || header.records > geometry.batch {
        let most = (filled - 1).min(geometry.batch.into());
        return Err(wrong(format!("a batch of {} records", header.records), format!("at most {most}")));
    }
    Ok(Some(header))
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.mapping.header().common.reader_closed.store(1, Release);
        for ring in 0..self.rings() {
            wake_writer(self.mapping.ring(ring));
        }
        if self.named {
            // A file that is gone already is as well.
            let _ = fs::remove_file(&self.path);
        }
    }
}
