//! From the text of a file to its points.

use daxsim_types::PageSize;

use super::memory;
use super::{
    ChaseMetric, FaultCause, FaultMetric, FlushCause, ProbeSpec, ShootdownMetric, StormMetric, Take,
    Tolerance, ValidationPoint,
};
use crate::cost::Trust;
use crate::error::{ConfigError, Problem, ProblemKind, nearest};
use crate::fields::Fields;
use crate::reader::is_inside;
use crate::value::{Entry, Place, parse_records};

/// Names of the probes.
#[derive(Clone, Copy)]
enum Probe {
    Chase,
    AdUpdate,
    CachelinePing,
    Shootdown,
    FlushStorm,
    Fault,
    Tlbdr,
    Walks,
    Memory(memory::Name),
}

const PROBES: [(&str, Probe); 12] = [
    ("chase", Probe::Chase),
    ("ad-update", Probe::AdUpdate),
    ("cacheline-ping", Probe::CachelinePing),
    ("shootdown", Probe::Shootdown),
    ("flush-storm", Probe::FlushStorm),
    ("fault", Probe::Fault),
    ("tlbdr", Probe::Tlbdr),
    ("walks", Probe::Walks),
    ("write-chase", Probe::Memory(memory::Name::WriteChase)),
    ("overwrite", Probe::Memory(memory::Name::Overwrite)),
    ("bandwidth", Probe::Memory(memory::Name::Bandwidth)),
    ("persist-latency", Probe::Memory(memory::Name::PersistLatency)),
];
const PAGES: [(&str, PageSize); 3] =
    [("4K", PageSize::Size4K), ("2M", PageSize::Size2M), ("1G", PageSize::Size1G)];
const OFFSETS: [(&str, bool); 2] = [("0", false), ("spread", true)];
const BITS: [(&str, bool); 2] = [("D", true), ("A", false)];
const METRICS: [(&str, ChaseMetric); 5] = [
    ("cycles", ChaseMetric::Cycles),
    ("ns", ChaseMetric::Ns),
    ("dtlb_misses", ChaseMetric::DtlbMisses),
    ("stlb_misses", ChaseMetric::StlbMisses),
    ("walk_references", ChaseMetric::WalkReferences),
];
pub(crate) const FLUSH_CAUSES: [(&str, FlushCause); 5] = [
    ("munmap", FlushCause::Munmap),
    ("mprotect", FlushCause::Mprotect),
    ("dontneed", FlushCause::DontNeed),
    ("dontneed-touch", FlushCause::DontNeedTouch),
    ("dontneed-read", FlushCause::DontNeedRead),
];
const SHOOTDOWN_METRICS: [(&str, ShootdownMetric); 5] = [
    ("cycles", ShootdownMetric::Cycles),
    ("ns", ShootdownMetric::Ns),
    ("pti_cycles", ShootdownMetric::PtiCycles),
    ("wait_ns", ShootdownMetric::WaitNs),
    ("disruption_ns", ShootdownMetric::DisruptionNs),
];
const STORM_METRICS: [(&str, StormMetric); 2] =
    [("thousands_per_second", StormMetric::ThousandsPerSecond), ("flush_percent", StormMetric::FlushPercent)];
pub(crate) const FAULT_CAUSES: [(&str, FaultCause); 6] = [
    ("zero-page", FaultCause::ZeroPage),
    ("anonymous", FaultCause::Anonymous),
    ("dax-read", FaultCause::DaxRead),
    ("dax-write", FaultCause::DaxWrite),
    ("dax-mkwrite", FaultCause::DaxMkwrite),
    ("dax-hole", FaultCause::DaxHole),
];
const FAULT_METRICS: [(&str, FaultMetric); 2] =
    [("cycles", FaultMetric::Cycles), ("delivery_cycles", FaultMetric::DeliveryCycles)];
/// Kernel of points that name none: to most probes it does not matter.
pub(crate) const KERNEL: &str = "linux-7.2";
pub(crate) const TRUSTS: [(&str, Trust); 4] =
    [("A", Trust::A), ("B", Trust::B), ("C", Trust::C), ("M", Trust::M)];
/// Streams of `daxsim gen` that need no parameter.
const STREAMS: [&str; 4] = ["chase", "zipf", "seq", "mixed"];
/// Keys that every point has for itself.
const OWN: [&str; 1] = ["id"];

#[derive(Clone, Copy)]
enum How {
    Values,
    Difference,
    Knee,
    Peak,
}
const TAKES: [(&str, How); 4] =
    [("values", How::Values), ("difference", How::Difference), ("knee", How::Knee), ("peak", How::Peak)];

/// The points of several files, or everything that is wrong with them.
pub(super) fn points(
    files: impl IntoIterator<Item = (String, String)>,
) -> Result<Vec<ValidationPoint>, ConfigError> {
    let (mut points, mut problems) = (Vec::<ValidationPoint>::new(), Vec::new());
    for (source, text) in files {
        let (defaults, records) = match parse_records(&source, &text, "point") {
            Ok(parsed) => parsed,
            Err(found) => {
                problems.extend(found);
                continue;
            }
        };
        problems.extend(wrong_defaults(&defaults));
        if records.is_empty() {
            let kind = ProblemKind::MissingKey { expected: "at least one [[point]]".to_owned() };
            problems.push(Place::of(&source).problem(Some("point"), kind));
        }
        for record in records {
            // One way of tolerating takes the place of another.
            let is_tolerance = |entry: &&Entry| is_inside(&entry.key, "tolerance");
            let replaced = record.entries.iter().any(|entry| is_tolerance(&entry));
            let kept: Vec<Entry> =
                defaults.iter().filter(|entry| !(replaced && is_tolerance(entry))).cloned().collect();
            let fields = Fields::new(record.place, &kept, record.entries);
            let point = point(&fields);
            if let Some(id) = point.as_ref().map(|point| point.id.clone())
                && let Some(other) = points.iter().find(|other| other.id == id)
            {
                fields.bad(
                    "id",
                    format!("{id:?}"),
                    &format!("a name that no other point has, as {}", other.place),
                );
            }
            problems.extend(fields.finish(&defaults));
            points.extend(point);
        }
    }
    if problems.is_empty() { Ok(points) } else { Err(ConfigError::new(problems)) }
}

/// Keys outside the points that are no key of a point.
fn wrong_defaults(defaults: &[Entry]) -> Vec<Problem> {
    const KNOWN: [&str; 34] = [
        "cause",
        "pages",
        "kernel",
        "about",
        "machine",
        "set",
        "probe",
        "stride",
        "offset",
        "page",
        "seed",
        "metric",
        "bit",
        "cpus",
        "streams",
        "accesses",
        "block",
        "store",
        "memory",
        "order",
        "writes",
        "operation",
        "places",
        "node",
        "threads",
        "access",
        "take",
        "x",
        "rise",
        "expect",
        "source",
        "trust",
        "note",
        "fitted",
    ];
    let is_known = |key: &str| KNOWN.contains(&key) || key.starts_with("tolerance.");
    let unknown = defaults.iter().filter(|entry| !is_known(&entry.key));
    unknown
        .map(|entry| {
            let kind = if OWN.contains(&entry.key.as_str()) {
                let expected = "the key inside a [[point]]: each has its own".to_owned();
                ProblemKind::BadValue { found: entry.value.to_string(), expected }
            } else {
                ProblemKind::UnknownKey { nearest: nearest(&entry.key, KNOWN).to_owned() }
            };
            entry.key_place.problem(Some(&entry.key), kind)
        })
        .collect()
}

/// The point of a table. Every key is read, so that every problem is found, before the first one ends it.
fn point(f: &Fields) -> Option<ValidationPoint> {
    let id = f.text("id", "a name that no other point has");
    let about = f.text("about", "one line of text");
    let machine = f.text("machine", "the name of a builtin machine or a path");
    let kernel = if f.has("kernel") {
        f.text("kernel", "the name of a builtin kernel or a path")
    } else {
        Some(KERNEL.to_owned())
    };
    let set = f.optional_texts("set", "an array of settings such as [\"tlb.stlb.entries=2048\"]");
    let probe = probe(f);
    let take = take(f, probe.as_ref());
    let tolerance = tolerance(f, take.as_ref());
    let source = f.text("source", "where the number comes from");
    let trust = f.choice("trust", &TRUSTS, false);
    let (note, fitted) = (f.optional_text("note"), f.optional_text("fitted"));
    let place = f.place();
    let line = place.line.map_or_else(String::new, |line| format!(":{line}"));
    Some(ValidationPoint {
        id: id?,
        about: about?,
        machine: machine?,
        kernel: kernel?,
        set,
        probe: probe?,
        take: take?,
        tolerance: tolerance?,
        source: source?,
        trust: trust?,
        note,
        fitted,
        place: format!("{}{line}", place.source),
    })
}

fn probe(f: &Fields) -> Option<ProbeSpec> {
    match f.choice("probe", &PROBES, false)? {
        Probe::Chase => {
            let stride = f.size("stride", PageSize::Size4K.bytes());
            let spread = f.choice("offset", &OFFSETS, true);
            let page = f.choice("page", &PAGES, true);
            let seed = f.count("seed", 42);
            let metric = f.choice("metric", &METRICS, true);
            Some(ProbeSpec::Chase {
                stride: stride?,
                spread: spread?,
                page: page?,
                seed: seed?,
                metric: metric?,
            })
        }
        Probe::AdUpdate => Some(ProbeSpec::AdUpdate { dirty: f.choice("bit", &BITS, false)? }),
        Probe::CachelinePing => {
            let expected = "an array of two different CPUs, counted from 0";
            let cpus = f.numbers("cpus", expected)?;
            let number =
                |cpu: &f64| (cpu.fract() == 0.0 && (0.0..65_536.0).contains(cpu)).then_some(*cpu as u16);
            match cpus.iter().map(number).collect::<Option<Vec<u16>>>().as_deref() {
                Some([first, second]) if first != second => {
                    Some(ProbeSpec::CachelinePing { cpus: [*first, *second] })
                }
                _ => {
                    let list: Vec<String> = cpus.iter().map(f64::to_string).collect();
                    f.bad("cpus", format!("[{}]", list.join(", ")), expected);
                    None
                }
            }
        }
        Probe::Shootdown => {
            let (cause, threads) = (f.choice("cause", &FLUSH_CAUSES, false), threads(f));
            let metric = f.choice("metric", &SHOOTDOWN_METRICS, true);
            Some(ProbeSpec::Shootdown { cause: cause?, threads: threads?, metric: metric? })
        }
        Probe::FlushStorm => {
            let threads = threads(f);
            let metric = f.choice("metric", &STORM_METRICS, true);
            Some(ProbeSpec::FlushStorm { threads: threads?, metric: metric? })
        }
        Probe::Fault => {
            let (cause, pages) = (f.choice("cause", &FAULT_CAUSES, false), f.count("pages", 4096));
            let metric = f.choice("metric", &FAULT_METRICS, true);
            Some(ProbeSpec::Fault { cause: cause?, pages: pages?.max(1), metric: metric? })
        }
        Probe::Tlbdr => Some(ProbeSpec::Tlbdr),
        Probe::Memory(name) => {
            let (probe, metric) = memory::read(f, name)?;
            Some(ProbeSpec::Memory { probe, metric })
        }
        Probe::Walks => {
            let expected = format!("an array of one or more of {}", STREAMS.join(", "));
            let streams = f.texts("streams", &expected);
            let accesses = f.count("accesses", 2_000_000);
            let streams = streams?;
            let unknown = streams.iter().find(|stream| !STREAMS.contains(&stream.as_str()));
            if streams.is_empty() || unknown.is_some() {
                let found = unknown.map_or_else(|| "none".to_owned(), |stream| format!("{stream:?}"));
                f.bad("streams", found, &expected);
                return None;
            }
            Some(ProbeSpec::Walks { streams, accesses: accesses? })
        }
    }
}

/// Threads of a process, on CPUs from 0 on.
pub(crate) fn threads(f: &Fields) -> Option<u16> {
    let threads = f.count("threads", 1)?;
    let checked = u16::try_from(threads).ok().filter(|threads| (1..=256).contains(threads));
    if checked.is_none() {
        f.bad("threads", format!("the number {threads}"), "1 to 256");
    }
    checked
}

fn take(f: &Fields, probe: Option<&ProbeSpec>) -> Option<Take> {
    let how = f.choice("take", &TAKES, true);
    if probe.is_some_and(|probe| !probe.has_x()) {
        return Some(Take::Value { expect: f.number("expect", "a number")? });
    }
    let unit = probe.map_or("KiB", ProbeSpec::x_unit);
    let x = f.numbers("x", &format!("a number or an array of numbers, in {unit}"));
    let x = x.filter(|x| {
        let wrong = x.iter().find(|x| **x < 1.0 || x.fract() != 0.0 || **x > f64::from(u32::MAX));
        if let Some(wrong) = wrong {
            f.bad("x", format!("the number {wrong}"), &format!("whole {unit}, 1 or more"));
        }
        wrong.is_none()
    });
    match how? {
        How::Values => values(f, x),
        How::Difference => {
            let expect = f.number("expect", "a number");
            let x = x?;
            let Ok(x) = <[f64; 2]>::try_from(x.as_slice()) else {
                f.bad(
                    "x",
                    count(x.len()),
                    "two: where the value is taken, and where that is which is taken off",
                );
                return None;
            };
            Some(Take::Difference { x, expect: expect? })
        }
        How::Knee => knee(f, x),
        How::Peak => peak(f, x),
    }
}

fn count(n: usize) -> String {
    if n == 1 { "1 value".to_owned() } else { format!("{n} values") }
}

fn values(f: &Fields, x: Option<Vec<f64>>) -> Option<Take> {
    let expect = f.numbers("expect", "a number for each x");
    let (x, expect) = (x?, expect?);
    if x.len() != expect.len() {
        f.bad("expect", count(expect.len()), &format!("as many as x has, {}", x.len()));
        return None;
    }
    Some(Take::Values { x, expect })
}

fn knee(f: &Fields, x: Option<Vec<f64>>) -> Option<Take> {
    let rise = f.number("rise", "a number above 0: how much more the value after the knee is");
    let expect = f.number("expect", "one of x: the last before the rise");
    let (x, rise, expect) = (x?, rise?, expect?);
    if rise <= 0.0 {
        f.bad("rise", format!("the number {rise}"), "a number above 0");
    } else if !x.is_sorted_by(|a, b| a < b) {
        f.bad("x", "an array".to_owned(), "an array in ascending order");
    } else if !x.contains(&expect) || x.last() == Some(&expect) {
        f.bad("expect", format!("the number {expect}"), "one of x, not the last");
    } else {
        return Some(Take::Knee { x, rise, expect });
    }
    None
}

fn peak(f: &Fields, x: Option<Vec<f64>>) -> Option<Take> {
    let expect = f.number("expect", "one of x: the first with about the largest value");
    let (x, expect) = (x?, expect?);
    if !x.is_sorted_by(|a, b| a < b) {
        f.bad("x", "an array".to_owned(), "an array in ascending order");
    } else if !x.contains(&expect) {
        f.bad("expect", format!("the number {expect}"), "one of x");
    } else {
        return Some(Take::Peak { x, expect });
    }
    None
}

fn tolerance(f: &Fields, take: Option<&Take>) -> Option<Tolerance> {
    const KEYS: [&str; 5] = [
        "tolerance.absolute",
        "tolerance.relative",
        "tolerance.mean_relative",
        "tolerance.factor",
        "tolerance.range",
    ];
    let given: Vec<&str> = KEYS.into_iter().filter(|key| f.has(key)).collect();
    let [key] = given.as_slice() else {
        let found = if given.is_empty() { "none".to_owned() } else { given.join(", ") };
        f.bad(
            "tolerance",
            found,
            "one of absolute, relative, mean_relative, factor and range, as in tolerance = { absolute = 1 }",
        );
        return None;
    };
    let expected = "a number, 0 or more";
    let tolerance = match *key {
        "tolerance.range" => {
            let range = f.numbers("tolerance.range", "an array of the least and the most")?;
            let [least, most] = range.as_slice() else {
                f.bad("tolerance.range", count(range.len()), "two: the least and the most");
                return None;
            };
            if least > most {
                f.bad("tolerance.range", format!("{least} to {most}"), "the least first");
                return None;
            }
            return Some(Tolerance::Range(*least, *most));
        }
        "tolerance.factor" => {
            let factor = f.number("tolerance.factor", "a number, 1 or more")?;
            if factor < 1.0 {
                f.bad("tolerance.factor", format!("the number {factor}"), "a number, 1 or more");
                return None;
            }
            Tolerance::Factor(factor)
        }
        key => {
            let number = f.number(key, expected)?;
            if number < 0.0 {
                f.bad(key, format!("the number {number}"), expected);
                return None;
            }
            match key {
                "tolerance.absolute" => Tolerance::Absolute(number),
                "tolerance.relative" => Tolerance::Relative(number),
                _ => Tolerance::MeanRelative(number),
            }
        }
    };
    if matches!(tolerance, Tolerance::Relative(_) | Tolerance::MeanRelative(_) | Tolerance::Factor(_))
        && take.is_some_and(Take::expects_zero)
    {
        f.bad("expect", "0".to_owned(), "no 0 with a relative tolerance");
        return None;
    }
    Some(tolerance)
}

impl Take {
    fn expects_zero(&self) -> bool {
        match self {
            Self::Values { expect, .. } => expect.contains(&0.0),
            Self::Value { expect }
            | Self::Difference { expect, .. }
            | Self::Knee { expect, .. }
            | Self::Peak { expect, .. } => *expect == 0.0,
        }
    }
}
