//! `daxsim record`: what the kernel does for a command, as a trace that `daxsim replay` runs.

mod args;
mod check;
mod perf;
mod run;
mod tracefs;

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use daxsim_reports::units::counted;
use daxsim_traces::recording;

use self::args::With;
pub use self::args::{RECORD_EXAMPLES, RecordArgs};
pub use self::run::Asked;
use self::run::Held;
use self::tracefs::{Instance, TraceFs};
use crate::import_args::ImportArgs;
use crate::{Status, import, output};

/// The file that tells of a recording under way.
const NOTE: &str = "RECORDING";

/// Runs `daxsim record`.
pub fn run(args: &RecordArgs) -> Result<Status> {
    let tracefs = TraceFs::find(&args.root);
    if let Some(tracefs) = &tracefs {
        clean(args, tracefs)?;
    } else if args.clean {
        bail!("{}", no_tracefs(args));
    }
    if args.clean {
        return Ok(Status::Done);
    }
    let asked = Asked::listen().context("signals cannot be waited for")?;
    let ready = prepare(args, tracefs.as_ref())?;
    fs::create_dir_all(&args.out).with_context(|| format!("{}: cannot be made", args.out.display()))?;
    let recorded = match (ready, &tracefs) {
        (Some(instance), _) => by_tracefs(args, instance, &asked)?,
        (None, Some(tracefs)) => by_perf(args, tracefs)?,
        (None, None) => bail!("{}", no_tracefs(args)),
    };
    finish(args, &recorded)
}

/// Removes what recordings that were killed left behind.
fn clean(args: &RecordArgs, tracefs: &TraceFs) -> Result<()> {
    match tracefs.clean() {
        Ok(names) => {
            for name in &names {
                output::note(&format!(
                    "daxsim: removed {name}, which a recording that was killed left behind"
                ));
            }
            if args.clean && names.is_empty() {
                output::note("daxsim: no recording left anything behind");
            }
            Ok(())
        }
        // Without rights nothing can be recorded either, which is said with all else that is missing.
        Err(error) if error.kind() == ErrorKind::PermissionDenied && !args.clean => Ok(()),
        Err(error) => Err(error).context("what a recording that was killed left behind cannot be removed"),
    }
}

fn no_tracefs(args: &RecordArgs) -> String {
    format!(
        "no tracefs: it is not mounted at {}; as root: mount -t tracefs tracefs /sys/kernel/tracing",
        args.root.join("sys/kernel/tracing").display()
    )
}

/// Checks everything before anything starts. The instance to record with; `None` for perf.
fn prepare(args: &RecordArgs, tracefs: Option<&TraceFs>) -> Result<Option<Instance>> {
    let mut missing = Vec::new();
    if let Some(name) = args.command.first()
        && !check::find_command(name)
    {
        missing.push(format!("no command {}: there is no such file", name.to_string_lossy()));
    }
    if !args.without_dax && !check::has_dax(&args.root) {
        missing.push(
            "no DAX: no file system is mounted with the option dax, and there is no /dev/dax device; --without-dax records all the \
             same"
                .into(),
        );
    }
    if let Some(tracefs) = tracefs {
        let (needed, wanted) = check::missing_events(tracefs);
        missing.extend(needed.filter(|_| !args.without_dax || !tracefs.has("exceptions", "page_fault_user")));
        if !wanted.is_empty() {
            output::note(&format!(
                "daxsim: not in this kernel, so inferred by a replay: {}",
                wanted.join(", ")
            ));
        }
    }
    let (instance, why_not) = recorder(args, tracefs);
    missing.extend(why_not);
    if !missing.is_empty() {
        bail!("nothing is recorded, for what is missing:\n  {}", missing.join("\n  "));
    }
    Ok(instance)
}

/// What records, or what is missing for that.
fn recorder(args: &RecordArgs, tracefs: Option<&TraceFs>) -> (Option<Instance>, Vec<String>) {
    let mut missing = Vec::new();
    if args.with != With::Perf {
        match tracefs.map(TraceFs::instance) {
            Some(Ok(instance)) => return (Some(instance), Vec::new()),
            Some(Err(error)) if error.kind() == ErrorKind::PermissionDenied => missing.push(format!(
                "no right to write to {}: it takes root",
                tracefs.map_or(Path::new(""), TraceFs::root).display()
            )),
            Some(Err(error)) => missing.push(format!("no instance of tracefs: {error}")),
            None => missing.push(no_tracefs(args)),
        }
    }
    if args.with != With::Tracefs {
        match perf::missing(tracefs) {
            None => return (None, Vec::new()),
            Some(why) => missing.push(why),
        }
    }
    (None, missing)
}

/// A recording that has ended.
struct Recorded {
    /// The file as the kernel or perf wrote it.
    raw: PathBuf,
    lost: u64,
    status: ExitStatus,
    /// A signal ended it early.
    cut: bool,
}

fn by_tracefs(args: &RecordArgs, instance: Instance, asked: &Asked) -> Result<Recorded> {
    let raw = args.out.join("trace.txt");
    let note = Note::write(&args.out, instance.dir())?;
    let file = File::create(&raw).with_context(|| format!("{}: cannot be made", raw.display()))?;
    let tracefs = TraceFs::find(&args.root);
    let has = |system: &str, event: &str| tracefs.as_ref().is_some_and(|tracefs| tracefs.has(system, event));
    let held = Held::start(&args.command).context("the command cannot be started")?;
    set_up(args, &instance, held.pid(), has)?;
    let reader = Reader::start(instance.pipe()?, file)?;
    instance.set("tracing_on", "1")?;
    let (status, cut) = held.run(asked)?;
    instance.stop()?;
    reader.finish().with_context(|| format!("{}: cannot be written", raw.display()))?;
    let lost = instance.lost()?;
    instance.remove()?;
    note.remove();
    Ok(Recorded { raw, lost, status, cut })
}

/// Sets up exactly the events of a replay, of the command and what it starts.
fn set_up(
    args: &RecordArgs,
    instance: &Instance,
    pid: u32,
    has: impl Fn(&str, &str) -> bool,
) -> io::Result<()> {
    instance.set("tracing_on", "0")?;
    instance.set("trace_clock", "mono")?;
    instance.set("buffer_size_kb", &args.buffer.to_string())?;
    if !args.all_tasks {
        instance.set("options/event-fork", "1")?;
        instance.set("set_event_pid", &pid.to_string())?;
    }
    for (system, event) in recording::needed().into_iter().chain(recording::wanted()) {
        if has(system, &event) {
            instance.enable(system, &event)?;
        }
    }
    Ok(())
}

/// Writes down what the kernel records, as it comes.
struct Reader {
    thread: JoinHandle<io::Result<()>>,
    ended: Arc<AtomicBool>,
}

impl Reader {
    fn start(mut pipe: File, mut raw: File) -> io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let last = Arc::clone(&ended);
        let copy = move || {
            let mut buffer = vec![0; 1 << 20];
            loop {
                // What comes before the end is read after it, too.
                let is_last = last.load(Ordering::Acquire);
                match pipe.read(&mut buffer) {
                    Ok(0) if is_last => return raw.flush(),
                    Err(error) if error.kind() == ErrorKind::WouldBlock && is_last => return raw.flush(),
                    Ok(0) => std::thread::sleep(Duration::from_millis(5)),
                    Ok(bytes) => raw.write_all(buffer.get(..bytes).unwrap_or_default())?,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        };
        let thread = std::thread::Builder::new().name("recorder".into()).spawn(copy)?;
        Ok(Self { thread, ended })
    }

    /// Reads what is left.
    fn finish(self) -> io::Result<()> {
        self.ended.store(true, Ordering::Release);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the reader broke off")))
    }
}

/// A file that says how to clean up, as long as there is something to clean.
struct Note(PathBuf);

impl Note {
    fn write(out: &Path, instance: &Path) -> Result<Self> {
        let path = out.join(NOTE);
        let text = format!(
            "daxsim records into this folder. If it was killed, the kernel still does:\n  daxsim record --clean\nends that; {}\n",
            tracefs::by_hand(instance)
        );
        fs::write(&path, text).with_context(|| format!("{}: cannot be written", path.display()))?;
        Ok(Self(path))
    }

    fn remove(self) {
        drop(self);
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        // If it stays, it says how to find out that nothing is left to do.
        let _ = fs::remove_file(&self.0);
    }
}

fn by_perf(args: &RecordArgs, tracefs: &TraceFs) -> Result<Recorded> {
    let raw = args.out.join("perf.data");
    let status = perf::record(tracefs, &args.command, args.all_tasks, args.buffer, &raw)
        .context("perf cannot be started")?;
    if !raw.is_file() {
        bail!("perf wrote no {}: {status}", raw.display());
    }
    let lost = perf::lost(&raw).context("perf cannot be started")?;
    Ok(Recorded { raw, lost, status, cut: false })
}

/// Makes the .dxt, and says what is to be said.
fn finish(args: &RecordArgs, recorded: &Recorded) -> Result<Status> {
    let raw = recorded.raw.display();
    if fs::metadata(&recorded.raw).with_context(|| format!("{raw}: cannot be read"))?.len() == 0 {
        bail!("{raw}: nothing was recorded: the command ({}) caused no event", recorded.status);
    }
    let import = ImportArgs {
        input: recorded.raw.clone(),
        output: args.out.join("trace.dxt"),
        fetches: false,
        quiet: false,
    };
    import::run(&import).with_context(|| format!("{raw} is there, but no .dxt of it"))?;
    if recorded.lost > 0 {
        output::note(&format!(
            "daxsim: warning: {} lost: the kernel's buffer was too small; --buffer {} would be twice as large",
            counted(recorded.lost, "event was", "events were"),
            args.buffer.saturating_mul(2)
        ));
    }
    if recorded.cut {
        output::note("daxsim: a signal ended the recording early; what was recorded is kept");
    } else if !recorded.status.success() {
        output::note(&format!(
            "daxsim: warning: the command failed ({}); what was recorded is kept",
            recorded.status
        ));
    }
    let well = recorded.lost == 0 && recorded.status.success();
    Ok(if well { Status::Done } else { Status::CheckFailed })
}
