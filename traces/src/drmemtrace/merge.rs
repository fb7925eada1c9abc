//! Traces of several threads, each in a file of its own, as one: in the order of the times in them.
//!
//! A marker says from time to time when it is, in microseconds. What follows is of that time, up to the next marker of the same file.
//! The file with the earliest time is read on; of the same time the first one, by name. So the order is exact to within a marker, and
//! the same every time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::DrMemTrace;
use crate::access::{AccessBatch, AccessReader, Fetches, OrderRun, Reading};
use crate::open::Input;
use crate::{InputKind, TraceError, open};

/// Records that are read ahead of each file.
const AHEAD: usize = 1024;
/// Most files: each takes buffers of about 400 KiB.
const MOST_FILES: usize = 512;
/// Most turns that threads take: 64 MiB.
const MOST_TURNS: usize = 1 << 22;
/// Damaged files that are told; the others are counted.
const MOST_DAMAGE: usize = 16;

/// The files of a trace: the one that is named, or those of a folder (or its folder `trace`), by name.
///
/// # Errors
///
/// [`TraceError`] if the folder cannot be read, or holds none or too many.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, TraceError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = traces_in(path)?;
    let inner = path.join("trace");
    if found.is_empty() && inner.is_dir() {
        found = traces_in(&inner)?;
    }
    if found.is_empty() || found.len() > MOST_FILES {
        return Err(TraceError::Unrecognised {
            file: path.to_owned(),
            offset: 0,
            found: format!(
                "a folder with {} files of drmemtrace (`*.trace`, `.trace.gz`, `.trace.zip`)",
                found.len()
            ),
            expected: format!("a file, or a folder with 1 to {MOST_FILES} of them, one for each thread"),
        });
    }
    Ok(found)
}

fn traces_in(folder: &Path) -> Result<Vec<PathBuf>, TraceError> {
    let cannot = |source| TraceError::Io { file: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_trace = ["", ".gz", ".zip", ".xz", ".zst"]
            .iter()
            .any(|end| name.strip_suffix(end).is_some_and(|name| name.ends_with(".trace")));
        if is_trace && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn reader(path: &Path, fetches: Fetches) -> Result<DrMemTrace<Input>, TraceError> {
    let mut input = open(path)?;
    match input.sniff()? {
        InputKind::DrMemTrace => Ok(DrMemTrace::new(input, path, fetches)),
        other => Err(TraceError::Unrecognised {
            file: path.to_owned(),
            offset: 0,
            found: other.to_string(),
            expected: "a drmemtrace trace".into(),
        }),
    }
}

/// A file, and what was read ahead of it.
struct One {
    reader: DrMemTrace<Input>,
    ahead: AccessBatch,
    /// Time of what is ahead.
    time: u64,
}

/// All accesses of some files, in the order of time.
pub struct Merged {
    files: Vec<One>,
    /// Times of the files that have something ahead, and their numbers.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    /// Accesses handed out.
    count: u64,
    /// The file of the last batch.
    last: usize,
    reading: Reading,
}

impl Merged {
    /// Reads the files of [`files`].
    ///
    /// # Errors
    ///
    /// [`TraceError`] if one cannot be opened or is no such trace.
    pub fn open(paths: &[PathBuf], fetches: Fetches) -> Result<Self, TraceError> {
        let mut merged = Self {
            files: Vec::new(),
            next: BinaryHeap::new(),
            count: 0,
            last: 0,
            reading: Reading::default(),
        };
        for path in paths {
            let reader = reader(path, fetches)?.by_time(AHEAD);
            merged.files.push(One { reader, ahead: AccessBatch::default(), time: 0 });
            merged.read_on(merged.files.len() - 1)?;
        }
        Ok(merged)
    }

    /// Reads a file on. What is damaged ends it, and is noted.
    fn read_on(&mut self, number: usize) -> Result<(), TraceError> {
        let Some(one) = self.files.get_mut(number) else { return Ok(()) };
        match one.reader.next_batch(&mut one.ahead) {
            Ok(true) => {
                one.time = one.time.max(one.reader.time());
                self.next.push(Reverse((one.time, number)));
            }
            Ok(false) => self.end(number),
            Err(error) if error.is_damage() => {
                self.end(number);
                self.reading.damaged += 1;
                if self.reading.damage.len() < MOST_DAMAGE {
                    self.reading.damage.push(error.to_string());
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Takes in what a file has beside accesses.
    fn end(&mut self, number: usize) {
        let Some(one) = self.files.get(number) else { return };
        let reading = one.reader.reading();
        self.reading.tool_lines += reading.tool_lines;
        self.reading.trailing_instructions += reading.trailing_instructions;
    }
}

impl AccessReader for Merged {
    fn next_batch(&mut self, batch: &mut AccessBatch) -> Result<bool, TraceError> {
        batch.records.clear();
        batch.order.clear();
        let Some(Reverse((_, number))) = self.next.pop() else { return Ok(false) };
        let Some(one) = self.files.get_mut(number) else { return Ok(false) };
        std::mem::swap(batch, &mut one.ahead);
        let count = batch.records.len() as u64;
        batch.order.clear();
        batch.order.push(OrderRun { first: self.count, count });
        self.count += count;
        self.last = number;
        self.read_on(number)?;
        Ok(true)
    }

    fn reading(&self) -> &Reading {
        &self.reading
    }
}

/// A reader for each thread of some files, whose batches say where they stand among all. All files are read once to know.
///
/// # Errors
///
/// [`TraceError`] if a file cannot be read, or the threads take too many turns.
pub fn threads(paths: &[PathBuf], fetches: Fetches) -> Result<Vec<Box<dyn AccessReader>>, TraceError> {
    let mut turns: BTreeMap<(u32, usize), Vec<OrderRun>> = BTreeMap::new();
    let mut all = Merged::open(paths, fetches)?;
    let (mut batch, mut count) = (AccessBatch::default(), 0);
    while all.next_batch(&mut batch)? {
        let runs = turns.entry((batch.thread, all.last)).or_default();
        for run in &batch.order {
            match runs.last_mut() {
                Some(last) if last.first + last.count == run.first => last.count += run.count,
                _ => {
                    runs.push(*run);
                    count += 1;
                }
            }
        }
        if count > MOST_TURNS {
            return Err(TraceError::Unrecognised {
                file: paths.first().cloned().unwrap_or_default(),
                offset: 0,
                found: format!("more than {MOST_TURNS} turns of the threads"),
                expected: "fewer, or the .dxt that `daxsim import` makes of them".into(),
            });
        }
    }
    if turns.is_empty() {
        // Whoever reads on says what there is instead.
        return Ok(vec![Box::new(Merged::open(paths, fetches)?)]);
    }
    let ordered = turns.len() > 1;
    let one = |((thread, file), turns): ((u32, usize), Vec<OrderRun>)| {
        let reader = reader(paths.get(file).map_or(Path::new(""), PathBuf::as_path), fetches)?;
        let turns = if ordered { Arc::from(turns) } else { Arc::from([]) };
        Ok(Box::new(Thread { reader, thread, turns, at: 0, used: 0 }) as Box<dyn AccessReader>)
    };
    turns.into_iter().map(one).collect()
}

/// The accesses of one thread of a file.
struct Thread {
    reader: DrMemTrace<Input>,
    thread: u32,
    /// Its turns among all accesses; none if it is alone.
    turns: Arc<[OrderRun]>,
    /// The current one, and how much of it is used.
    at: usize,
    used: u64,
}

impl Thread {
    /// The turns that so many accesses fill.
    fn take(&mut self, mut count: u64, order: &mut Vec<OrderRun>) {
        order.clear();
        while count > 0
            && let Some(turn) = self.turns.get(self.at)
        {
            let some = count.min(turn.count - self.used);
            order.push(OrderRun { first: turn.first + self.used, count: some });
            self.used += some;
            count -= some;
            if self.used == turn.count {
                self.at += 1;
                self.used = 0;
            }
        }
    }
}

impl AccessReader for Thread {
    fn next_batch(&mut self, batch: &mut AccessBatch) -> Result<bool, TraceError> {
        while self.reader.next_batch(batch)? {
            if batch.thread == self.thread {
                let mut order = std::mem::take(&mut batch.order);
                self.take(batch.records.len() as u64, &mut order);
                batch.order = order;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn reading(&self) -> &Reading {
        self.reader.reading()
    }
}
