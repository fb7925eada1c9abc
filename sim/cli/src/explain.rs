//! `daxsim explain fault KIND`: one fault, simulated, as its micro-operations.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use daxsim_configs::{load_kernel, load_machine};
use daxsim_reports::explain::{Explained, SCHEMA, Step, summary};
use daxsim_sim::Simulation;
use daxsim_sim::observe::{Fault, MicroOp, Operation, Watch, site};
use daxsim_sim::program::script as driver;
use daxsim_traces::script::Script;
use daxsim_types::FileSystem;

use crate::config::{parse_overrides, with_semantics};
use crate::timeline::functions;
use crate::{Status, output};

/// `daxsim explain`
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// What to explain.
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A fault of a kind
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Fault(FaultArgs),
}

#[derive(Debug, Args)]
struct FaultArgs {
    /// Its kind, as reports call it: read, write, mkwrite (or upgrade), spurious, cow, pmd_read, pmd_write (or pmd), pmd_mkwrite,
    /// pud_read, pud_write, sigbus, sigsegv; read_hole, write_hole and pmd_write_hole are those of a place without a block
    #[arg(value_name = "KIND")]
    kind: String,
    /// Machine: a builtin's name or a TOML file
    #[arg(long, default_value = "skylake-sp-optane", value_name = "NAME|FILE")]
    machine: String,
    /// Kernel: a builtin's name or a TOML file
    #[arg(long, default_value = "linux-7.2", value_name = "NAME|FILE")]
    kernel: String,
    /// File system of the DAX file: ext4, xfs or devdax [default: ext4; of PUD faults devdax]
    #[arg(long, value_name = "FS")]
    fs: Option<FileSystem>,
    /// Insert semantics in place of the kernel's
    #[arg(long, value_name = "NAME|FILE")]
    semantics: Option<String>,
    /// Override a configuration key (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// The first of the faults of its kind, which finds the caches cold, in place of the last
    #[arg(long)]
    first: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Help of `explain`.
pub const EXPLAIN_EXAMPLES: &str = "\
The fault is simulated, in a short workload that is shown, while an observer notes what the CPU begins.
The times of its micro-operations sum to its latency, to the picosecond. A block is a path length of the
kernel file: `daxsim config show KERNEL` has its key, basis and trust.

Examples:
  daxsim explain fault mkwrite
  daxsim explain fault mkwrite --kernel linux-6.12 --fs xfs
  daxsim explain fault pmd --set tree.pti=true --first
  daxsim explain fault cow --machine zen4-genoa --json

Exit status: 0 done, 2 bad usage or bad input.";

/// Kinds, with the workload in which they happen.
const WORKLOADS: [(&str, &str); 15] = [
    ("read", "0 file 0 f0 64k fill\n0 map 0 0 0 64k rw shared 0x100000000000\n0 ldr 0 0 64k 4096\n"),
    ("write", "0 file 0 f0 64k fill\n0 map 0 0 0 64k rw shared 0x100000000000\n0 str 0 0 64k 4096\n"),
    ("read_hole", "0 file 0 f0 64k sparse\n0 map 0 0 0 64k rw shared 0x100000000000\n0 ldr 0 0 64k 4096\n"),
    ("write_hole", "0 file 0 f0 64k sparse\n0 map 0 0 0 64k rw shared 0x100000000000\n0 str 0 0 64k 4096\n"),
    (
        "mkwrite",
        "0 file 0 f0 64k fill\n0 map 0 0 0 64k rw shared 0x100000000000\n0 ldr 0 0 64k 4096\n0 str 0 0 64k 4096\n",
    ),
    (
        "spurious",
        "0 file 0 f0 64k fill\n0 map 0 0 0 64k rw shared 0x100000000000\n1 ldr 0 0 64k 4096\n0 str 0 0 64k 4096\n\
         1 str 0 0 64k 4096\n",
    ),
    (
        "cow",
        "0 file 0 f0 64k fill\n0 map 0 0 0 64k rw private 0x100000000000\n0 ldr 0 0 64k 4096\n0 str 0 0 64k 4096\n",
    ),
    ("pmd_read", "0 file 0 f0 16m fill\n0 map 0 0 0 16m rw shared 0x100000000000\n0 ldr 0 0 16m 2m\n"),
    ("pmd_write", "0 file 0 f0 16m fill\n0 map 0 0 0 16m rw shared 0x100000000000\n0 str 0 0 16m 2m\n"),
    (
        "pmd_write_hole",
        "0 file 0 f0 16m sparse\n0 map 0 0 0 16m rw shared 0x100000000000\n0 str 0 0 16m 2m\n",
    ),
    (
        "pmd_mkwrite",
        "0 file 0 f0 16m fill\n0 map 0 0 0 16m rw shared 0x100000000000\n0 ldr 0 0 16m 2m\n0 str 0 0 16m 2m\n",
    ),
    (
        "pud_read",
        "0 file 0 /dev/dax0.0 0 dev\n0 map 0 0 0 2048m rw shared 0x100000000000\n0 ldr 0 0 2048m 1024m\n",
    ),
    (
        "pud_write",
        "0 file 0 /dev/dax0.0 0 dev\n0 map 0 0 0 2048m rw shared 0x100000000000\n0 str 0 0 2048m 1024m\n",
    ),
    (
        "sigbus",
        "0 file 0 f0 64k fill\n0 map 0 0 0 64k rw shared 0x100000000000\n0 trunc 0 4k\n0 ldr 0 4k 60k 4096\n",
    ),
    ("sigsegv", "0 file 0 f0 64k fill\n0 map 0 0 0 64k r shared 0x100000000000\n0 str 0 0 64k 4096\n"),
];

/// Micro-operations of a workload that are kept at most.
const MOST: usize = 1 << 20;

/// Runs `daxsim explain`.
pub fn run(args: &ExplainArgs) -> Result<Status> {
    let What::Fault(args) = &args.what;
    let explained = explain(args)?;
    if args.json {
        output::print(&explained.to_json()?)?;
    } else {
        output::show(&summary(&explained))?;
    }
    Ok(Status::Done)
}

/// The kind that a name means.
fn kind_of(name: &str) -> Result<(&'static str, &'static str)> {
    let full = match name.replace('-', "_").as_str() {
        "upgrade" => "mkwrite".to_owned(),
        "pmd" => "pmd_write".to_owned(),
        "pud" => "pud_write".to_owned(),
        name => name.to_owned(),
    };
    match WORKLOADS.iter().find(|(kind, _)| *kind == full) {
        Some(found) => Ok(*found),
        None => {
            let kinds: Vec<&str> = WORKLOADS.iter().map(|(kind, _)| *kind).collect();
            bail!("no workload makes a fault of kind `{name}`; known are {}", kinds.join(", "))
        }
    }
}

/// The last fault of a kind in its workload.
///
/// # Errors
///
/// A configuration that is wrong, or a kind that no workload has.
pub fn fault(
    kind: &str,
    machine: &str,
    kernel: &str,
    fs: Option<FileSystem>,
    overrides: &[String],
) -> Result<Explained> {
    explain(&FaultArgs {
        kind: kind.to_owned(),
        machine: machine.to_owned(),
        kernel: kernel.to_owned(),
        fs,
        semantics: None,
        overrides: overrides.to_vec(),
        first: false,
        json: false,
    })
}

fn explain(args: &FaultArgs) -> Result<Explained> {
    let (kind, lines) = kind_of(&args.kind)?;
    let fs = match args.fs {
        Some(fs) => fs,
        None if kind.starts_with("pud") => FileSystem::Devdax,
        None => FileSystem::Ext4,
    };
    let mut overrides = with_semantics(&args.overrides, args.semantics.as_deref());
    if kind.starts_with("pud") && !overrides.iter().any(|set| set.starts_with("pmem.devdax_alignment")) {
        overrides.push("pmem.devdax_alignment=1G".into());
    }
    let (machine_set, kernel_set) = parse_overrides(&overrides)?;
    let (machine, kernel) =
        (load_machine(&args.machine, &machine_set)?, load_kernel(&args.kernel, &kernel_set)?);
    let lines = if fs == FileSystem::Devdax { on_a_device(lines) } else { lines.to_owned() };
    let threads = if lines.contains("\n1 ") { "@threads 2 0 1" } else { "@threads 1 0" };
    let text = format!("{threads}\n@seq\n{lines}");
    let script = Script::parse(&text, Path::new("the workload"))?;
    let (machine_name, kernel_name) = (machine.name.clone(), kernel.name.clone());
    let period = machine.cpu.clock.period_ps();
    let mut sim = Simulation::new(machine, kernel, fs, false);
    sim.watch(Watch::all(MOST));
    driver::run(&mut sim, &script, fs, &BTreeMap::new())?;
    let seen = sim.finish().seen.unwrap_or_default();
    // Whether there was a block is the workload's, not the fault's.
    let of = kind.strip_suffix("_hole").unwrap_or(kind);
    let of_kind: Vec<&Fault> = seen.faults.iter().filter(|fault| fault.kind.name() == of).collect();
    let chosen = if args.first { of_kind.first() } else { of_kind.last() };
    let Some(fault) = chosen else {
        let mut kinds: Vec<&str> = seen.faults.iter().map(|fault| fault.kind.name()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        bail!("with {fs} the workload made no fault of kind {kind}, only {}:\n{text}", kinds.join(", "));
    };
    Ok(Explained {
        schema: SCHEMA.into(),
        kind: kind.into(),
        machine: machine_name,
        kernel: kernel_name,
        fs: fs.to_string(),
        overrides,
        frequency_hz: 1_000_000_000_000 / period,
        nth: if args.first { 1 } else { of_kind.len() as u64 },
        of: of_kind.len() as u64,
        script: text,
        took_ps: fault.took().0,
        steps: steps(fault),
    })
}

/// The workload on a device in place of a file.
fn on_a_device(lines: &str) -> String {
    let device = |line: &str| match line.strip_prefix("0 file 0 f0 ") {
        Some(_) => "0 file 0 /dev/dax0.0 0 dev".to_owned(),
        None => line.to_owned(),
    };
    lines.lines().map(device).map(|line| line + "\n").collect()
}

fn steps(fault: &Fault) -> Vec<Step> {
    functions(&fault.operations).map(|(operation, function)| step(fault, operation, function)).collect()
}

fn step(fault: &Fault, operation: &Operation, function: &str) -> Step {
    let block = site(operation.at).and_then(|site| site.block).unwrap_or_default();
    let (op, on) = match operation.op {
        MicroOp::Exception => ("exception", ""),
        MicroOp::Block => ("block", block),
        MicroOp::Fixed => ("fixed cost", ""),
        MicroOp::Load(line) => ("load", line.name()),
        MicroOp::Store(line) => ("store", line.name()),
        MicroOp::Locked(line) => ("locked", line.name()),
        MicroOp::Lock(class) => ("lock", class.name()),
        MicroOp::Unlock(class) => ("unlock", class.name()),
        MicroOp::Copy => ("string", block),
        MicroOp::Stores => ("stores", ""),
        MicroOp::Return => ("return", ""),
        MicroOp::Again => ("access again", ""),
    };
    Step {
        at_ps: operation.begin.saturating_sub(fault.begin).0,
        took_ps: operation.took().0,
        function: function.to_owned(),
        op: op.into(),
        on: on.into(),
        parts: operation.parts.iter().map(|(part, time)| (part.name().to_owned(), time.0)).collect(),
        instructions: operation.executed.instructions,
        loads: operation.executed.loads,
        stores: operation.executed.stores,
    }
}
