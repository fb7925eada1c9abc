//! A run: threads, their order, the beginning and the end of the trace.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Barrier;

use daxsim_traces::script::{Line, Op, Script, SectionKind, ThreadDecl, WaitMode};

use crate::args::Args;
use crate::exec::{MOST_EXTENTS, Outcome};
use crate::files::Files;
use crate::marks::Marks;
use crate::shared::Shared;
use crate::text::short;
use crate::tracing::Tracing;
use crate::{access, sys};

/// Stack of a thread. All of it is brought in before tracing begins.
const STACK: usize = 256 << 10;

/// A run under way.
pub struct Run<'a> {
    /// The lines in file order, each with the number of lines that must be done before it.
    lines: Vec<(&'a Line, u32)>,
    threads: &'a [ThreadDecl],
    pub files: Files,
    pub shared: Shared,
    pub tracing: Tracing,
    pub marks: Marks,
    /// A pipe that the kernel writes to from a map, and /dev/zero.
    pub pipe: (i32, i32),
    pub zero: i32,
}

/// Runs a script.
pub fn play(args: &Args) -> Result<(), String> {
    let script = Script::open(&args.script).map_err(|e| e.to_string())?;
    refuse_pins(&script, args)?;
    let entries = script.lines().map(|l| if matches!(l.op, Op::Fiemap { .. }) { MOST_EXTENTS } else { 1 });
    let sleepers = script.threads.iter().any(|t| t.wait == WaitMode::Sleep);
    let text = |what: &str| {
        let what = what.to_owned();
        move |e: io::Error| format!("{what}: {e}")
    };
    let run = Run {
        lines: ordered(&script),
        threads: &script.threads,
        files: Files::new(&script, &args.dir),
        shared: Shared::new(entries.sum::<usize>() + 1, sleepers).map_err(text("memory for the log"))?,
        tracing: Tracing::open(args.tracing.as_deref()).map_err(text("tracing"))?,
        marks: Marks::new(args.marks, script.line_count()).map_err(text("memory for marks"))?,
        pipe: pipe().map_err(text("a pipe"))?,
        zero: zero().map_err(text("/dev/zero"))?,
    };
    access::skip_signals().map_err(text("handlers of signals"))?;
    run.run(&args.script.display().to_string()).map_err(text("the run"))?;
    let written = match &args.log {
        Some(path) => File::create(path).and_then(|file| run.shared.write_log(file)),
        None => run.shared.write_log(io::stdout().lock()),
    };
    written.map_err(text("the log"))
}

/// What this program does not do is said before anything runs.
fn refuse_pins(script: &Script, args: &Args) -> Result<(), String> {
    match script.lines().find(|line| matches!(line.op, Op::Pin { .. } | Op::Unpin { .. })) {
        Some(line) => Err(format!(
            "{}:{}: `{}`: only the simulator can hold pages as I/O does: take the line out",
            args.script.display(),
            line.source_line,
            line.text
        )),
        None => Ok(()),
    }
}

/// Each line with what must be done before it: all lines above, or, in a `@par` section, all lines above the section.
fn ordered(script: &Script) -> Vec<(&Line, u32)> {
    let mut lines = Vec::with_capacity(script.line_count());
    for section in &script.sections {
        let first = section.lines.first().map_or(0, |line| line.index);
        let before = |line: &Line| if section.kind == SectionKind::Par { first } else { line.index };
        lines.extend(section.lines.iter().map(|line| (line, before(line))));
    }
    lines
}

fn pipe() -> io::Result<(i32, i32)> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for both descriptors.
    sys::result(unsafe { libc::pipe(ends.as_mut_ptr()) }).map_err(io::Error::from_raw_os_error)?;
    let [read, write] = ends;
    Ok((read, write))
}

fn zero() -> io::Result<i32> {
    // SAFETY: the path ends with a zero byte.
    let fd = sys::result(unsafe { libc::open(c"/dev/zero".as_ptr(), libc::O_RDONLY) });
    fd.map(|fd| fd as i32).map_err(io::Error::from_raw_os_error)
}

impl Run<'_> {
    /// Makes the threads, brings all memory in, and lets the lines run between the ends of the trace.
    fn run(&self, name: &str) -> io::Result<()> {
        let ready = Barrier::new(self.threads.len());
        let begun = Barrier::new(self.threads.len());
        std::thread::scope(|scope| {
            for (id, thread) in (0_u16..).zip(self.threads).skip(1) {
                let (ready, begun) = (&ready, &begun);
                let work = move || {
                    pin(thread.cpu);
                    ready.wait();
                    begun.wait();
                    self.run_lines(id, 0, thread.wait);
                };
                // A thread that cannot be made would leave the others waiting for ever.
                if let Err(error) = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work) {
                    let _ = writeln!(io::stderr(), "daxplay: no thread {id}: {error}");
                    std::process::exit(2);
                }
            }
            let first = self.threads.first().copied().unwrap_or_default();
            pin(first.cpu);
            ready.wait();
            if sys::lock_memory().is_err() {
                let _ = writeln!(
                    io::stderr(),
                    "daxplay: memory cannot be locked: the trace may have faults of this program, too"
                );
            }
            let switched = self.tracing.switch(true);
            self.tracing.mark(format_args!(
                "DAXPLAY start {name} lines={} threads={}",
                self.lines.len(),
                self.threads.len()
            ));
            begun.wait();
            self.run_lines(0, 0, first.wait);
            switched
        })?;
        self.tracing.mark(format_args!("DAXPLAY end"));
        self.tracing.switch(false)
    }

    /// Runs the lines of a thread or child from a line on. A thread stays until all lines of all are done, as it waits: its CPU stays
    /// in the address space, or idle.
    pub fn run_lines(&self, thread: u16, from: usize, how: WaitMode) {
        for (line, before) in self.lines.iter().skip(from).filter(|(line, _)| line.thread == thread) {
            self.shared.wait_for(*before, how);
            self.run_line(line, how);
            self.shared.add_done();
            if line.op == Op::Exit {
                break;
            }
        }
        if usize::from(thread) < self.threads.len() {
            self.shared.wait_for(self.lines.len() as u32, how);
        }
    }

    /// One line, between its markers, with its entry in the log.
    fn run_line(&self, line: &Line, how: WaitMode) {
        let marked = line.op != Op::Nop;
        let (text, more) = short(&line.text);
        if marked {
            self.tracing.mark(format_args!("B {} t{} {text}{more}", line.index, line.thread));
        }
        let (t0, cpu) = (sys::now(), sys::cpu());
        self.marks.begin(line.index);
        let Outcome { result, acc, sig, sum, extra } = self.execute(line, how);
        self.marks.end(line.index);
        let t1 = sys::now();
        let (rc, errno) = result.map_or_else(|errno| (-1, errno), |rc| (rc, 0));
        let (index, thread) = (line.index, line.thread);
        if marked {
            self.tracing.mark(format_args!("E {index} t{thread} rc={rc} errno={errno} acc={acc} sig={sig}"));
        }
        self.shared.log(format_args!(
            "{index} t{thread} pid={} cpu={cpu} t0={t0} t1={t1} rc={rc} errno={errno} acc={acc} sig={sig} sum={sum}{extra} | {text}{more}\n",
            sys::thread_id()
        ));
    }
}

/// On a machine with fewer CPUs a thread runs where it can.
fn pin(cpu: u16) {
    if let Err(errno) = sys::pin(cpu) {
        let error = io::Error::from_raw_os_error(errno);
        let _ = writeln!(io::stderr(), "daxplay: a thread cannot run on CPU {cpu}: {error}");
    }
}
