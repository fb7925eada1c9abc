//! The writing side.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use std::time::Duration;

use crate::layout::{FINISHED, MAGIC, START, Start, VERSION, WRITES};
use crate::liveness::{self, Side};
use crate::mapping::{self, Mapping, Slots};
use crate::protocol::{WriterEnd, wake_reader};
use crate::record::{Access, Control, Header, MOST_GAP, Raw};
use crate::{Geometry, RingError};

/// Longest sleep before a writer looks whether the reader lives.
const LOOK: Duration = Duration::from_millis(50);

/// The reader has ended: what is written goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reader of the ring is gone")]
pub struct ReaderGone;

/// What the producers of a file share.
struct Common {
    mapping: Mapping,
    file: File,
    path: PathBuf,
    /// Rings that have a producer.
    taken: Vec<AtomicBool>,
}

/// A file with rings, open for writing. When it and its producers are dropped without [`Self::finish`], the reader sees a
/// writer that died.
pub struct Writer {
    common: Arc<Common>,
}

impl Writer {
    /// Opens the file of a [`Reader`](crate::Reader), with a ring for each of `vcpus` vCPUs.
    ///
    /// # Errors
    ///
    /// [`RingError`] if the file cannot be opened, is none of this version, has too few rings, or has a writer.
    pub fn open(path: &Path, vcpus: u32) -> Result<Self, RingError> {
        let failed = |what| move |source| RingError::Io { place: path.to_owned(), what, source };
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed("open"))?;
        let geometry = geometry_of(&file, path)?;
        if vcpus > geometry.rings {
            return Err(unrecognised(
                path,
                format!("{} rings", geometry.rings),
                format!("one for each of {vcpus} vCPUs"),
            ));
        }
        let mapping = mapping::map(&file, geometry).map_err(failed("map"))?;
        if !liveness::take(&file, Side::Writer).map_err(failed("lock"))? {
            return Err(RingError::Taken { place: path.to_owned(), who: "writer" });
        }
        let header = mapping.header();
        header.used.store(vcpus, Relaxed);
        header.writer.store(WRITES, Release);
        let taken = (0..vcpus).map(|_| AtomicBool::new(false)).collect();
        Ok(Self { common: Arc::new(Common { mapping, file, path: path.to_owned(), taken }) })
    }

    /// How large the rings are.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.common.mapping.geometry()
    }

    /// The producer of a vCPU: the only one ever.
    ///
    /// # Errors
    ///
    /// [`RingError`] if there is no such ring, or the producer was handed out.
    pub fn producer(&self, vcpu: u32) -> Result<Producer, RingError> {
        let common = &self.common;
        let Some(taken) = common.taken.get(vcpu as usize) else {
            let (found, expected) = (format!("vCPU {vcpu}"), format!("one below {}", common.taken.len()));
            return Err(unrecognised(&common.path, found, expected));
        };
        if taken.swap(true, AcqRel) {
            return Err(RingError::Taken { place: common.path.clone(), who: "producer" });
        }
        let geometry = common.mapping.geometry();
        let slots = u64::from(geometry.slots);
        Ok(Producer {
            end: WriterEnd::new(common.mapping.ring(vcpu), slots, slots / 4),
            slots: common.mapping.slots(vcpu),
            vcpu,
            batch: u64::from(geometry.batch),
            filled: 0,
            begin: 0,
            last: 0,
            common: Arc::clone(common),
        })
    }

    /// Tells the reader that no more will come. What producers hold back is lost: flush them before.
    pub fn finish(self) {
        let header = self.common.mapping.header();
        header.writer.store(FINISHED, Release);
        wake_reader(&header.common);
    }
}

fn unrecognised(path: &Path, found: String, expected: String) -> RingError {
    RingError::Unrecognised { place: path.to_owned(), found, expected }
}

/// The geometry that a file says, checked against its length.
fn geometry_of(file: &File, path: &Path) -> Result<Geometry, RingError> {
    let failed = |what| move |source: io::Error| RingError::Io { place: path.to_owned(), what, source };
    let mut begin = [0; START];
    file.read_exact_at(&mut begin, 0).map_err(failed("read the header of"))?;
    let start = Start::of_bytes(&begin);
    if start.magic != MAGIC {
        return Err(unrecognised(
            path,
            format!("the magic number {:#018x}", start.magic),
            format!("{MAGIC:#018x}"),
        ));
    }
    if start.version != VERSION {
        return Err(unrecognised(path, format!("version {}", start.version), format!("version {VERSION}")));
    }
    let geometry = start.geometry.check()?;
    let bytes = file.metadata().map_err(failed("look at"))?.len();
    if bytes < geometry.bytes() as u64 {
        return Err(unrecognised(path, format!("{bytes} bytes"), format!("at least {}", geometry.bytes())));
    }
    Ok(geometry)
}

/// Writes the accesses of a vCPU. One thread uses it at a time.
pub struct Producer {
    end: WriterEnd,
    slots: Slots,
    vcpu: u32,
    /// Most records of a batch.
    batch: u64,
    /// Records of the batch that is not shown yet. Its header's slot stands before them.
    filled: u64,
    /// Instructions before the first of them.
    begin: u64,
    /// Instructions up to the last access.
    last: u64,
    /// Keeps the mapping of `slots`.
    common: Arc<Common>,
}

impl Producer {
    /// The vCPU.
    #[must_use]
    pub fn vcpu(&self) -> u32 {
        self.vcpu
    }

    /// Adds an access; its `gap` is made of `instructions`, those that the vCPU began so far, that of the access included; a
    /// number below the one before counts as that. Waits for the reader while the ring is full.
    ///
    /// # Errors
    ///
    /// [`ReaderGone`] if there is nobody to wait for.
    #[inline]
    pub fn push(&mut self, access: Access, instructions: u64) -> Result<(), ReaderGone> {
        let instructions = instructions.max(self.last);
        let mut gap = instructions - self.last;
        if self.filled == 0 || gap > MOST_GAP {
            gap = self.begin_batch(instructions, gap)?;
        }
        self.last = instructions;
        self.add(Access { gap: gap as u32, ..access }.to_raw());
        Ok(())
    }

    /// Adds what the vCPU did to its translations after the last access.
    ///
    /// # Errors
    ///
    /// [`ReaderGone`] as from [`Self::push`].
    pub fn push_control(&mut self, control: Control) -> Result<(), ReaderGone> {
        if self.filled == 0 {
            self.begin_batch(self.last, 0)?;
        }
        self.add(control.to_raw());
        Ok(())
    }

    #[inline]
    fn add(&mut self, raw: Raw) {
        self.filled += 1;
        // SAFETY: the common part keeps the mapping. `begin_batch` waited for a header and a whole batch of free slots, and a
        // batch is shown when it is full. There is one producer of a ring.
        unsafe { self.slots.write(self.end.head() + self.filled, raw) };
        if self.filled == self.batch {
            self.show(false);
        }
    }

    /// Shows the reader all that was pushed. For a thread that goes on with another vCPU: then stamps are in the order of all accesses.
    pub fn hand_over(&mut self) {
        if self.filled > 0 {
            self.show(false);
        }
    }

    /// Shows the reader all that was pushed, wakes it, and says how many instructions the vCPU began so far.
    ///
    /// # Errors
    ///
    /// [`ReaderGone`] if there is nobody to wait for.
    pub fn flush(&mut self, instructions: u64) -> Result<(), ReaderGone> {
        if self.filled > 0 {
            self.show(true);
        }
        if instructions > self.last {
            self.wait_for_room()?;
            (self.begin, self.last) = (instructions, instructions);
            self.show(true);
        }
        Ok(())
    }

    /// Begins a batch. Returns the gap of its first record.
    #[cold]
    #[inline(never)]
    fn begin_batch(&mut self, instructions: u64, gap: u64) -> Result<u64, ReaderGone> {
        if self.filled > 0 {
            self.show(false);
        }
        self.wait_for_room()?;
        let gap = if gap > MOST_GAP { 1 } else { gap };
        self.begin = instructions.wrapping_sub(gap);
        Ok(gap)
    }

    fn wait_for_room(&mut self) -> Result<(), ReaderGone> {
        let Common { mapping, file, .. } = &*self.common;
        let (ring, shared) = (mapping.ring(self.vcpu), &mapping.header().common);
        let alive = || liveness::is_alive(file, Side::Reader);
        let has_room = self.end.wait_for_room(ring, shared, self.batch + 1, LOOK, alive);
        if has_room { Ok(()) } else { Err(ReaderGone) }
    }

    /// Shows the batch, which may be empty. Its stamp is drawn now, when nothing can keep it from being shown.
    #[inline(never)]
    fn show(&mut self, now: bool) {
        let mapping = &self.common.mapping;
        let file = mapping.header();
        let stamp = file.stamp.0.fetch_add(1, AcqRel);
        let header = Header { stamp, records: self.filled as u32, instructions: self.begin };
        // SAFETY: as in `push`; the slot of the header is the first of those waited for.
        unsafe { self.slots.write(self.end.head(), header.to_raw()) };
        self.end.publish(mapping.ring(self.vcpu), &file.common, self.filled + 1, now);
        self.filled = 0;
    }
}
