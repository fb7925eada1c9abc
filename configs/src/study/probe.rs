//! The probes of studies: their parameters, and what they yield.

use daxsim_types::FileSystem;

use crate::fields::Fields;
use crate::validation::{FAULT_CAUSES, FLUSH_CAUSES, FaultCause, FlushCause, threads};

/// A probe with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StudyProbe {
    /// What a flush costs a process whose other threads run.
    Shootdown {
        /// Why translations go.
        cause: FlushCause,
        /// Threads, each on a CPU of its own.
        threads: u16,
        /// Pages.
        pages: u64,
        /// Times that it is made.
        rounds: u32,
        /// Whether the other threads read the pages each time.
        shared: bool,
    },
    /// Flushes that all threads of a process make at the same time.
    FlushStorm {
        /// Threads, each on a CPU of its own.
        threads: u16,
        /// Rounds of each.
        rounds: u32,
    },
    /// Faults of many threads in one DAX file, or in one each.
    FaultScaling {
        /// Which fault.
        cause: FaultCause,
        /// The file system.
        fs: FileSystem,
        /// Threads, each on a CPU of its own.
        threads: u16,
        /// Pages of each.
        pages: u64,
        /// Whether each is a process of its own.
        processes: bool,
        /// Whether each of these has a file of its own.
        own_files: bool,
    },
}

/// Something that a probe measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Name for scripts.
    pub key: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// What it says, in a line.
    pub about: &'static str,
}

const fn metric(key: &'static str, unit: &'static str, about: &'static str) -> Metric {
    Metric { key, unit, about }
}

const SHOOTDOWN: [Metric; 11] = [
    metric("call_ns", "ns", "the call as its caller sees it, mean"),
    metric("call_p99_ns", "ns", "the call as its caller sees it, 99th percentile"),
    metric(
        "initiator_ns",
        "ns",
        "what the flush takes of the initiator: to tell the others, to flush, to wait",
    ),
    metric("wait_ns", "ns", "what the initiator waits for answers after its own flush, mean"),
    metric("wait_median_ns", "ns", "what the initiator waits for answers after its own flush, median"),
    metric("wait_p99_ns", "ns", "what the initiator waits for answers after its own flush, 99th percentile"),
    metric("responder_ns", "ns", "what a call takes of each other CPU, in handlers, microcode or at a tick"),
    metric("disruption_ns", "ns", "what an interrupt takes of its target, mean"),
    metric("disruption_p99_ns", "ns", "what an interrupt takes of its target, 99th percentile"),
    metric("interrupts", "IPIs", "interrupts for a call"),
    metric("icr_writes", "writes", "writes of the interrupt command register for a call"),
];

const FLUSH_STORM: [Metric; 6] = [
    metric("rounds_per_second", "k/s", "thousands of rounds of all threads in a second"),
    metric("flush_percent", "%", "share of the CPUs' time in flushes, waits for answers and handlers"),
    metric("wait_median_ns", "ns", "what a thread waits for answers after its own flush, median"),
    metric("wait_p99_ns", "ns", "what a thread waits for answers after its own flush, 99th percentile"),
    metric("disruption_median_ns", "ns", "what an interrupt takes of its target, median"),
    metric("disruption_p99_ns", "ns", "what an interrupt takes of its target, 99th percentile"),
];

const FAULT_SCALING: [Metric; 5] = [
    metric("pages_per_second", "k/s", "thousands of pages that all threads get in a second"),
    metric("page_ns", "ns", "what a page takes its thread, mean"),
    metric("faults_per_page", "faults", "faults for a page"),
    metric("locks_percent", "%", "share of the CPUs' time that waits for locks that others hold"),
    metric("memory_percent", "%", "share of the CPUs' time beyond their L1Ds"),
];

/// Names of the probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Shootdown,
    FlushStorm,
    FaultScaling,
}

pub(super) const NAMES: [(&str, Name); 3] = [
    ("shootdown", Name::Shootdown),
    ("flush-storm", Name::FlushStorm),
    ("fault-scaling", Name::FaultScaling),
];

const FILE_SYSTEMS: [(&str, FileSystem); 2] = [("ext4", FileSystem::Ext4), ("xfs", FileSystem::Xfs)];

impl Name {
    pub(super) fn text(self) -> &'static str {
        NAMES.iter().find(|(_, name)| *name == self).map_or("", |(text, _)| text)
    }

    /// What it measures.
    pub(super) const fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Shootdown => &SHOOTDOWN,
            Self::FlushStorm => &FLUSH_STORM,
            Self::FaultScaling => &FAULT_SCALING,
        }
    }

    /// Reads the parameters.
    pub(super) fn read(self, f: &Fields) -> Option<StudyProbe> {
        let threads = threads(f);
        match self {
            Self::Shootdown => {
                let cause = f.choice("cause", &FLUSH_CAUSES, false);
                let (pages, rounds) = (at_least_one(f, "pages", 1), at_least_one(f, "rounds", 20));
                let shared = f.flag("shared");
                Some(StudyProbe::Shootdown {
                    cause: cause?,
                    threads: threads?,
                    pages: pages?,
                    rounds: u32::try_from(rounds?).unwrap_or(u32::MAX),
                    shared: shared?,
                })
            }
            Self::FlushStorm => {
                let rounds = at_least_one(f, "rounds", 20)?;
                let rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
                Some(StudyProbe::FlushStorm { threads: threads?, rounds })
            }
            Self::FaultScaling => {
                let (cause, fs) = (fault_cause(f), f.choice("fs", &FILE_SYSTEMS, false));
                let pages = at_least_one(f, "pages", 511);
                let (processes, own_files) = (f.flag("processes"), f.flag("own_files"));
                Some(StudyProbe::FaultScaling {
                    cause: cause?,
                    fs: fs?,
                    threads: threads?,
                    pages: pages?,
                    processes: processes?,
                    own_files: own_files?,
                })
            }
        }
    }
}

/// A fault of a DAX file.
fn fault_cause(f: &Fields) -> Option<FaultCause> {
    let of_files: Vec<(&str, FaultCause)> =
        FAULT_CAUSES.into_iter().filter(|(name, _)| name.starts_with("dax-")).collect();
    f.choice("cause", &of_files, false)
}

fn at_least_one(f: &Fields, key: &'static str, default: u64) -> Option<u64> {
    let count = f.count(key, default)?;
    if count == 0 {
        f.bad(key, "the number 0".to_owned(), "a whole number, 1 or more");
    }
    (count > 0).then_some(count)
}
