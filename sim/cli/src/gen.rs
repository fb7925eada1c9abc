//! `daxsim gen`: address streams and workloads from a seed, as files.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use daxsim_reports::write_atomically_with;
use daxsim_traces::access::{AccessBatch, AccessOp, Reading};
use daxsim_traces::dxt;
use daxsim_traces::generate::{Access, Generator, Pattern, Shared, Workload, WorkloadKind};

use crate::gen_args::{GenArgs, GenName};
use crate::{Status, output};

/// The longest range whose cycle is held in memory: 256 MiB for its lines.
const MOST_CHASE: u64 = 4 << 30;

/// What is made.
enum Made {
    Stream(Pattern),
    Shared { bytes: u64, writes: u64, threads: u32, turn: u64 },
    Script(Workload),
}

/// What it is written as.
enum Format {
    /// A 64-bit little-endian number for each access.
    Raw,
    /// The format of `traces/FORMAT.md`.
    Dxt,
    /// A script as it is.
    Text,
}

impl Format {
    /// The format that a file's name asks for.
    fn of(path: &Path, made: &Made) -> Result<Self> {
        let plain = match made {
            Made::Script(_) => "txt",
            _ => "raw",
        };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("raw") if plain == "raw" => Ok(Self::Raw),
            Some("txt") if plain == "txt" => Ok(Self::Text),
            Some("dxt") => Ok(Self::Dxt),
            _ => bail!(
                "{}: no known format of {}: expected a name that ends in .dxt or .{plain}, or - for standard output",
                path.display(),
                if plain == "txt" { "scripts" } else { "traces" },
            ),
        }
    }
}

/// Runs `daxsim gen`.
pub fn run(args: &GenArgs) -> Result<Status> {
    let Some(made) = made(args)? else {
        output::print(&list())?;
        return Ok(Status::Done);
    };
    let Some(path) = &args.output else {
        bail!("no file to write: expected -o FILE, or -o - for standard output");
    };
    if path.as_os_str() == "-" {
        let format = if matches!(made, Made::Script(_)) { Format::Text } else { Format::Raw };
        let result = write(args, &made, &format, &mut BufWriter::new(io::stdout().lock()));
        return match result {
            // Whoever reads it has enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Status::Done),
            result => result.map(|()| Status::Done).context("cannot write to standard output"),
        };
    }
    let format = Format::of(path, &made)?;
    write_atomically_with(path, |file| write(args, &made, &format, file))?;
    Ok(Status::Done)
}

/// What there is to generate.
fn list() -> String {
    let mut text = String::new();
    for name in GenName::value_variants().iter().filter_map(ValueEnum::to_possible_value) {
        let help = name.get_help().map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!("{:<14} {help}\n", name.get_name()));
    }
    text
}

/// What the arguments ask for; `None` for the list.
fn made(args: &GenArgs) -> Result<Option<Made>> {
    for (name, value) in [("--bytes", args.bytes), ("--stride", args.stride)] {
        if let Some(value) = value
            && (value == 0 || !value.is_multiple_of(64))
        {
            bail!("{name} {value}: expected a multiple of 64 above 0");
        }
    }
    check_options(args)?;
    let gib = args.bytes.unwrap_or(1 << 30);
    let writes = args.writes.unwrap_or(0);
    Ok(Some(match args.name {
        GenName::List => return Ok(None),
        GenName::Seq => Made::Stream(Pattern::Stride { bytes: gib, stride: 64, writes }),
        GenName::Stride => {
            Made::Stream(Pattern::Stride { bytes: gib, stride: args.stride.unwrap_or(4096), writes })
        }
        GenName::Uniform => Made::Stream(Pattern::Uniform { bytes: gib, writes }),
        GenName::Mixed => Made::Stream(Pattern::Mixed),
        GenName::Zipf => Made::Stream(zipf(args, writes)?),
        GenName::Chase if gib > MOST_CHASE => {
            bail!("--bytes {gib}: expected 4G at most for a cycle of lines")
        }
        GenName::Chase => Made::Stream(Pattern::ChaseOf { bytes: gib }),
        GenName::Shared => Made::Shared {
            bytes: args.bytes.unwrap_or(4096),
            writes: args.writes.unwrap_or(50),
            threads: args.threads.unwrap_or(4),
            turn: args.turn.unwrap_or(16),
        },
        _ => Made::Script(workload(args)?),
    }))
}

/// Whether every option that was given means something for what is made.
fn check_options(args: &GenArgs) -> Result<()> {
    use GenName::{
        Chase, Contention, Fork, MkwriteStorm, MsyncLoop, Seq, Shared, Stride, TruncateRace, Uniform, Zipf,
    };
    let name = args.name;
    let script = matches!(name, MkwriteStorm | MsyncLoop | Contention | Fork | TruncateRace);
    let given = [
        ("--bytes", args.bytes.is_some(), matches!(name, Seq | Stride | Uniform | Zipf | Chase | Shared)),
        ("--stride", args.stride.is_some(), name == Stride),
        ("--writes", args.writes.is_some(), matches!(name, Seq | Stride | Uniform | Zipf | Shared)),
        ("--theta", args.theta.is_some(), name == Zipf),
        ("--threads", args.threads.is_some(), script || name == Shared),
        ("--turn", args.turn.is_some(), name == Shared),
        ("--pages", args.pages.is_some(), script),
        ("--rounds", args.rounds.is_some(), script),
        ("--dirty", args.dirty.is_some(), name == MsyncLoop),
    ];
    match given.into_iter().find(|(_, given, meant)| *given && !meant) {
        Some((option, ..)) => {
            let name = name.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
            bail!(
                "{option} means nothing for {name}: `daxsim gen list` and `daxsim gen --help` say what does"
            )
        }
        None => Ok(()),
    }
}

fn zipf(args: &GenArgs, writes: u64) -> Result<Pattern> {
    let bytes = args.bytes.unwrap_or(4 << 30);
    let pages = bytes / 4096;
    if !pages.is_power_of_two() || !bytes.is_multiple_of(4096) || !(2..=1 << 26).contains(&pages) {
        bail!("--bytes {bytes}: expected a power of two from 8K to 256G for zipf");
    }
    Ok(match (args.bytes, args.theta, writes) {
        (None, None, 0) => Pattern::Zipf,
        _ => Pattern::ZipfOf { pages, theta: args.theta.unwrap_or(990), writes },
    })
}

fn workload(args: &GenArgs) -> Result<Workload> {
    let pages = args.pages.unwrap_or(256);
    let dirty = args.dirty.unwrap_or((pages / 4).max(1));
    if dirty > pages {
        bail!("--dirty {dirty}: expected no more than the {pages} pages of the file");
    }
    let (kind, threads) = match args.name {
        GenName::MkwriteStorm => (WorkloadKind::MkwriteStorm, 4),
        GenName::MsyncLoop => (WorkloadKind::MsyncLoop { dirty }, 1),
        GenName::Fork => (WorkloadKind::Fork, 1),
        GenName::TruncateRace => (WorkloadKind::TruncateRace, 4),
        _ => (WorkloadKind::Contention, 4),
    };
    let threads = args.threads.map_or(threads, u64::from);
    if kind == WorkloadKind::TruncateRace && threads < 2 {
        bail!("--threads {threads}: expected 2 at least for a race");
    }
    let rounds = args.rounds.unwrap_or(16);
    if kind == WorkloadKind::Fork && rounds > 512 {
        bail!("--rounds {rounds}: expected 512 at most for fork: each has a child");
    }
    Ok(Workload { kind, pages, rounds, threads, seed: args.seed })
}

fn write(args: &GenArgs, made: &Made, format: &Format, out: &mut dyn Write) -> io::Result<()> {
    match (made, format) {
        (Made::Script(workload), Format::Dxt) => {
            let mut writer = dxt::Writer::new(out)?;
            writer.push_text(workload.script().as_bytes())?;
            writer.finish("gen", &name(args, workload), &Reading::default()).map(drop)
        }
        (Made::Script(workload), _) => {
            out.write_all(workload.script().as_bytes())?;
            out.flush()
        }
        (_, Format::Dxt) => write_dxt(args, made, out),
        _ => {
            each_batch(args, made, |batch| {
                for record in &batch.records {
                    let access = Access { va: record.va, write: record.op == AccessOp::Store };
                    out.write_all(&access.to_raw().to_le_bytes())?;
                }
                Ok(())
            })?;
            out.flush()
        }
    }
}

fn write_dxt(args: &GenArgs, made: &Made, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = dxt::Writer::new(out)?;
    each_batch(args, made, |batch| writer.push_batch(batch))?;
    let name = match made {
        Made::Stream(pattern) => name(args, pattern),
        Made::Shared { bytes, writes, threads, turn } => name(
            args,
            &format_args!("Shared {{ bytes: {bytes}, writes: {writes}, threads: {threads}, turn: {turn} }}"),
        ),
        Made::Script(workload) => name(args, workload),
    };
    writer.finish("gen", &name, &Reading::default()).map(drop)
}

fn name(args: &GenArgs, what: &dyn std::fmt::Debug) -> String {
    format!("{what:?} seed {} base {:#x}", args.seed, args.base)
}

/// The accesses, batch by batch.
fn each_batch(
    args: &GenArgs,
    made: &Made,
    mut put: impl FnMut(&AccessBatch) -> io::Result<()>,
) -> io::Result<()> {
    let mut batch = AccessBatch::default();
    let mut left = args.count;
    match made {
        Made::Stream(pattern) => {
            let mut stream = Generator::new(*pattern, args.seed, args.base);
            while left > 0 {
                let count = left.min(dxt::BLOCK_RECORDS as u64);
                batch.records.clear();
                let records = stream.by_ref().map(|access| access.to_record(pattern.is_dependent()));
                batch.records.extend(records.take(usize::try_from(count).unwrap_or(usize::MAX)));
                put(&batch)?;
                left -= count;
            }
        }
        Made::Shared { bytes, writes, threads, turn } => {
            let mut shared = Shared::new(args.base, *bytes, *writes, *threads, *turn, args.seed);
            while left > 0 {
                shared.next_turn(left.min(dxt::BLOCK_RECORDS as u64), &mut batch);
                put(&batch)?;
                left -= batch.records.len() as u64;
            }
        }
        Made::Script(_) => {}
    }
    Ok(())
}
