//! Decoding, a bounded distance ahead of the simulation: on threads of their own, or by who takes the accesses, when they are needed.
//!
//! Where the trace orders its threads, its accesses are cut into epochs: so many of all threads together, in the order of the trace.
//! The simulation makes one epoch after another, so no thread is further ahead of another than an epoch.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use daxsim_sim::program::trace::{Expander, Stretch};
use daxsim_sim::program::{Access, Source};
use daxsim_traces::TraceError;
use daxsim_traces::access::{AccessBatch, AccessCounts, AccessReader, AccessRecord, Reading};

/// Accesses handed over at once: 128 KiB, within the L2 of the host's core that takes them.
const CHUNK: usize = 8192;
/// Records expanded between two looks at how full a chunk is.
const PIECE: usize = 512;
/// Chunks that wait for the simulation at most.
const WAITING: usize = 8;

/// Accesses of a thread, all of one epoch.
#[derive(Default)]
struct Chunk {
    epoch: u64,
    accesses: Vec<Access>,
}

/// Where chunks come from.
enum Supply {
    /// A decoder on a thread of its own, and where used chunks go back to.
    Thread(Receiver<Chunk>, Sender<Vec<Access>>),
    /// A decoder that is called.
    Here(Box<Decoding<Ready>>),
}

impl Supply {
    /// The next chunk in exchange for a used one.
    fn next(&mut self, used: Vec<Access>) -> Option<Chunk> {
        match self {
            Self::Thread(full, empty) => {
                let next = full.recv().ok()?;
                // Whoever made it may be done.
                let _ = empty.send(used);
                Some(next)
            }
            Self::Here(decoding) => {
                decoding.out.sink.spare.push(used);
                loop {
                    if let Some(next) = decoding.out.sink.full.pop_front() {
                        return Some(next);
                    }
                    if decoding.ended {
                        return None;
                    }
                    decoding.step();
                }
            }
        }
    }
}

/// The end of the queue that the simulation takes from.
pub struct Queue {
    supply: Supply,
    chunk: Chunk,
    /// The next of the chunk.
    at: usize,
}

impl Queue {
    const fn new(supply: Supply) -> Self {
        Self { supply, chunk: Chunk { epoch: 0, accesses: Vec::new() }, at: 0 }
    }

    /// The epoch of the next access; `None` if there is none.
    fn epoch(&mut self) -> Option<u64> {
        while self.at >= self.chunk.accesses.len() {
            self.at = 0;
            let used = std::mem::take(&mut self.chunk.accesses);
            self.chunk = self.supply.next(used)?;
        }
        Some(self.chunk.epoch)
    }

    /// Adds the next `count` accesses up to the end of an epoch.
    fn take(&mut self, epoch: u64, count: usize, batch: &mut Vec<Access>) {
        let mut left = count;
        while left > 0 && self.epoch().is_some_and(|next| next <= epoch) {
            let rest = self.chunk.accesses.get(self.at..).unwrap_or_default();
            let now = rest.len().min(left);
            batch.extend_from_slice(rest.get(..now).unwrap_or_default());
            self.at += now;
            left -= now;
        }
    }
}

/// The accesses of a thread up to the end of an epoch.
struct Until {
    queue: Arc<Mutex<Queue>>,
    epoch: u64,
}

impl Source for Until {
    fn fill(&mut self, batch: &mut Vec<Access>, count: usize) {
        lock(&self.queue).take(self.epoch, count, batch);
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    // Nothing is done half in it.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The accesses of all threads, epoch by epoch.
#[derive(Default)]
pub struct Epochs {
    queues: Vec<Arc<Mutex<Queue>>>,
}

impl Iterator for Epochs {
    type Item = Stretch;

    fn next(&mut self) -> Option<Stretch> {
        let epoch = self.queues.iter().filter_map(|queue| lock(queue).epoch()).min()?;
        let until = |queue: &Arc<Mutex<Queue>>| Box::new(Until { queue: Arc::clone(queue), epoch }) as _;
        Some(self.queues.iter().map(until).collect())
    }
}

/// What a decoder read.
#[derive(Default)]
pub struct Decoded {
    /// Records.
    pub counts: AccessCounts,
    /// What it met beside them.
    pub reading: Reading,
    /// Why it stopped before the end.
    pub error: Option<TraceError>,
}

/// What is decoded of a thread, and how.
pub struct Job {
    /// Where its records come from.
    pub reader: Box<dyn AccessReader>,
    /// How its instructions take time.
    pub expander: Expander,
    /// At most so many records.
    pub limit: u64,
    /// Accesses of all threads in an epoch; `None` if the threads run freely.
    pub slip: Option<NonZeroU64>,
}

/// A decoder at work.
pub enum Decoder {
    /// On a thread of its own.
    Thread(JoinHandle<Decoded>),
    /// Called when accesses are needed.
    Here(Arc<Mutex<Queue>>),
}

impl Decoder {
    /// Begins to decode a thread's accesses, which are put into the epochs. Ends early if those are dropped.
    ///
    /// # Errors
    ///
    /// If the host has no more threads.
    pub fn start(job: Job, epochs: &mut Epochs) -> std::io::Result<Self> {
        let (to_simulation, full) = sync_channel(WAITING);
        let (empty, used) = channel();
        let sink = Ahead { full: to_simulation, used };
        let decode = move || {
            let mut decoding = Decoding::new(job, sink);
            while !decoding.ended {
                decoding.step();
            }
            decoding.decoded
        };
        let thread = std::thread::Builder::new().name("decoder".into()).spawn(decode)?;
        epochs.queues.push(Arc::new(Mutex::new(Queue::new(Supply::Thread(full, empty)))));
        Ok(Self::Thread(thread))
    }

    /// The same without a thread: who takes the accesses decodes them.
    pub fn here(job: Job, epochs: &mut Epochs) -> Self {
        let decoding = Decoding::new(job, Ready::default());
        let queue = Arc::new(Mutex::new(Queue::new(Supply::Here(Box::new(decoding)))));
        epochs.queues.push(Arc::clone(&queue));
        Self::Here(queue)
    }

    /// What it read, once its accesses have ended or nobody wants them. `None` if the decoder broke.
    pub fn finish(self) -> Option<Decoded> {
        match self {
            Self::Thread(thread) => thread.join().ok(),
            Self::Here(queue) => match &mut lock(&queue).supply {
                Supply::Here(decoding) => {
                    decoding.end();
                    Some(std::mem::take(&mut decoding.decoded))
                }
                Supply::Thread(..) => None,
            },
        }
    }
}

/// Where chunks go that are full.
trait Sink {
    /// Takes one.
    fn put(&mut self, full: Chunk) -> Result<(), Unwanted>;
    /// Room for another.
    fn room(&mut self) -> Vec<Access>;
}

/// To a simulation on another thread.
struct Ahead {
    full: SyncSender<Chunk>,
    used: Receiver<Vec<Access>>,
}

impl Sink for Ahead {
    fn put(&mut self, full: Chunk) -> Result<(), Unwanted> {
        self.full.send(full).map_err(|_| Unwanted)
    }

    fn room(&mut self) -> Vec<Access> {
        self.used.try_recv().unwrap_or_default()
    }
}

/// To who called.
#[derive(Default)]
struct Ready {
    full: VecDeque<Chunk>,
    spare: Vec<Vec<Access>>,
}

impl Sink for Ready {
    fn put(&mut self, full: Chunk) -> Result<(), Unwanted> {
        self.full.push_back(full);
        Ok(())
    }

    fn room(&mut self) -> Vec<Access> {
        self.spare.pop().unwrap_or_default()
    }
}

/// The end of the queue that a decoder puts into.
struct Out<S> {
    sink: S,
    chunk: Chunk,
}

/// Nobody takes the accesses any more.
struct Unwanted;

impl<S: Sink> Out<S> {
    /// Hands the chunk over; the next one is of an epoch.
    fn send(&mut self, epoch: u64) -> Result<(), Unwanted> {
        let mut accesses = self.sink.room();
        accesses.clear();
        let full = std::mem::replace(&mut self.chunk, Chunk { epoch, accesses });
        self.sink.put(full)
    }

    /// Puts records that are all of one epoch.
    fn put(&mut self, epoch: u64, records: &[AccessRecord], expander: &mut Expander) -> Result<(), Unwanted> {
        let Some((first, others)) = records.split_first() else { return Ok(()) };
        let mut first = *first;
        if epoch > self.chunk.epoch {
            // The last access of the epoch before is known now.
            self.chunk.accesses.extend(expander.finish(std::mem::take(&mut first.gap).into()));
            self.send(epoch)?;
        }
        let epoch = epoch.max(self.chunk.epoch);
        expander.extend(&[first], &mut self.chunk.accesses);
        for some in others.chunks(PIECE) {
            expander.extend(some, &mut self.chunk.accesses);
            if self.chunk.accesses.len() >= CHUNK {
                self.send(epoch)?;
            }
        }
        Ok(())
    }
}

/// The parts of a batch that are each of one epoch.
fn parts(
    batch: &AccessBatch,
    slip: Option<NonZeroU64>,
    mut put: impl FnMut(u64, &[AccessRecord]) -> Result<(), Unwanted>,
) -> Result<(), Unwanted> {
    let Some(slip) = slip.filter(|_| !batch.order.is_empty()) else { return put(0, &batch.records) };
    let mut rest = batch.records.as_slice();
    for run in &batch.order {
        let (mut first, end) = (run.first, run.first.saturating_add(run.count));
        while first < end && !rest.is_empty() {
            let epoch = first / slip;
            let until = (epoch + 1).saturating_mul(slip.get()).min(end);
            let count = usize::try_from(until - first).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = rest.split_at(count);
            put(epoch, now)?;
            rest = later;
            first = until;
        }
    }
    put(0, rest)
}

/// The decoding of a thread's accesses.
struct Decoding<S> {
    job: Job,
    out: Out<S>,
    batch: AccessBatch,
    decoded: Decoded,
    /// Records that may still come.
    left: u64,
    ended: bool,
}

impl<S: Sink> Decoding<S> {
    fn new(job: Job, sink: S) -> Self {
        let out = Out { sink, chunk: Chunk::default() };
        Self {
            left: job.limit,
            job,
            out,
            batch: AccessBatch::default(),
            decoded: Decoded::default(),
            ended: false,
        }
    }

    /// Decodes a batch.
    fn step(&mut self) {
        let batch = &mut self.batch;
        match if self.left > 0 { self.job.reader.next_batch(batch) } else { Ok(false) } {
            Ok(true) => {}
            Ok(false) => return self.end(),
            Err(error) => {
                self.decoded.error = Some(error);
                return self.end();
            }
        }
        batch.records.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= batch.records.len() as u64;
        self.decoded.counts.add(&batch.records);
        let (out, expander) = (&mut self.out, &mut self.job.expander);
        if parts(batch, self.job.slip, |epoch, records| out.put(epoch, records, expander)).is_err() {
            self.end();
        }
    }

    /// Hands over the last of it.
    fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.decoded.reading = self.job.reader.reading().clone();
        let behind = if self.left > 0 { self.decoded.reading.trailing_instructions } else { 0 };
        self.out.chunk.accesses.extend(self.job.expander.finish(behind));
        // If nobody takes them, nobody wants them.
        let _ = self.out.send(0);
    }
}

#[cfg(test)]
mod tests {
    use daxsim_traces::access::{AccessOp, OrderRun};
    use daxsim_types::VirtAddr;

    use super::*;

    /// Gives batches of as many loads as told, then perhaps an error.
    struct Loads {
        batches: Vec<usize>,
        made: u64,
        ends_badly: bool,
        reading: Reading,
    }

    impl AccessReader for Loads {
        fn next_batch(&mut self, batch: &mut AccessBatch) -> Result<bool, TraceError> {
            batch.records.clear();
            let Some(count) = self.batches.pop() else {
                let error = || TraceError::Empty { file: "loads".into() };
                return if self.ends_badly { Err(error()) } else { Ok(false) };
            };
            for _ in 0..count {
                self.made += 1;
                let (va, op) = (VirtAddr(self.made * 64), AccessOp::Load);
                batch.records.push(AccessRecord { va, op, gap: 1, ..AccessRecord::default() });
            }
            Ok(true)
        }

        fn reading(&self) -> &Reading {
            &self.reading
        }
    }

    fn loads(batches: &[usize], ends_badly: bool) -> Box<dyn AccessReader> {
        let reading = Reading { other_lines: 3, ..Reading::default() };
        Box::new(Loads { batches: batches.to_vec(), made: 0, ends_badly, reading })
    }

    fn job(reader: Box<dyn AccessReader>, limit: u64) -> Job {
        let machine = daxsim_configs::load_machine("skylake-sp-optane", &[]).unwrap();
        Job { reader, expander: Expander::new(&machine), limit, slip: None }
    }

    fn start(reader: Box<dyn AccessReader>, limit: u64) -> (Decoder, Epochs) {
        let mut epochs = Epochs::default();
        (Decoder::start(job(reader, limit), &mut epochs).unwrap(), epochs)
    }

    fn drain(source: &mut dyn Source) -> Vec<u64> {
        let (mut all, mut batch) = (Vec::new(), Vec::new());
        loop {
            batch.clear();
            source.fill(&mut batch, 256);
            if batch.is_empty() {
                return all;
            }
            all.extend(batch.iter().map(|access| access.va.0 / 64));
        }
    }

    /// What each thread makes in each epoch.
    fn all(epochs: &mut Epochs) -> Vec<Vec<Vec<u64>>> {
        epochs.map(|stretch| stretch.into_iter().map(|mut source| drain(source.as_mut())).collect()).collect()
    }

    #[test]
    fn everything_comes_out_in_order() {
        let batches = [1, 100_000, 7, 20_000];
        let (decoder, mut epochs) = start(loads(&batches, false), u64::MAX);
        let all = all(&mut epochs);
        assert!(all[0][0].iter().copied().eq(1..=120_008));
        assert_eq!(all.len(), 1);
        let decoded = decoder.finish().unwrap();
        assert_eq!((decoded.counts.loads, decoded.counts.instructions), (120_008, 120_008));
        assert_eq!(decoded.reading.other_lines, 3);
        assert!(decoded.error.is_none());
    }

    #[test]
    fn what_came_before_an_error_comes_out() {
        let (decoder, mut epochs) = start(loads(&[10_000], true), u64::MAX);
        assert_eq!(all(&mut epochs)[0][0].len(), 10_000);
        assert!(decoder.finish().unwrap().error.is_some());
    }

    #[test]
    fn decoded_by_who_takes_it_it_is_the_same() {
        for (batches, ends_badly, limit) in [
            (vec![1, 100_000, 7, 20_000], false, u64::MAX),
            (vec![10_000], true, u64::MAX),
            (vec![30_000], true, 9_000),
        ] {
            let (decoder, mut epochs) = start(loads(&batches, ends_badly), limit);
            let expected = (all(&mut epochs), decoder.finish().unwrap());
            let mut epochs = Epochs::default();
            let decoder = Decoder::here(job(loads(&batches, ends_badly), limit), &mut epochs);
            assert_eq!(all(&mut epochs), expected.0);
            let decoded = decoder.finish().unwrap();
            assert_eq!(decoded.counts, expected.1.counts);
            assert_eq!(decoded.reading.other_lines, expected.1.reading.other_lines);
            assert_eq!(decoded.error.is_some(), expected.1.error.is_some());
        }
    }

    #[test]
    fn a_limit_ends_it() {
        let (decoder, mut epochs) = start(loads(&[100_000], true), 9_000);
        assert_eq!(all(&mut epochs)[0][0].len(), 9_000);
        let decoded = decoder.finish().unwrap();
        assert_eq!(decoded.counts.records(), 9_000);
        assert!(decoded.error.is_none());
    }

    #[test]
    fn a_simulation_that_stops_ends_the_decoder() {
        let (decoder, epochs) = start(loads(&[1 << 20; 64], false), u64::MAX);
        drop(epochs);
        assert!(decoder.finish().unwrap().counts.loads < 64 << 20);
    }

    /// Gives one batch with its order.
    struct Ordered(Option<AccessBatch>, Reading);

    impl AccessReader for Ordered {
        fn next_batch(&mut self, batch: &mut AccessBatch) -> Result<bool, TraceError> {
            let Some(next) = self.0.take() else { return Ok(false) };
            *batch = next;
            Ok(true)
        }

        fn reading(&self) -> &Reading {
            &self.1
        }
    }

    #[test]
    fn no_thread_is_further_ahead_than_an_epoch() {
        // Of 20 accesses the threads make 0..5, 5..9, 9..18, 18..20 by turns; an access is named by its place.
        let runs = [[(0, 5), (9, 9)], [(5, 4), (18, 2)]];
        let mut epochs = Epochs::default();
        let decoders: Vec<Decoder> = runs
            .map(|runs| {
                let order = runs.map(|(first, count)| OrderRun { first, count }).to_vec();
                let places = order.iter().flat_map(|run| run.first..run.first + run.count);
                let load =
                    |place: u64| AccessRecord { va: VirtAddr(place * 64), gap: 1, ..AccessRecord::default() };
                let records = places.map(load).collect();
                let batch = AccessBatch { records, order, ..AccessBatch::default() };
                let reader = Box::new(Ordered(Some(batch), Reading::default()));
                let slip = NonZeroU64::new(6);
                Decoder::start(Job { slip, ..job(reader, u64::MAX) }, &mut epochs).unwrap()
            })
            .into();
        let expected = [
            vec![(0..5).collect(), vec![5]],
            vec![(9..12).collect(), (6..9).collect()],
            vec![(12..18).collect(), vec![]],
            vec![vec![], vec![18, 19]],
        ];
        assert_eq!(all(&mut epochs), expected);
        let loads = decoders.into_iter().map(|decoder| decoder.finish().unwrap().counts.loads);
        assert!(loads.eq([14, 6]));
    }
}
