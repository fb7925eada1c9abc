//! Decoding on threads of their own, a bounded distance ahead of the simulation.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use daxsim_sim::program::trace::expand;
use daxsim_sim::program::{Access, Source};
use daxsim_traces::TraceError;
use daxsim_traces::access::{AccessBatch, AccessCounts, AccessReader, Reading};

/// Accesses handed over at once: 128 KiB, within the L2 of the host's core that takes them.
const CHUNK: usize = 8192;
/// Chunks that wait for the simulation at most.
const WAITING: usize = 8;

/// The end of the queue that the simulation takes from.
struct Queue {
    full: Receiver<Vec<Access>>,
    /// Where used chunks go back to.
    empty: Sender<Vec<Access>>,
    chunk: Vec<Access>,
    /// The next of the chunk.
    at: usize,
}

impl Source for Queue {
    fn fill(&mut self, batch: &mut Vec<Access>, count: usize) {
        let mut left = count;
        while left > 0 {
            let rest = self.chunk.get(self.at..).unwrap_or_default();
            if rest.is_empty() {
                let Ok(next) = self.full.recv() else { return };
                let used = std::mem::replace(&mut self.chunk, next);
                self.at = 0;
                // Whoever made it may be done.
                let _ = self.empty.send(used);
                continue;
            }
            let now = rest.len().min(left);
            batch.extend_from_slice(rest.get(..now).unwrap_or_default());
            self.at += now;
            left -= now;
        }
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

/// A decoder at work.
pub struct Decoder {
    thread: JoinHandle<Decoded>,
}

impl Decoder {
    /// Decodes at most `limit` records; the source that gives their accesses. Ends early if that is dropped.
    ///
    /// # Errors
    ///
    /// If the host has no more threads.
    pub fn start(reader: Box<dyn AccessReader>, limit: u64) -> std::io::Result<(Self, Box<dyn Source>)> {
        let (to_simulation, full) = sync_channel(WAITING);
        let (empty, used) = channel();
        let work = move || decode(reader, limit, &to_simulation, &used);
        let thread = std::thread::Builder::new().name("decoder".into()).spawn(work)?;
        Ok((Self { thread }, Box::new(Queue { full, empty, chunk: Vec::new(), at: 0 })))
    }

    /// What it read, once the source has ended or is gone. `None` if the decoder broke.
    pub fn finish(self) -> Option<Decoded> {
        self.thread.join().ok()
    }
}

fn decode(
    mut reader: Box<dyn AccessReader>,
    limit: u64,
    full: &SyncSender<Vec<Access>>,
    used: &Receiver<Vec<Access>>,
) -> Decoded {
    let mut batch = AccessBatch::default();
    let mut decoded = Decoded::default();
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut left = limit;
    'all: while left > 0 {
        match reader.next_batch(&mut batch) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                decoded.error = Some(error);
                break;
            }
        }
        batch.records.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= batch.records.len() as u64;
        decoded.counts.add(&batch.records);
        for record in &batch.records {
            expand(record, &mut chunk);
            if chunk.len() >= CHUNK {
                let mut next: Vec<Access> = used.try_recv().unwrap_or_default();
                next.clear();
                if full.send(std::mem::replace(&mut chunk, next)).is_err() {
                    break 'all;
                }
            }
        }
    }
    // If nobody takes them, nobody wants them.
    let _ = full.send(chunk);
    decoded.reading = reader.reading().clone();
    decoded
}

#[cfg(test)]
mod tests {
    use daxsim_traces::access::{AccessOp, AccessRecord};
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

    fn all(source: &mut dyn Source) -> Vec<u64> {
        let mut all = Vec::new();
        let mut batch = Vec::new();
        loop {
            batch.clear();
            source.fill(&mut batch, 256);
            if batch.is_empty() {
                return all;
            }
            all.extend(batch.iter().map(|access| access.va.0 / 64));
        }
    }

    #[test]
    fn everything_comes_out_in_order() {
        let batches = [1, 100_000, 7, 20_000];
        let (decoder, mut source) = Decoder::start(loads(&batches, false), u64::MAX).unwrap();
        assert!(all(source.as_mut()).into_iter().eq(1..=120_008));
        let decoded = decoder.finish().unwrap();
        assert_eq!((decoded.counts.loads, decoded.counts.instructions), (120_008, 120_008));
        assert_eq!(decoded.reading.other_lines, 3);
        assert!(decoded.error.is_none());
    }

    #[test]
    fn what_came_before_an_error_comes_out() {
        let (decoder, mut source) = Decoder::start(loads(&[10_000], true), u64::MAX).unwrap();
        assert_eq!(all(source.as_mut()).len(), 10_000);
        assert!(decoder.finish().unwrap().error.is_some());
    }

    #[test]
    fn a_limit_ends_it() {
        let (decoder, mut source) = Decoder::start(loads(&[100_000], true), 9_000).unwrap();
        assert_eq!(all(source.as_mut()).len(), 9_000);
        let decoded = decoder.finish().unwrap();
        assert_eq!(decoded.counts.records(), 9_000);
        assert!(decoded.error.is_none());
    }

    #[test]
    fn a_simulation_that_stops_ends_the_decoder() {
        let (decoder, source) = Decoder::start(loads(&[1 << 20; 64], false), u64::MAX).unwrap();
        drop(source);
        assert!(decoder.finish().unwrap().counts.loads < 64 << 20);
    }
}
