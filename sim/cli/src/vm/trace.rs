//! `daxsim vm trace`: the accesses of a guest as a `.dxt`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use daxsim_reports::units::{count, counted};
use daxsim_reports::write_atomically_with;
use daxsim_ring::{Access, Batch, Ending, Op};
use daxsim_traces::access::{AccessBatch, AccessOp, AccessRecord, NO_ADDRESS, OrderRun, Reading};
use daxsim_traces::dxt::{Description, Writer};
use daxsim_types::VirtAddr;

use crate::stream::{Stream, StreamArgs};
use crate::{Status, output};

/// Which address is that of the accesses. Beside the program's, that of the memory is kept where it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Stored {
    /// The program's
    #[default]
    Virtual,
    /// The memory's; accesses without one are left out and counted
    Physical,
}

/// `daxsim vm trace`
#[derive(Debug, Args)]
pub struct VmTraceArgs {
    /// The file to write: NAME.dxt
    #[arg(value_name = "OUTPUT")]
    pub output: PathBuf,
    /// Which address is stored
    #[arg(long, value_enum, default_value_t, value_name = "WHICH")]
    pub address: Stored,
    /// Print no summary
    #[arg(long, short)]
    pub quiet: bool,
    /// What is streamed.
    #[command(flatten)]
    pub stream: StreamArgs,
}

/// Help of `vm trace`.
pub const TRACE_EXAMPLES: &str = "\
A thread of the file is a vCPU. Ctrl-C ends QEMU; what came until then is kept.

Examples:
  daxsim vm trace boot.dxt --accesses 0-10000000 -- qemu-system-x86_64 -accel tcg -m 1G -kernel vmlinuz -nographic
  daxsim vm trace dax.dxt --phys 0x140000000+0x40000000 -- qemu-system-x86_64 -machine pc,nvdimm=on ..
  daxsim info boot.dxt

Exit status: 0 stored, 1 QEMU died or was killed, 2 bad usage, something is missing, or QEMU did not start.";

/// What was stored.
#[derive(Default)]
struct Taken {
    vcpus: BTreeMap<u32, Vcpu>,
    accesses: u64,
    kernel: u64,
    devices: u64,
    unknown: u64,
    left_out: u64,
}

/// How far a vCPU is.
#[derive(Default)]
struct Vcpu {
    /// Instructions of it, up to what came last.
    instructions: u64,
    /// Those up to its last stored access.
    stored: u64,
}

/// Runs `daxsim vm trace`.
pub fn run(args: &VmTraceArgs) -> Result<Status> {
    if args.output.extension().is_none_or(|extension| extension != "dxt") {
        bail!("{}: expected a name that ends in .dxt", args.output.display());
    }
    let mut stream = Stream::start(&args.stream, "")?;
    let mut result = None;
    let written = write_atomically_with(&args.output, |file| {
        let stored = store(args, &mut stream, file);
        let failed = stored.is_err();
        result = Some(stored);
        if failed { Err(io::Error::other("nothing can be stored")) } else { Ok(()) }
    });
    let stored = result.transpose()?;
    written?;
    let Some((stored, description, bytes, ending)) = stored else { bail!("nothing was stored") };
    let (status, asked) = stream.wait()?;
    if !args.quiet {
        output::print(&summary(args, &stored, &description, bytes))?;
    }
    if ending == Ending::Died {
        output::note(&format!(
            "daxsim: warning: QEMU died ({status}): up to one batch of each vCPU is missing"
        ));
    }
    Ok(if ending == Ending::Finished || asked { Status::Done } else { Status::CheckFailed })
}

/// Stores all that comes.
fn store(
    args: &VmTraceArgs,
    stream: &mut Stream,
    file: &mut dyn Write,
) -> Result<(Taken, Description, u64, Ending)> {
    let (mut stored, mut writer) = (Taken::default(), Writer::new(file)?);
    let (mut batch, mut records) = (Batch::default(), AccessBatch::default());
    let ending = loop {
        if let Some(ending) = stream.next(&mut batch)? {
            break ending;
        }
        stored.convert(&batch, args.address, &mut records);
        if !records.records.is_empty() {
            writer.push_batch(&records)?;
        }
    };
    let trailing = stored.vcpus.values().map(|vcpu| vcpu.instructions.saturating_sub(vcpu.stored)).sum();
    let reading = Reading { trailing_instructions: trailing, ..Reading::default() };
    let (description, bytes) = writer.finish("qemu", "plugin", &reading)?;
    Ok((stored, description, bytes, ending))
}

impl Taken {
    /// Replaces `to` by the records of a batch.
    fn convert(&mut self, batch: &Batch, address: Stored, to: &mut AccessBatch) {
        to.thread = batch.vcpu;
        to.records.clear();
        to.order.clear();
        to.extras.clear();
        let first = self.accesses;
        let vcpu = self.vcpus.entry(batch.vcpu).or_default();
        vcpu.instructions = batch.instructions;
        for access in batch.accesses() {
            vcpu.instructions += u64::from(access.gap);
            let Some(va) = chosen(&access, address) else {
                self.left_out += 1;
                continue;
            };
            // A longer pause than a record can say is cut; no result of a simulation depends on that much.
            let gap = u32::try_from(vcpu.instructions.saturating_sub(vcpu.stored)).unwrap_or(u32::MAX);
            vcpu.stored = vcpu.instructions;
            self.accesses += 1;
            self.kernel += u64::from(!access.user);
            self.devices += u64::from(access.device);
            self.unknown += u64::from(access.pa.is_none());
            to.records.push(record(&access, va, gap));
            to.extras.kernel.push(!access.user);
            if address == Stored::Virtual {
                to.extras.physical.push(access.pa.map_or(NO_ADDRESS, |pa| pa.0));
            }
        }
        if !to.records.is_empty() {
            to.order.push(OrderRun { first, count: to.records.len() as u64 });
        }
    }
}

fn chosen(access: &Access, address: Stored) -> Option<VirtAddr> {
    match address {
        Stored::Virtual => Some(access.va),
        Stored::Physical => access.pa.map(|pa| VirtAddr(pa.0)),
    }
}

fn record(access: &Access, va: VirtAddr, gap: u32) -> AccessRecord {
    let op = match access.op {
        Op::Load => AccessOp::Load,
        Op::Store | Op::Locked => AccessOp::Store,
    };
    AccessRecord { va, gap, size: access.size.into(), op, dependent: false }
}

fn summary(args: &VmTraceArgs, stored: &Taken, description: &Description, bytes: u64) -> String {
    let counts = &description.counts;
    let mut text = format!(
        "{}: {} ({} loads, {} stores) of {}, {} instructions\n",
        args.output.display(),
        counted(stored.accesses, "access", "accesses"),
        count(counts.loads),
        count(counts.stores),
        counted(stored.vcpus.len() as u64, "vCPU", "vCPUs"),
        count(counts.instructions),
    );
    text.push_str(&format!(
        "{} by the kernel, {} to devices, {} without a physical address\n",
        count(stored.kernel),
        count(stored.devices),
        count(stored.unknown)
    ));
    if stored.left_out > 0 {
        text.push_str(&format!(
            "{} left out for that\n",
            counted(stored.left_out, "access is", "accesses are")
        ));
    }
    let each = bytes as f64 / stored.accesses.max(1) as f64;
    text.push_str(&format!("{} bytes, {each:.3} for each access\n", count(bytes)));
    text
}
