//! Runs the grouped items of a trace and compares.

mod remap;

use std::collections::BTreeMap;

use daxsim_traces::ftrace::{Event, Record};
use daxsim_types::{AccessKind, CpuId, FileSystem, VirtAddr};

use super::group::{Action as Recorded, FileChange, Grouper, Item, RecordedCall, RecordedFault, Synced};
use super::infer::{MapCall, State};
use crate::durability::Call;
use crate::kernel::vma::Vma;
use crate::kernel::{Advice, FallocMode};
use crate::measure::FaultRecord;
use crate::mmu::entry::Entry;
use crate::program::{Accesses, Action, Step};
use crate::simulation::{SimError, Simulation};

/// Highest page of a file (`s_maxbytes` is at most 2^63 - 1).
const MAX_PGOFF: u64 = (i64::MAX >> 12) as u64;
/// Most bytes that one call writes (`MAX_RW_COUNT`).
const MAX_WRITE: u64 = 0x7fff_f000;
/// What no kernel records: garbled text, most likely.
const IMPOSSIBLE: &str = "events with addresses or ranges that cannot be";

/// Sync calls that are followed at the same time.
const SYNCS: usize = 256;

/// Faults of one access that a divergence lists.
const FAULTS_SHOWN: usize = 3;
/// Divergences kept as examples.
const EXAMPLES: usize = 100;

/// A recorded fault that the simulation did not reproduce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// Line of the trace.
    pub line: u64,
    /// Recorded time in ns.
    pub time_ns: u64,
    /// Address.
    pub address: VirtAddr,
    /// What was recorded.
    pub recorded: String,
    /// What was simulated.
    pub simulated: String,
    /// The first thing that differs.
    pub why: &'static str,
}

/// How many faults were recorded, and how many of them reproduced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// In the trace.
    pub recorded: u64,
    /// Of these, reproduced.
    pub reproduced: u64,
    /// Of these, not reproduced.
    pub diverged: u64,
}

impl std::ops::Add for Tally {
    type Output = Self;
    fn add(self, more: Self) -> Self {
        Self {
            recorded: self.recorded + more.recorded,
            reproduced: self.reproduced + more.reproduced,
            diverged: self.diverged + more.diverged,
        }
    }
}

/// How well a replay went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Faults in DAX mappings.
    pub dax: Tally,
    /// Faults in anonymous memory and in files of the page cache.
    pub other: Tally,
    /// The first of them.
    pub divergences: Vec<Divergence>,
    /// Divergences by cause.
    pub causes: BTreeMap<&'static str, u64>,
    /// What had to be inferred, by kind.
    pub inferred: BTreeMap<&'static str, u64>,
    /// What was left out, by kind.
    pub ignored: BTreeMap<String, u64>,
}

impl Outcome {
    /// All faults that were replayed.
    #[must_use]
    pub fn all(&self) -> Tally {
        self.dax + self.other
    }
}

/// What a CPU runs, as its last record or switch showed.
#[derive(Clone, Copy, Debug, Default)]
struct Running {
    /// Task.
    pid: u32,
    /// Whether it belongs to a known process, whose address space is then loaded.
    placed: bool,
    /// Processes known when this was looked up.
    known: usize,
}

/// Replays a trace, record by record, in bounded memory.
pub struct Replayer {
    grouper: Grouper,
    state: State,
    outcome: Outcome,
    /// Command names of tasks inside a fault or call.
    comms: BTreeMap<u32, String>,
    items: Vec<Item>,
    /// What each CPU runs.
    running: BTreeMap<CpuId, Running>,
    cpus: u16,
    /// Watch of each task that is in a sync call.
    syncs: BTreeMap<u32, usize>,
}

impl Replayer {
    /// A replay on `cpus` simulated CPUs of faults that `fs` handled.
    #[must_use]
    pub fn new(fs: FileSystem, cpus: u16) -> Self {
        Self {
            grouper: Grouper::default(),
            state: State::new(fs),
            outcome: Outcome::default(),
            comms: BTreeMap::new(),
            items: Vec::new(),
            running: BTreeMap::new(),
            cpus: cpus.max(1),
            syncs: BTreeMap::new(),
        }
    }

    /// Takes the next record and runs what it completes.
    ///
    /// # Errors
    ///
    /// [`SimError`]
    pub fn push(&mut self, sim: &mut Simulation, record: &Record) -> Result<(), SimError> {
        self.follow_tasks(sim, record)?;
        if matches!(record.event, Event::PageFault { .. } | Event::SysEnter(_)) {
            let comm = record.task.to_string();
            self.comms.insert(record.pid, comm);
        }
        self.grouper.push(record, &mut self.items);
        self.run_items(sim)
    }

    /// Ends the trace.
    ///
    /// # Errors
    ///
    /// [`SimError`]
    pub fn finish(mut self, sim: &mut Simulation) -> Result<Outcome, SimError> {
        self.grouper.finish(&mut self.items);
        self.run_items(sim)?;
        self.outcome.inferred = self.state.inferred;
        Ok(self.outcome)
    }

    /// Keeps track of what each CPU runs: every record names the task on its CPU, a switch the one that follows. A CPU that runs a
    /// thread of a known process has its address space loaded, and is interrupted by its flushes, even if that thread
    /// never faults; one that switches away keeps the address space lazily.
    fn follow_tasks(&mut self, sim: &mut Simulation, record: &Record) -> Result<(), SimError> {
        let (pid, comm) = match &record.event {
            Event::SchedSwitch { next_pid, next_comm, .. } => (*next_pid, next_comm),
            // Where CPUs are folded, a record says nothing of the others that share the simulated one.
            _ if record.cpu.0 >= self.cpus => return Ok(()),
            _ => (record.pid, &record.task),
        };
        let cpu = self.fold(record.cpu);
        let known = self.state.processes_known();
        let before = self.running.get(&cpu).copied().unwrap_or_default();
        if before.pid == pid && (before.placed || before.known == known) {
            return Ok(());
        }
        let mm = self.state.known_task(sim, pid, &comm.to_string());
        match mm {
            Some(mm) => sim.place(cpu, mm)?,
            None if before.placed => sim.sleep(cpu),
            None => {}
        }
        self.running.insert(cpu, Running { pid, placed: mm.is_some(), known });
        Ok(())
    }

    fn fold(&mut self, cpu: CpuId) -> CpuId {
        if cpu.0 < self.cpus {
            return cpu;
        }
        self.ignore("records of CPUs beyond cpu.count, folded onto the others");
        CpuId(cpu.0 % self.cpus)
    }

    fn ignore(&mut self, what: &str) {
        *self.outcome.ignored.entry(what.to_owned()).or_default() += 1;
    }

    fn run_items(&mut self, sim: &mut Simulation) -> Result<(), SimError> {
        for item in std::mem::take(&mut self.items) {
            if sim.crash().is_some() {
                break;
            }
            match item {
                Item::Fault(fault) => self.fault(sim, &fault)?,
                Item::Call(call) => self.call(sim, &call)?,
            }
        }
        Ok(())
    }

    fn comm(&self, pid: u32) -> String {
        self.comms.get(&pid).cloned().unwrap_or_default()
    }

    fn call(&mut self, sim: &mut Simulation, call: &RecordedCall) -> Result<(), SimError> {
        let comm = self.comm(call.pid);
        let cpu = self.fold(call.cpu);
        match call.action {
            Recorded::Mapped { start, len, prot, flags, fd, offset } => {
                let Some(end) = range_end(sim, start, len) else {
                    self.ignore(IMPOSSIBLE);
                    return Ok(());
                };
                self.replace_mappings(sim, call, cpu, start, end - start)?;
                let map = MapCall { prot, flags, fd, offset };
                if fd >= 0 {
                    self.state.mapped(sim, call.pid, &comm, (start, end), map);
                } else {
                    self.map_anonymous(sim, call, cpu, (start, end), map)?;
                }
            }
            Recorded::Unmapped { start, len } => {
                let Some(end) = range_end(sim, start, len) else {
                    self.ignore(IMPOSSIBLE);
                    return Ok(());
                };
                self.state.unmapped(sim, call.pid, &comm, (start, end));
                self.replace_mappings(sim, call, cpu, start, end - start)?;
            }
            Recorded::Remapped { start, len, to, new_len, dont_unmap } => {
                self.remapped(sim, call, cpu, (start, len), (to, new_len), dont_unmap)?;
            }
            Recorded::Writeback { first, last, .. } if first > last => self.ignore(IMPOSSIBLE),
            Recorded::Writeback { dev, ino, first, last } => {
                let Some(file) = self.state.known_file(dev, ino) else {
                    self.ignore("writeback of files that no fault has shown");
                    return Ok(());
                };
                let action = Action::SyncRange { file, first, last };
                let mm = self.state.known_process(call.pid);
                self.step(sim, call.line, call.pid, cpu, mm, action)?;
            }
            Recorded::Advised { start, len, behavior } => {
                self.advise(sim, call, cpu, (start, len), behavior)?
            }
            Recorded::Protected { start, len, prot } => {
                let Some(end) = range_end(sim, start, len) else {
                    self.ignore(IMPOSSIBLE);
                    return Ok(());
                };
                self.state.protected(sim, call.pid, (start, end), prot);
                let len = end - start;
                let action = Action::Protect { start, len, read: prot & 1 != 0, write: prot & 2 != 0 };
                self.on_mapping(sim, call, cpu, (start, len), action)?;
            }
            Recorded::SyncBegins(synced) => self.sync_begins(sim, call.pid, synced),
            Recorded::SyncEnds { name, success } => self.sync_ends(sim, call, cpu, name, success),
            Recorded::Changed { fd, change } => self.change_file(sim, call, cpu, fd, change)?,
            Recorded::Forked { child, shares_mm } => {
                if let Some((parent, child)) = self.state.fork(sim, call.pid, &comm, child, shares_mm) {
                    self.step(sim, call.line, call.pid, cpu, Some(parent), Action::Fork(child))?;
                }
            }
            Recorded::Executed => {
                let Some((mm, old)) = self.state.execute(sim, call.pid) else { return Ok(()) };
                if old.is_some() {
                    self.step(sim, call.line, call.pid, cpu, old, Action::Exit)?;
                }
                sim.place(cpu, mm)?;
            }
            Recorded::Exited => {
                if let Some(mm) = self.state.exit(call.pid) {
                    self.step(sim, call.line, call.pid, cpu, Some(mm), Action::Exit)?;
                    self.running.remove(&cpu);
                }
            }
            Recorded::NotSimulated(name) => {
                let what = format!("{} calls (not simulated)", name.event_name());
                self.ignore(&what);
            }
        }
        Ok(())
    }

    /// A recorded sync call begins: what it covers will be promised. Its writeback has events of its own.
    fn sync_begins(&mut self, sim: &mut Simulation, pid: u32, synced: Synced) {
        let Some(mm) = self.state.known_process(pid) else { return };
        let Some(slot) = (0..SYNCS).find(|slot| !self.syncs.values().any(|taken| taken == slot)) else {
            return;
        };
        let file = match synced {
            Synced::File { fd } => self.state.fd(pid, fd),
            Synced::Range { .. } => None,
        };
        let now = sim.now();
        let any = sim.with(|m| {
            let covered = match synced {
                Synced::Range { start, len } => m.synced_by_msync(mm, start, start.saturating_add(len)),
                Synced::File { .. } => file.map(|file| (file, 0, MAX_PGOFF)).into_iter().collect(),
            };
            m.begin_sync(slot, &covered, now);
            !covered.is_empty()
        });
        if any {
            self.syncs.insert(pid, slot);
        }
    }

    /// A recorded sync call has returned.
    fn sync_ends(
        &mut self,
        sim: &mut Simulation,
        call: &RecordedCall,
        cpu: CpuId,
        name: &'static str,
        success: bool,
    ) {
        let Some(slot) = self.syncs.remove(&call.pid) else { return };
        let at = sim.now();
        let returned = Call { name, line: call.line, thread: call.pid as u16, cpu, at };
        sim.with(|m| m.end_sync(slot, at, success.then_some(returned)));
    }

    fn map_anonymous(
        &mut self,
        sim: &mut Simulation,
        call: &RecordedCall,
        cpu: CpuId,
        (start, end): (u64, u64),
        map: MapCall,
    ) -> Result<(), SimError> {
        /// `MAP_POPULATE` (include/uapi/asm-generic/mman-common.h).
        const MAP_POPULATE: u32 = 0x8000;
        let comm = self.comm(call.pid);
        let mm = self.state.mapped_anonymous(sim, call.pid, &comm, (start, end), map);
        if map.flags & MAP_POPULATE != 0 {
            let advice = Advice::Populate { write: map.prot & 2 != 0 };
            let action = Action::Advise { start, len: end - start, advice };
            self.step(sim, call.line, call.pid, cpu, Some(mm), action)?;
        }
        Ok(())
    }

    /// madvise, where it touches a known mapping.
    fn advise(
        &mut self,
        sim: &mut Simulation,
        call: &RecordedCall,
        cpu: CpuId,
        (start, len): (u64, u64),
        behavior: u32,
    ) -> Result<(), SimError> {
        let Some(len) = range_end(sim, start, len).map(|end| end - start) else {
            self.ignore(IMPOSSIBLE);
            return Ok(());
        };
        // include/uapi/asm-generic/mman-common.h
        let advice = match behavior {
            4 => Advice::DontNeed,
            14 => Advice::HugePage { allowed: true },
            15 => Advice::HugePage { allowed: false },
            22 => Advice::Populate { write: false },
            23 => Advice::Populate { write: true },
            // The others change nothing of a DAX mapping's tables.
            _ => return Ok(()),
        };
        self.on_mapping(sim, call, cpu, (start, len), Action::Advise { start, len, advice })
    }

    /// Runs a call on a range if the simulation has mappings there.
    fn on_mapping(
        &mut self,
        sim: &mut Simulation,
        call: &RecordedCall,
        cpu: CpuId,
        (start, len): (u64, u64),
        action: Action,
    ) -> Result<(), SimError> {
        match self.state.known_process(call.pid) {
            Some(mm) if sim.with(|m| m.mm(mm).intersects(start, start.saturating_add(len))) => {
                self.step(sim, call.line, call.pid, cpu, Some(mm), action)
            }
            _ => Ok(()),
        }
    }

    /// A call that changes a file that is mapped.
    fn change_file(
        &mut self,
        sim: &mut Simulation,
        call: &RecordedCall,
        cpu: CpuId,
        fd: i32,
        change: FileChange,
    ) -> Result<(), SimError> {
        let end = match change {
            FileChange::Truncated(size) => Some(size),
            FileChange::Written { len, .. } if len > MAX_WRITE => None,
            FileChange::Written { start, len } | FileChange::Allocated { start, len, .. } => {
                start.checked_add(len)
            }
        };
        if end.is_none_or(|end| end > i64::MAX as u64) {
            self.ignore(IMPOSSIBLE);
            return Ok(());
        }
        let Some(file) = self.state.file_of_fd(call.pid, fd) else {
            self.ignore("changes by system calls of files that no mapping has shown");
            return Ok(());
        };
        let action = match change {
            FileChange::Truncated(size) => Action::Truncate { file, size },
            FileChange::Written { start, len } => Action::Write { file, start, len },
            FileChange::Allocated { mode, start, len } => {
                // include/uapi/linux/falloc.h
                let mode = match mode & !1 {
                    0 => FallocMode::Allocate,
                    2 => FallocMode::Punch,
                    0x10 => FallocMode::Zero,
                    8 => FallocMode::Collapse,
                    _ => {
                        self.ignore("fallocate in modes that are not simulated");
                        return Ok(());
                    }
                };
                Action::Fallocate { file, mode, start, len }
            }
        };
        let mm = self.state.known_process(call.pid);
        self.step(sim, call.line, call.pid, cpu, mm, action)
    }

    /// Unmaps what the simulation has in a range that a call unmapped or mapped over.
    fn replace_mappings(
        &mut self,
        sim: &mut Simulation,
        call: &RecordedCall,
        cpu: CpuId,
        start: u64,
        len: u64,
    ) -> Result<(), SimError> {
        let Some(mm) = self.state.known_process(call.pid) else { return Ok(()) };
        if sim.with(|m| m.mm(mm).intersects(start, start.saturating_add(len))) {
            self.step(sim, call.line, call.pid, cpu, Some(mm), Action::Unmap { start, len })?;
        }
        Ok(())
    }

    fn step(
        &mut self,
        sim: &mut Simulation,
        line: u64,
        pid: u32,
        cpu: CpuId,
        mm: Option<crate::kernel::MmId>,
        action: Action,
    ) -> Result<(), SimError> {
        sim.step(Step { line, thread: pid as u16, cpu, mm, action }).map(|_| ())
    }

    fn fault(&mut self, sim: &mut Simulation, fault: &RecordedFault) -> Result<(), SimError> {
        let comm = self.comm(fault.pid);
        let mm = match &fault.dax {
            Some(dax) if fault.address.0 >= sim.with(|m| m.user_end()) || dax.pgoff > MAX_PGOFF => {
                self.ignore(IMPOSSIBLE);
                return Ok(());
            }
            Some(dax) => self.state.prepare(sim, fault, &comm, dax)?,
            None if self.state.is_known_dax(sim, fault.pid, fault.address) => {
                self.state.process(sim, fault.pid, &comm)
            }
            None => match self.state.prepare_other(sim, fault, &comm) {
                Ok(mm) => mm,
                Err(why) => {
                    self.ignore(why);
                    return Ok(());
                }
            },
        };
        let dax = sim.with(|m| m.mm(mm).find_vma(fault.address).is_some_and(Vma::is_dax));
        if fault.kernel {
            // The access is made from user mode all the same: the path below the entry is the same but for the VMA lock.
            self.ignore("kernel mode of faults taken in system calls (replayed as user accesses)");
        }
        let kind = match fault.error_code {
            code if code.is_write() => AccessKind::Write,
            code if code.is_fetch() => AccessKind::Fetch,
            _ => AccessKind::Read,
        };
        let cpu = self.fold(fault.cpu);
        sim.drain_faults();
        let access = Action::Access(Accesses::List(vec![(fault.address, kind)]));
        let stuck = match self.step(sim, fault.line, fault.pid, cpu, Some(mm), access) {
            // What came before contradicts this fault (events lost, say): one divergence, not the end of the replay.
            Err(SimError::Livelock { .. }) => true,
            result => result.map(|()| false)?,
        };
        if sim.crash().is_some() {
            // The power went in the middle of it: neither reproduced nor diverged.
            return Ok(());
        }
        let got = sim.drain_faults();
        let why =
            if stuck { Some("the simulated access faults for ever") } else { difference(fault, &got, dax) };
        let tally = if dax { &mut self.outcome.dax } else { &mut self.outcome.other };
        tally.recorded += 1;
        tally.reproduced += u64::from(why.is_none());
        tally.diverged += u64::from(why.is_some());
        if let Some(why) = why {
            self.diverge(fault, &got, why);
        }
        Ok(())
    }

    fn diverge(&mut self, fault: &RecordedFault, got: &[FaultRecord], why: &'static str) {
        *self.outcome.causes.entry(why).or_default() += 1;
        if self.outcome.divergences.len() < EXAMPLES {
            let mut simulated: Vec<String> = got.iter().take(FAULTS_SHOWN).map(show_simulated).collect();
            if got.len() > FAULTS_SHOWN {
                simulated.push(format!("and {} more", got.len() - FAULTS_SHOWN));
            }
            self.outcome.divergences.push(Divergence {
                line: fault.line,
                time_ns: fault.time_ns,
                address: fault.address,
                recorded: show_recorded(fault),
                simulated: if simulated.is_empty() { "no fault".to_owned() } else { simulated.join("; ") },
                why,
            });
        }
    }
}

/// The end of a page-aligned, non-empty range of the user half; its length is rounded up as the kernel does.
fn range_end(sim: &Simulation, start: u64, len: u64) -> Option<u64> {
    let len = len.checked_next_multiple_of(4096).filter(|len| *len > 0)?;
    let limit = sim.with(|m| m.user_end());
    start.checked_add(len).filter(|end| start.is_multiple_of(4096) && *end <= limit)
}

/// What differs first, in the order of importance. Entries are compared in DAX mappings only: outside, those made before the
/// trace began are not known.
fn difference(fault: &RecordedFault, got: &[FaultRecord], dax: bool) -> Option<&'static str> {
    let [one] = got else {
        return Some(if got.is_empty() {
            "no fault was simulated"
        } else {
            "more than one fault was simulated"
        });
    };
    // The mode bit is not compared: accesses of system calls are replayed from user mode.
    let user = daxsim_types::ErrorCode::USER;
    if fault.error_code.0 | user != one.error_code.0 | user {
        return Some("error code");
    }
    if fault.ret.is_some() && fault.ret != one.ret {
        return Some("return value");
    }
    if !dax {
        return None;
    }
    let differs = |want: Option<u64>, got: Option<Entry>| {
        want.is_some_and(|want| got.is_none_or(|got| got.without_frame() != Entry(want).without_frame()))
    };
    if differs(fault.old, one.old) {
        return Some("old entry");
    }
    differs(fault.new, one.new).then_some("new entry")
}

fn show_recorded(fault: &RecordedFault) -> String {
    let hex = |v: Option<u64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v:#x}"));
    let ret = fault.ret.map_or_else(|| "-".to_owned(), |r| r.to_string());
    format!("error {}, {} -> {}, returned {ret}", fault.error_code, hex(fault.old), hex(fault.new))
}

fn show_simulated(fault: &FaultRecord) -> String {
    let entry = |e: Option<Entry>| e.map_or_else(|| "-".to_owned(), |e| e.to_string());
    let ret = fault.ret.map_or_else(|| "-".to_owned(), |r| r.to_string());
    format!("error {}, {} -> {}, returned {ret}", fault.error_code, entry(fault.old), entry(fault.new))
}
