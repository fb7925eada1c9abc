//! Workload scripts: what the program did, from which the simulation predicts what the kernel did.

use std::collections::BTreeMap;

use daxsim_traces::script::{self, FileMake, Line, MapShare, Op, Script, Section, SectionKind, WaitMode};
use daxsim_types::{AccessKind, CpuId, FileSystem, VirtAddr};
use thiserror::Error;

use super::{Access, Accesses, Action, LineWrite, Step, StepOutcome};
use crate::kernel::{
    Advice, CloneRequest, FallocMode, FileId, MapRequest, MmId, NewFile, PinKind, RemapRequest,
};
use crate::simulation::{SimError, Simulation};

/// Extents of a file that is to be laid out as a recorded one was: (file page, device page, pages, written).
pub type Layout = Vec<(u64, u64, u64, bool)>;

/// A script cannot be run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// A thread is pinned to a CPU that the machine lacks.
    #[error("thread {thread} is pinned to CPU {cpu}, but the machine has {count} CPUs: use --set cpu.count={}", u32::from(*cpu) + 1)]
    NoSuchCpu {
        /// The thread.
        thread: usize,
        /// Its CPU.
        cpu: u16,
        /// CPUs of the machine.
        count: u16,
    },
    /// A file cannot be made.
    #[error("line {source_line}: `{text}`: {why}")]
    File {
        /// Line in the file, from 1.
        source_line: u32,
        /// The line's text.
        text: String,
        /// What the simulation said.
        why: SimError,
    },
    /// The simulation stopped.
    #[error(transparent)]
    Sim(#[from] SimError),
}

/// How the lines of a script ended.
#[derive(Debug, Default)]
pub struct ScriptOutcome {
    /// Outcome of each line, by its number.
    pub lines: BTreeMap<u64, StepOutcome>,
    /// Files whose extents came from a given layout.
    pub laid_out: u32,
}

/// Checks that every thread has a CPU to run on.
///
/// # Errors
///
/// [`ScriptError::NoSuchCpu`] for the first that has none.
pub fn check(script: &Script, cpus: u16) -> Result<(), ScriptError> {
    let pinned = script.threads.iter().enumerate().map(|(thread, decl)| (thread, decl.cpu));
    let moved = script.lines().filter_map(|line| match line.op {
        Op::Cpu { cpu } => Some((usize::from(line.thread), cpu)),
        _ => None,
    });
    match pinned.chain(moved).find(|(_, cpu)| *cpu >= cpus) {
        Some((thread, cpu)) => Err(ScriptError::NoSuchCpu { thread, cpu, count: cpus }),
        None => Ok(()),
    }
}

/// Runs a script on a fresh simulation. `layouts` gives recorded extents by file name.
///
/// # Errors
///
/// [`ScriptError`]
pub fn run(
    sim: &mut Simulation,
    script: &Script,
    fs: FileSystem,
    layouts: &BTreeMap<String, Layout>,
) -> Result<ScriptOutcome, ScriptError> {
    check(script, sim.with(|m| m.cpus.len() as u16))?;
    let mm = sim.with(|m| m.new_mm());
    for decl in &script.threads {
        sim.place(CpuId(decl.cpu), mm)?;
        if decl.wait == WaitMode::Sleep {
            sim.sleep(CpuId(decl.cpu));
        }
    }
    let threads =
        script.threads.iter().zip(0..).map(|(decl, thread)| (thread, (CpuId(decl.cpu), mm))).collect();
    let mut runner =
        Runner { sim, script, fs, layouts, threads, files: BTreeMap::new(), maps: BTreeMap::new() };
    let mut outcome = ScriptOutcome::default();
    for section in &script.sections {
        runner.section(section, &mut outcome)?;
        if runner.sim.crash().is_some() {
            break;
        }
    }
    Ok(outcome)
}

struct Runner<'a> {
    sim: &'a mut Simulation,
    script: &'a Script,
    fs: FileSystem,
    layouts: &'a BTreeMap<String, Layout>,
    /// CPU and address space of each thread and forked child.
    threads: BTreeMap<u16, (CpuId, MmId)>,
    files: BTreeMap<u32, FileId>,
    /// First address of each map.
    maps: BTreeMap<u32, u64>,
}

impl Runner<'_> {
    fn section(&mut self, section: &Section, outcome: &mut ScriptOutcome) -> Result<(), ScriptError> {
        match section.kind {
            SectionKind::Seq => {
                for line in &section.lines {
                    if let Some(step) = self.prepare(line, outcome)? {
                        let cpu = step.cpu;
                        let ended = self.sim.step(step).map_err(|error| self.at_source_lines(error))?;
                        if self.sim.crash().is_some() {
                            break;
                        }
                        outcome.lines.insert(u64::from(line.index), ended);
                        self.rest(line.thread, cpu);
                    }
                }
            }
            SectionKind::Par => self.parallel(section, outcome)?,
        }
        Ok(())
    }

    fn parallel(&mut self, section: &Section, outcome: &mut ScriptOutcome) -> Result<(), ScriptError> {
        let mut threads: BTreeMap<u16, Vec<Step>> = BTreeMap::new();
        for line in &section.lines {
            if let Some(step) = self.prepare(line, outcome)? {
                threads.entry(line.thread).or_default().push(step);
            }
        }
        let lines: Vec<Vec<u64>> =
            threads.values().map(|steps| steps.iter().map(|s| s.line).collect()).collect();
        let cpus: Vec<(u16, CpuId)> =
            threads.iter().filter_map(|(t, s)| Some((*t, s.first()?.cpu))).collect();
        let ended = self.sim.parallel(threads.into_values().collect());
        let ended = ended.map_err(|error| self.at_source_lines(error))?;
        for (lines, ended) in lines.into_iter().zip(ended) {
            outcome.lines.extend(lines.into_iter().zip(ended));
        }
        for (thread, cpu) in cpus {
            self.rest(thread, cpu);
        }
        Ok(())
    }

    /// Steps are numbered without comments and directives; the user counts the lines of the file.
    fn at_source_lines(&self, error: SimError) -> ScriptError {
        let line = |index: u64| u32::try_from(index).ok().and_then(|index| self.script.line(index));
        error.renumbered(|index| line(index).map_or(index, |line| u64::from(line.source_line))).into()
    }

    /// A thread that waits asleep leaves its CPU idle.
    fn rest(&self, thread: u16, cpu: CpuId) {
        if self.script.threads.get(usize::from(thread)).is_some_and(|d| d.wait == WaitMode::Sleep) {
            self.sim.sleep(cpu);
        }
    }

    /// The step of a line; `None` for lines that only set the scene.
    fn prepare(&mut self, line: &Line, outcome: &mut ScriptOutcome) -> Result<Option<Step>, ScriptError> {
        let base = |maps: &BTreeMap<u32, u64>, map: &u32| maps.get(map).copied().unwrap_or_default();
        let Some((cpu, mm)) = self.threads.get(&line.thread).copied() else { return Ok(None) };
        let action = match &line.op {
            Op::File { file, name, size, make } => {
                self.make_file(*file, name, *size, *make, outcome).map_err(|why| ScriptError::File {
                    source_line: line.source_line,
                    text: line.text.clone(),
                    why,
                })?;
                return Ok(None);
            }
            Op::Map { map, file, offset, len, prot, share, populate, addr } => {
                self.maps.insert(*map, *addr);
                let Some(file) = self.files.get(file).copied() else { return Ok(None) };
                let (read, write) = (prot.read, prot.write);
                let pgoff = offset >> 12;
                let (shared, sync) = (*share != MapShare::Private, *share == MapShare::Sync);
                let (start, len, populate) = (*addr, *len, *populate);
                Action::Map(MapRequest { file, start, len, pgoff, read, write, shared, sync, populate })
            }
            Op::Unmap { map, off, len } => {
                // munmap(2) rounds the length up to whole pages.
                let len = len.checked_next_multiple_of(4096).unwrap_or(*len);
                Action::Unmap { start: base(&self.maps, map) + off, len }
            }
            Op::Remap { map, len, new_len, to } => {
                let start = base(&self.maps, map);
                if let Some(to) = to {
                    self.maps.insert(*map, to.addr);
                }
                let dont_unmap = to.is_some_and(|to| to.dont_unmap);
                let to = to.map(|to| to.addr);
                Action::Remap(RemapRequest { start, len: *len, new_len: *new_len, to, dont_unmap })
            }
            Op::Load { map, off } => single(base(&self.maps, map) + off, AccessKind::Read),
            Op::Store { map, off } => single(base(&self.maps, map) + off, AccessKind::Write),
            Op::LoadRange { map, off, len, stride, chase: false } => {
                range(base(&self.maps, map) + off, *len, *stride, AccessKind::Read)
            }
            Op::LoadRange { map, off, len, stride, chase: true } => {
                let (start, stride) = (base(&self.maps, map) + off, *stride);
                let count = len.div_ceil(stride.max(1));
                Action::Access(Accesses::chase((0..count).map(move |n| VirtAddr(start + n * stride))))
            }
            Op::StoreRange { map, off, len, stride } => {
                range(base(&self.maps, map) + off, *len, *stride, AccessKind::Write)
            }
            Op::Acc { map, accesses } => {
                let start = base(&self.maps, map);
                let listed = accesses.clone().into_iter().map(move |access| Access {
                    va: VirtAddr(start + access.off),
                    kind: access.kind,
                    dependent: access.dependent,
                    work: 0,
                });
                Action::Access(Accesses::Stream(Box::new(listed)))
            }
            Op::NtStore { map, off, len } => lines(base(&self.maps, map) + off, *len, LineWrite::NtStore),
            Op::Flush { how, map, off, len } => {
                let what = match how {
                    script::LineFlush::Clwb => LineWrite::Clwb,
                    script::LineFlush::ClflushOpt => LineWrite::ClflushOpt,
                    script::LineFlush::Clflush => LineWrite::Clflush,
                };
                lines(base(&self.maps, map) + off, *len, what)
            }
            Op::Fence(script::Fence::Store | script::Fence::Full) => Action::Fence,
            // MS_ASYNC starts nothing in any Linux of this century.
            Op::Msync { asynchronous: true, .. } | Op::Fiemap { .. } | Op::Nop => return Ok(None),
            Op::Advise { map, off, len, advice } => {
                let advice = match advice {
                    script::Advice::DontNeed => Advice::DontNeed,
                    script::Advice::PopulateRead => Advice::Populate { write: false },
                    script::Advice::PopulateWrite => Advice::Populate { write: true },
                    script::Advice::HugePage => Advice::HugePage { allowed: true },
                    script::Advice::NoHugePage => Advice::HugePage { allowed: false },
                    // Read-ahead has nothing to read on a DAX file.
                    script::Advice::WillNeed => return Ok(None),
                };
                let len = len.checked_next_multiple_of(4096).unwrap_or(*len);
                Action::Advise { start: base(&self.maps, map) + off, len, advice }
            }
            Op::Msync { map, off, len, .. } => {
                let len = len.checked_next_multiple_of(4096).unwrap_or(*len);
                Action::Msync { start: base(&self.maps, map) + off, len }
            }
            Op::Fsync { file } | Op::Fdatasync { file } => {
                let Some(file) = self.files.get(file).copied() else { return Ok(None) };
                Action::Fsync(file)
            }
            Op::Truncate { file, size } => {
                let Some(file) = self.files.get(file).copied() else { return Ok(None) };
                Action::Truncate { file, size: *size }
            }
            Op::Usleep { micros } => Action::Sleep { nanoseconds: micros.saturating_mul(1000) },
            Op::Protect { map, off, len, prot } => {
                let len = len.checked_next_multiple_of(4096).unwrap_or(*len);
                let (read, write) = (prot.read, prot.write);
                Action::Protect { start: base(&self.maps, map) + off, len, read, write }
            }
            Op::Fallocate { file, mode, off, len } => {
                let Some(file) = self.files.get(file).copied() else { return Ok(None) };
                let mode = match mode {
                    script::FallocMode::Alloc => FallocMode::Allocate,
                    script::FallocMode::Punch => FallocMode::Punch,
                    script::FallocMode::Zero => FallocMode::Zero,
                    script::FallocMode::Collapse => FallocMode::Collapse,
                };
                Action::Fallocate { file, mode, start: *off, len: *len }
            }
            Op::Clone { to, from, to_off, from_off, len } => {
                let files = (self.files.get(from), self.files.get(to));
                let (Some(from), Some(to)) = (files.0.copied(), files.1.copied()) else { return Ok(None) };
                Action::Clone(CloneRequest { from, from_start: *from_off, to, to_start: *to_off, len: *len })
            }
            Op::Pread { file, off, len } => {
                let Some(file) = self.files.get(file).copied() else { return Ok(None) };
                Action::Read { file, start: *off, len: *len }
            }
            Op::Pwrite { file, off, len } => {
                let Some(file) = self.files.get(file).copied() else { return Ok(None) };
                Action::Write { file, start: *off, len: *len }
            }
            Op::KernelRead { map, off, len } => {
                kernel_range(base(&self.maps, map) + off, *len, AccessKind::Read)
            }
            Op::KernelWrite { map, off, len } => {
                kernel_range(base(&self.maps, map) + off, *len, AccessKind::Write)
            }
            Op::Pin { map, off, len, write } => {
                let start = base(&self.maps, map) + off;
                Action::Pin { start, len: *len, write: *write, kind: PinKind::Pin }
            }
            Op::Unpin { map, off, len } => Action::Unpin { start: base(&self.maps, map) + off, len: *len },
            Op::Fork { child } => {
                let mm_of_child = self.sim.with(|m| m.new_mm());
                self.threads.insert(*child, (cpu, mm_of_child));
                Action::Fork(mm_of_child)
            }
            Op::Cpu { cpu } => {
                self.threads.insert(line.thread, (CpuId(*cpu), mm));
                // The call itself runs where the thread still is: a forked child thereby gets its parent's CPU into its mask.
                Action::Sleep { nanoseconds: 0 }
            }
            // A thread of the first process ends without effect on the others; a child takes its address space with it.
            Op::Exit if self.script.threads.len() > usize::from(line.thread) => return Ok(None),
            Op::Exit => {
                self.threads.remove(&line.thread);
                Action::Exit
            }
            Op::Wait { .. } => return Ok(None),
        };
        Ok(Some(Step { line: u64::from(line.index), thread: line.thread, cpu, mm: Some(mm), action }))
    }

    fn make_file(
        &mut self,
        number: u32,
        name: &str,
        size: u64,
        make: FileMake,
        outcome: &mut ScriptOutcome,
    ) -> Result<(), SimError> {
        let (fs, size, new) = match (make, self.layouts.get(name)) {
            (FileMake::Dev, _) => (FileSystem::Devdax, self.sim.with(|m| m.device_size()), NewFile::Device),
            (_, Some(layout)) => {
                outcome.laid_out += 1;
                (self.fs, size, NewFile::Extents(layout.clone()))
            }
            (FileMake::Fill, None) => (self.fs, size, NewFile::Filled),
            (FileMake::Falloc, None) => (self.fs, size, NewFile::Preallocated),
            (FileMake::Sparse, None) => (self.fs, size, NewFile::Sparse),
        };
        let id = self.sim.new_file(fs, size, &new)?;
        self.sim.with(|m| m.file_mut(id).name = name.to_owned());
        self.files.insert(number, id);
        Ok(())
    }
}

/// The kernel touches user memory page by page: one access a page is what can fault.
fn kernel_range(start: u64, len: u64, kind: AccessKind) -> Action {
    let first = VirtAddr(start);
    let page = move |n: u64| VirtAddr((first.0 & !4095).saturating_add(n << 12));
    let pages = (first.0 & 4095).saturating_add(len).div_ceil(4096);
    let accesses = (0..pages).map(move |n| (if n == 0 { first } else { page(n) }, kind));
    Action::KernelAccess(Accesses::Stream(Box::new(accesses)))
}

fn single(va: u64, kind: AccessKind) -> Action {
    range(va, 1, 1, kind)
}

fn range(start: u64, len: u64, stride: u64, kind: AccessKind) -> Action {
    let count = len.div_ceil(stride.max(1));
    Action::Access(Accesses::Stride { start: VirtAddr(start), count, stride, kind })
}

const fn lines(start: u64, len: u64, what: LineWrite) -> Action {
    Action::WriteLines { start, len, what }
}
