//! Recorded traces: parsing, replay, several at once, memory.

use std::io::Read;
use std::path::Path;
use std::process::Command;

use daxsim_configs::{load_kernel, load_machine};
use daxsim_sim::Simulation;
use daxsim_sim::program::replay::{Outcome, Replayer};
use daxsim_traces::ftrace::{Reader, Record};
use daxsim_types::FileSystem;
use rayon::prelude::*;

use crate::clock::{best_cpu, best_wall};
use crate::table::Line;

/// First argument of a run that only replays and prints its peak memory.
pub const PEAK_MODE: &str = "peak-memory";

const SCENARIOS: [(&str, FileSystem, &str); 8] = [
    ("6.12", FileSystem::Ext4, "s10_msync_loop"),
    ("7.2", FileSystem::Ext4, "s10_msync_loop"),
    ("6.12", FileSystem::Xfs, "s10_msync_loop"),
    ("7.2", FileSystem::Xfs, "s10_msync_loop"),
    ("6.12", FileSystem::Ext4, "a04_sqlite_wal_mmap"),
    ("7.2", FileSystem::Ext4, "a04_sqlite_wal_mmap"),
    ("6.12", FileSystem::Xfs, "s21_unmap_4threads"),
    ("7.2", FileSystem::Xfs, "s21_unmap_4threads"),
];

/// A trace, decompressed.
struct Trace {
    kernel: String,
    fs: FileSystem,
    text: Vec<u8>,
}

impl Trace {
    fn load((version, fs, scenario): (&str, FileSystem, &str)) -> Option<Self> {
        let path = format!("../../traces/recorded/kernel-{version}/{fs}/{scenario}/trace.txt.xz");
        let mut text = Vec::new();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        daxsim_traces::open(path).ok()?.read_to_end(&mut text).ok()?;
        Some(Self { kernel: format!("linux-{version}"), fs, text })
    }

    fn parse(&self) -> u64 {
        let mut reader = Reader::new(self.text.as_slice(), "bench");
        let mut record = Record::default();
        while reader.next_record(&mut record).expect("it parses") {}
        reader.stats().records
    }

    fn replay(&self) -> Outcome {
        let machine = load_machine("skylake-sp-optane", &[]).expect("builtin");
        let kernel = load_kernel(&self.kernel, &[]).expect("builtin");
        let mut replayer = Replayer::new(self.fs, machine.cpu.count);
        let mut sim = Simulation::new(machine, kernel, self.fs, true);
        let mut reader = Reader::new(self.text.as_slice(), "bench");
        let mut record = Record::default();
        while reader.next_record(&mut record).expect("it parses") {
            replayer.push(&mut sim, &record).expect("it runs");
        }
        replayer.finish(&mut sim).expect("it runs")
    }
}

/// The lines of this module.
pub fn lines() -> Vec<Line> {
    let traces: Vec<Trace> = SCENARIOS.into_iter().filter_map(Trace::load).collect();
    let mut lines = Vec::new();
    if traces.is_empty() {
        lines.push(Line::missing("text import", ">= 300 MB/s", "traces/recorded is not there"));
    } else {
        import(&traces, &mut lines);
    }
    if !traces.is_empty() {
        sweep(&traces, &mut lines);
    }
    if !traces.is_empty() {
        lines.push(memory());
    }
    lines
}

fn import(traces: &[Trace], lines: &mut Vec<Line>) {
    let bytes: usize = traces.iter().map(|t| t.text.len()).sum();
    let (parsed, records) = best_cpu(|| (), |()| traces.iter().map(Trace::parse).sum::<u64>());
    let (replayed, faults) =
        best_cpu(|| (), |()| traces.iter().map(|t| t.replay().all().recorded).sum::<u64>());
    let speed = |seconds| format!("{:.0} MB/s", bytes as f64 / seconds / 1e6);
    let how =
        format!("{} traces, {:.1} MB, {records} records, from memory", traces.len(), bytes as f64 / 1e6);
    lines.push(Line::new("text import", speed(parsed), ">= 300 MB/s", how));
    let how = format!(
        "the same, {faults} faults and the building of 8 machines: {:.2}x the plain import",
        replayed / parsed
    );
    lines.push(Line::new("replay of the same", speed(replayed), "", how));
}

/// The replay of all traces, each 4 times, with two threads against one.
fn sweep(traces: &[Trace], lines: &mut Vec<Line>) {
    let jobs: Vec<&Trace> = std::iter::repeat_n(traces, 4).flatten().collect();
    let seconds = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        best_wall(3, || {
            let faults: u64 = pool.install(|| jobs.par_iter().map(|t| t.replay().all().recorded).sum());
            assert!(faults > 0);
        })
    };
    let (one, two) = (seconds(1), seconds(2));
    let how = format!("replay of {} inputs, wall time, {one:.2} s with one thread", jobs.len());
    lines.push(Line::new("sweep, 2 threads", format!("{:.2}x", one / two), ">= 1.9x", how));
}

/// Peak memory of a replay of a trace and of the same trace four times over, each in a process of its own.
fn memory() -> Line {
    let peak = |copies: &str| -> Option<f64> {
        let this = std::env::current_exe().ok()?;
        let output = Command::new(this).args([PEAK_MODE, copies]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    let (what, goal) = ("peak memory, 4x the trace", "1.0x");
    match (peak("1"), peak("4")) {
        (Some(one), Some(four)) => {
            let how = format!(
                "{:.1} MB to {:.1} MB; the text comes from a stream, not from memory",
                one / 1e3,
                four / 1e3
            );
            Line::new(what, format!("{:.2}x", four / one), goal, how)
        }
        _ => Line::missing(what, goal, "the peak could not be read"),
    }
}

/// Replays a trace `copies` times over, as one stream, and prints the process's peak memory in kB.
pub fn print_peak(copies: &str) {
    let Ok(copies) = copies.parse::<usize>() else { return };
    let Some(trace) = Trace::load(SCENARIOS[0]) else { return };
    let text: Box<dyn Read> = (0..copies).fold(Box::new(std::io::empty()), |all: Box<dyn Read + '_>, _| {
        Box::new(all.chain(trace.text.as_slice()))
    });
    let machine = load_machine("skylake-sp-optane", &[]).expect("builtin");
    let kernel = load_kernel(&trace.kernel, &[]).expect("builtin");
    let mut replayer = Replayer::new(trace.fs, machine.cpu.count);
    let mut sim = Simulation::new(machine, kernel, trace.fs, true);
    let mut reader = Reader::new(std::io::BufReader::new(text), "bench");
    let mut record = Record::default();
    while reader.next_record(&mut record).expect("it parses") {
        replayer.push(&mut sim, &record).expect("it runs");
    }
    replayer.finish(&mut sim).expect("it runs");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("{}", peak.unwrap_or_default().trim().trim_end_matches(" kB"));
}
