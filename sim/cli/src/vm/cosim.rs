//! `daxsim vm cosim`: the simulated machine under a guest that is built here.

use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};
use clap::Args;
use daxsim_ring::{Batch, Ending, Received};
use daxsim_traces::script::Script;
use daxsim_vm::{ATTEMPTS, Failure, Guest, Plan, Prepared, VmError, Watch, Work, kernel_folder};

use super::args::With;
use super::work::WorkArgs;
use crate::cosim::{CONTROL, Cosim, Feed, LineWay, Machine, MachineArgs, Played, Reference, maps, table};
use crate::record::Asked;
use crate::stream::{FilterArgs, Memory, SharedMemory, Tap};
use crate::{Status, output};

/// `daxsim vm cosim`
#[derive(Debug, Args)]
pub struct VmCosimArgs {
    /// What is done where.
    #[command(flatten)]
    pub work: WorkArgs,
    /// How often each script or command is run on its file system
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub passes: u32,
    /// Kernel whose modelled fault path stands beside the real one [default: linux-6.12 for kernels before 6.15, else linux-7.2]
    #[arg(long, value_name = "NAME|FILE")]
    pub model: Option<String>,
    /// Compare the ways by line with measured ones, such as those of traces/path-lengths/reference.toml
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// How far instructions, loads and stores may be from those, as a part of them
    #[arg(long, default_value_t = 0.02, value_name = "PART", requires = "against")]
    pub tolerance: f64,
    /// The machine.
    #[command(flatten)]
    pub on: MachineArgs,
    /// Which accesses.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// The plugin [default: libdaxsim_qemu_plugin.so beside this program]
    #[arg(long, value_name = "FILE")]
    pub plugin: Option<PathBuf>,
}

/// Help of `vm cosim`.
pub const COSIM_EXAMPLES: &str = "\
The guest is that of `daxsim vm record`, with no events or probes on in its kernel. The way of the kernel is
shown by line of each script: the player marks them by stores. docs/co-simulation.md says what is counted.

Examples:
  daxsim vm cosim script.txt --kernel linux-image-6.12.117+deb12-amd64 --out cosim.json
  daxsim vm cosim script.txt --fs xfs --passes 2 --count each --kernel linux-image-6.12.117+deb12-amd64
  daxsim vm cosim traces/path-lengths/script.txt --passes 2 --against traces/path-lengths/reference.toml --kernel linux-image-6.12.117+deb12-amd64
  daxsim vm cosim --kernel linux-image-6.12.117+deb12-amd64 -- sqlite3 t.db 'create table t(a); insert into t values(1);'

Exit status: 0 done, 1 what ran failed, or ways are not near those of --against, 2 bad usage, something is missing, or the guest failed.";

/// Runs `daxsim vm cosim`.
pub fn run(args: &VmCosimArgs) -> Result<Status> {
    if args.work.guest.accel == With::Kvm {
        bail!("--accel kvm: QEMU's plugins see what its translator runs, so not what KVM does: expected tcg");
    }
    let plan = args.work.plan(Watch::Marked { passes: args.passes }, 0, Path::new(""))?;
    let played = played(&plan, args.passes)?;
    Machine::new(&args.on, args.model(""), args.work.fs, &Memory::default(), Some(plan.cpus)).feed(0..0)?;
    let against = args.against.as_deref().map(Reference::open).transpose()?;
    let asked = Asked::listen().context("signals cannot be waited for")?;
    let mut said = |text: &str| output::note(&format!("daxsim: {text}"));
    args.work.say_forgotten();
    let prepared = daxsim_vm::prepare(&plan, &mut said)?;
    let model = args.model(&prepared.release);
    let mut attempt = 1;
    let (machine, feed, ending) = loop {
        match attempt_once(args, &plan, &prepared, (model, &maps(&played)), &asked)? {
            Ok(done) => break done,
            Err(why) if attempt >= ATTEMPTS => return Err(prepared.guest.does_not_boot(&why).into()),
            Err(why) => said(&format!("note {why}: another attempt")),
        }
        attempt += 1;
    };
    let mut cosim = Cosim::new(&feed, ending == Ending::Finished, &played);
    machine.report(&mut cosim)?;
    let is_near = match &against {
        Some(reference) => compare(reference, &cosim, &plan, &prepared.release, args.tolerance)?,
        None => true,
    };
    let failed = failed(&plan, &prepared);
    failed.iter().for_each(|text| output::note(&format!("daxsim: {text}")));
    let is_done = failed.is_empty() && is_near && ending == Ending::Finished;
    Ok(if is_done { Status::Done } else { Status::CheckFailed })
}

/// Compares the ways by line with those of a file, and says how near they are; whether all are near enough.
fn compare(reference: &Reference, cosim: &Cosim, plan: &Plan, release: &str, tolerance: f64) -> Result<bool> {
    let (mut failed, mut by_chance, mut total) = (0, 0, 0);
    for job in &plan.jobs {
        let of = format!("{}/{}", kernel_folder(release), job.fs);
        let script = format!("{}/{}", job.fs, job.name);
        let lines: Vec<LineWay> = cosim.lines.iter().filter(|way| way.script == script).cloned().collect();
        let comparison = reference.compare(&of, &lines, tolerance)?;
        output::show(&format!("\n{of}, here (and measured before)\n{}", table(&comparison.table())))?;
        failed += comparison.failed();
        by_chance += comparison.by_chance();
        total += comparison.total();
    }
    let near = total - failed - by_chance;
    output::print(&format!(
        "\n{near} of {total} rows within {} %, {by_chance} more but for an interrupt, an update of a file's times, or a split of a node\n",
        100.0 * tolerance
    ))?;
    Ok(failed == 0)
}

impl VmCosimArgs {
    /// The kernel model for a release.
    fn model(&self, release: &str) -> &str {
        let before = |version: &str| {
            let mut parts = version.trim_start_matches("kernel-").split('.').map(str::parse::<u32>);
            matches!((parts.next(), parts.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < (6, 15))
        };
        match &self.model {
            Some(model) => model,
            None if before(&kernel_folder(release)) => "linux-6.12",
            None => "linux-7.2",
        }
    }
}

/// The scripts of a plan.
fn played(plan: &Plan, passes: u32) -> Result<Vec<Played>> {
    let scripts = plan.jobs.iter().filter_map(|job| match &job.work {
        Work::Script(text) => Some((job, text)),
        Work::Command(_) => None,
    });
    scripts
        .map(|(job, text)| {
            let script = Script::read(&text[..], Path::new(&job.name))?;
            Ok(Played { name: format!("{}/{}", job.fs, job.name), script, passes })
        })
        .collect()
}

/// What a guest came to: what was fed to the machine, or why it should be started again.
type Came<'a> = Result<(Machine<'a>, Feed, Ending), String>;

/// Boots the guest, and feeds all that it does to a machine.
fn attempt_once<'a>(
    args: &'a VmCosimArgs,
    plan: &Plan,
    prepared: &Prepared,
    (model, maps): (&'a str, &Range<u64>),
    asked: &Asked,
) -> Result<Came<'a>> {
    let mut tap = Tap::new(args.plugin.as_deref(), args.filter.options() + CONTROL)?;
    let guest = with_shared_memory(&prepared.guest, tap.arguments());
    let stop = AtomicBool::new(false);
    let mut said = |text: &str| output::note(&format!("daxsim: {text}"));
    let is_stopped = || stop.load(Ordering::Relaxed);
    thread::scope(|scope| {
        let running = scope.spawn(|| guest.attempt(plan.limits, &mut said, &is_stopped));
        let mut ended = || {
            if asked.take().is_some() {
                stop.store(true, Ordering::Relaxed);
            }
            Ok(running.is_finished().then(|| "see above".to_owned()))
        };
        let fed = feed_all(args, plan, (model, maps), &mut tap, &mut ended);
        if fed.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        match (running.join(), fed) {
            (Ok(Err(Failure::Early(why))), _) => Ok(Err(why)),
            (Ok(Err(Failure::Final(VmError::Stopped))), Err(error)) => Err(error),
            (Ok(Err(Failure::Final(error))), _) => Err(error.into()),
            (Ok(Ok(())), fed) => Ok(Ok(fed?)),
            (Err(_), _) => bail!("the thread that watches the guest ended early"),
        }
    })
}

fn feed_all<'a>(
    args: &'a VmCosimArgs,
    plan: &Plan,
    (model, maps): (&'a str, &Range<u64>),
    tap: &mut Tap,
    ended: &mut dyn FnMut() -> Result<Option<String>>,
) -> Result<(Machine<'a>, Feed, Ending)> {
    let (memory, pid) = tap.connect(ended)?;
    let fs = args.work.fs.or(plan.jobs.first().map(|job| job.fs));
    let machine = Machine::new(&args.on, model, fs, &memory, Some(plan.cpus));
    let mut feed = machine.feed(maps.clone())?;
    feed.read_tables_from(SharedMemory::of(pid, &memory));
    let mut batch = Batch::default();
    loop {
        // A signal has to be seen also while accesses come without a pause.
        ended()?;
        match tap.next(&mut batch, ended)? {
            Received::Batch => feed.batch(&batch)?,
            Received::Nothing => {}
            Received::End(ending) => return Ok((machine, feed, ending)),
        }
    }
}

/// The guest with more arguments, and with memory that we can look into.
fn with_shared_memory(guest: &Guest, more: Vec<OsString>) -> Guest {
    let memory = format!("memory-backend-memfd,id=ram,share=on,size={}M", guest.memory_mib);
    let words = ["-object", &memory, "-machine", "memory-backend=ram"].map(OsString::from);
    let mut guest = guest.clone();
    guest.qemu_args.extend(words.into_iter().chain(more));
    guest
}

/// What the guest says of jobs that failed.
fn failed(plan: &Plan, prepared: &Prepared) -> Vec<String> {
    let mut failed = Vec::new();
    for (number, job) in plan.jobs.iter().enumerate() {
        let read = |name: &str| {
            let bytes = std::fs::read(prepared.results(number).join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let status = read("status");
        if status.trim() != "0" {
            let said = read("play.log") + &read("app.out");
            let said: Vec<&str> = said.lines().take(10).collect();
            failed.push(format!("{}: failed with status {}: {}", job.name, status.trim(), said.join("\n  ")));
        }
    }
    failed
}
