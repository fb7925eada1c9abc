//! A program's trace: decoded, decoded and simulated; traces of other tools, imported.

use std::fmt::Write;
use std::hint::black_box;
use std::path::{Path, PathBuf};

use daxsim_configs::{load_kernel, load_machine};
use daxsim_sim::Simulation;
use daxsim_sim::program::trace::{self, Expander, FileMap};
use daxsim_sim::program::{Access, Source};
use daxsim_traces::access::{AccessBatch, AccessOp, AccessReader, AccessRecord, ChampSim, Fetches, Lackey};
use daxsim_traces::dxt::Reader;
use daxsim_types::FileSystem;

use crate::clock::best_cpu;
use crate::table::{Line, millions};

/// Where sqlite3 had its database.
const MAP: (u64, u64) = (0x4e0_0000, 196 << 20);

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../traces/tests/data/sqlite_mmap.dxt")
}

/// Decodes as the simulation asks for more: on one thread, so that CPU time counts both.
struct Decoding {
    reader: Reader,
    batch: AccessBatch,
    expander: Expander,
    accesses: Vec<Access>,
    at: usize,
}

impl Source for Decoding {
    fn fill(&mut self, batch: &mut Vec<Access>, count: usize) {
        if self.at == self.accesses.len() {
            self.at = 0;
            self.accesses.clear();
            if !self.reader.next_batch(&mut self.batch).expect("it reads") {
                batch.extend(self.expander.finish(0));
                return;
            }
            self.batch.records.iter().for_each(|record| self.expander.push(record, &mut self.accesses));
        }
        let some = count.min(self.accesses.len() - self.at);
        batch.extend_from_slice(&self.accesses[self.at..self.at + some]);
        self.at += some;
        if some < count {
            self.fill(batch, count - some);
        }
    }
}

/// All records of a reader.
fn read(mut reader: impl AccessReader) -> u64 {
    let mut batch = AccessBatch::default();
    let mut records = 0;
    while reader.next_batch(&mut batch).expect("it reads") {
        records += black_box(&batch).records.len() as u64;
    }
    records
}

/// The lines of a program's trace.
pub fn lines() -> Vec<Line> {
    let open = || Reader::open(&path()).expect("it is there");
    let (decoded, records) = best_cpu(open, read);
    let (simulated, accesses) = best_cpu(open, |reader| {
        let machine = load_machine("skylake-sp-optane", &[]).expect("builtin");
        let kernel = load_kernel("linux-7.2", &[]).expect("builtin");
        let expander = Expander::new(&machine);
        let mut sim = Simulation::new(machine, kernel, FileSystem::Xfs, false);
        let source =
            Decoding { reader, batch: AccessBatch::default(), expander, accesses: Vec::new(), at: 0 };
        let map = FileMap { file: "db".into(), start: MAP.0, len: MAP.1, ..FileMap::default() };
        let outcomes =
            trace::run(&mut sim, FileSystem::Xfs, &[map], 1, [vec![Box::new(source) as Box<dyn Source>]])
                .expect("it runs");
        outcomes.iter().map(|outcome| outcome.accesses).sum::<u64>()
    });
    let bytes = std::fs::metadata(path()).map_or(0, |file| file.len());
    let each = bytes as f64 / records as f64;
    let how = format!(
        "sqlite3, {accesses} accesses, database on XFS; with decoding, {:.1}x that",
        simulated / decoded
    );
    vec![
        Line::new("a program's trace", millions(accesses, simulated), ">= 25 M/s", how),
        Line::new(
            "decoding of the same",
            millions(records, decoded),
            ">= 100 M/s",
            format!(".dxt, {each:.3} bytes for each access"),
        ),
    ]
}

/// The records of the trace, as often as it takes for a measurement.
fn records() -> Vec<AccessRecord> {
    let mut reader = Reader::open(&path()).expect("it is there");
    let (mut all, mut batch) = (Vec::new(), AccessBatch::default());
    while all.len() < 1_000_000 && reader.next_batch(&mut batch).expect("it reads") {
        all.append(&mut batch.records);
    }
    all
}

/// The lines of imports.
pub fn imports() -> Vec<Line> {
    let mut champsim = Vec::new();
    let mut lackey = String::new();
    for (record, ip) in records().iter().zip(0x40_0000_u64..) {
        let mut bytes = [0; 64];
        bytes[..8].copy_from_slice(&ip.to_le_bytes());
        let at = if record.op == AccessOp::Store { 16 } else { 32 };
        bytes[at..at + 8].copy_from_slice(&record.va.0.to_le_bytes());
        champsim.extend(bytes);
        for _ in 0..record.gap {
            let _ = writeln!(lackey, "I  {ip:08x},4");
        }
        let mark = [" L ", " S ", " M ", " L "][record.op as usize];
        let _ = writeln!(lackey, "{mark}{:08x},{}", record.va.0, record.size);
    }
    let speed = |bytes: usize, seconds: f64| format!("{:.0} MB/s", bytes as f64 / seconds / 1e6);
    let (binary, records) = best_cpu(|| (), |()| read(ChampSim::new(&champsim[..], "bench", Fetches::Count)));
    let (text, _) = best_cpu(|| (), |()| read(Lackey::new(lackey.as_bytes(), "bench", Fetches::Count)));
    let how = format!("ChampSim, {records} accesses from memory: {}", millions(records, binary));
    let lines = lackey.lines().count() as u64;
    vec![
        Line::new("binary import", speed(champsim.len(), binary), ">= 200 MB/s", how),
        Line::new(
            "lackey import",
            speed(lackey.len(), text),
            ">= 300 MB/s",
            format!("from memory: {} lines", millions(lines, text)),
        ),
    ]
}
