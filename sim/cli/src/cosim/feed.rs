//! From the records of a ring to accesses of the machine.

use std::ops::Range;

use anyhow::{Context, Result};
use daxsim_ring::{Access as Streamed, Batch, Control, Item, Op};
use daxsim_sim::bare::{Access, Bare, kind};
use daxsim_traces::script::marks;
use daxsim_types::PageSize;

use super::faults::Faults;
use super::interrupts::Interrupts;
use super::lines::Lines;
use super::runs::Run;
use crate::stream::SharedMemory;

/// What of the stream is not made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Registers of devices.
    pub devices: u64,
    /// Memory of which the emulator does not know where it is.
    pub unknown: u64,
}

/// What is known of address spaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Roots {
    /// Nothing: all share one.
    #[default]
    None,
    /// Roots, and changes of translations; tables are made of pairs of addresses.
    Known,
    /// As well, and the tables are read from the guest's memory.
    Read,
}

/// Who makes an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    /// The program.
    User,
    /// The kernel for it, or for itself.
    Kernel,
    /// An interrupt, or what comes nested in one.
    Interrupt,
}

/// The machine, with the stream that goes in.
pub struct Feed {
    pub machine: Bare,
    pub left_out: LeftOut,
    pub faults: Faults,
    pub lines: Lines,
    maps: Range<u64>,
    /// The guest's memory, until a root in it is known.
    tables: Option<SharedMemory>,
    /// Whether a root was loaded, and whether its tables are the guest's own.
    pub roots: Roots,
    /// What the kernel does at the moment, by CPU.
    runs: Vec<Run>,
    pub interrupts: Interrupts,
    /// Records of the batch that is under way, and who made each.
    accesses: Vec<Access>,
    makers: Vec<Maker>,
    /// Instructions of each vCPU before accesses that were left out.
    carried: Vec<u64>,
}

impl Feed {
    /// Accesses to `maps`, virtual addresses, are looked at wherever they lead: to a hole's page of zeroes, or a copy.
    pub fn new(machine: Bare, maps: Range<u64>) -> Self {
        let pmem = &machine.spec().pmem;
        let cpus = machine.cpus();
        Self {
            left_out: LeftOut::default(),
            faults: Faults::new(cpus, pmem.base..pmem.base + pmem.capacity),
            lines: Lines::new(cpus),
            maps,
            tables: None,
            roots: Roots::None,
            runs: vec![Run::default(); cpus],
            interrupts: Interrupts::new(cpus),
            accesses: Vec::new(),
            makers: Vec::new(),
            carried: vec![0; cpus],
            machine,
        }
    }

    /// Makes the accesses of a batch.
    ///
    /// # Errors
    ///
    /// A vCPU or an access that the machine does not have.
    pub fn batch(&mut self, batch: &Batch) -> Result<()> {
        let count = self.machine.cpus();
        let cpu = u16::try_from(batch.vcpu).ok().filter(|cpu| usize::from(*cpu) < count);
        let cpu = cpu.with_context(|| {
            format!("vCPU {} of the guest, but the machine has {count}: raise cpu.count", batch.vcpu)
        })?;
        for item in batch.items() {
            match item {
                Item::Access(streamed) => self.convert(cpu, &streamed),
                Item::Control(control) => {
                    self.make(cpu)?;
                    self.control(cpu, control)?;
                }
            }
        }
        self.make(cpu)
    }

    /// Tables are read from there, once a root is known.
    pub fn read_tables_from(&mut self, memory: Option<SharedMemory>) {
        self.tables = memory;
    }

    fn control(&mut self, cpu: u16, control: Control) -> Result<()> {
        match control {
            Control::Root(root) => {
                if self.roots == Roots::None {
                    self.begin_with(root.0)?;
                }
                // The lowest bits say how the root is cached, or, with PCIDs, which this is: QEMU has none.
                self.machine.mov_cr3(cpu, root.0 & !0xfff, 0, false)?;
            }
            Control::Page(at) => _ = self.machine.invlpg(cpu, at.0)?,
            Control::All => _ = self.machine.flush_all(cpu)?,
        }
        Ok(())
    }

    /// The first root: from now on no CPU is without one.
    fn begin_with(&mut self, root: u64) -> Result<()> {
        self.roots = Roots::Known;
        if let Some(memory) = self.tables.take() {
            self.machine.set_guest_memory(Box::new(memory));
            self.roots = Roots::Read;
        }
        for cpu in 0..self.machine.cpus() as u16 {
            self.machine.mov_cr3(cpu, root & !0xfff, 0, false)?;
        }
        Ok(())
    }

    /// Makes the accesses that were converted.
    fn make(&mut self, cpu: u16) -> Result<()> {
        let (accesses, makers) = (std::mem::take(&mut self.accesses), std::mem::take(&mut self.makers));
        let mut rest = accesses.as_slice();
        for same in makers.chunk_by(|one, next| one == next) {
            let (chunk, more) = rest.split_at(same.len().min(rest.len()));
            rest = more;
            self.make_chunk(cpu, same.first().copied().unwrap_or(Maker::User), chunk)?;
        }
        (self.accesses, self.makers) = (accesses, makers);
        self.accesses.clear();
        self.makers.clear();
        Ok(())
    }

    /// Makes accesses of one maker.
    fn make_chunk(&mut self, cpu: u16, maker: Maker, chunk: &[Access]) -> Result<()> {
        if maker == Maker::User {
            for access in chunk {
                self.machine.access(access).context("an access of the guest")?;
                self.look(cpu, access);
            }
            return Ok(());
        }
        let begun = self.machine.now(cpu);
        self.machine
            .run(chunk, |_, _| {})
            .map_err(|(_, error)| error)
            .context("an access of the guest's kernel")?;
        let run = &mut self.runs[usize::from(cpu)];
        match maker {
            Maker::Interrupt => run.skip(self.machine.now(cpu).saturating_sub(begun)),
            _ => run.add(begun, chunk),
        }
        Ok(())
    }

    /// What an access of the program says of the kernel before it.
    #[inline]
    fn look(&mut self, cpu: u16, access: &Access) {
        if self.faults.is_dax(access) || self.maps.contains(&access.va) {
            self.look_at_dax(cpu, access);
        } else if marks::ALL.contains(&access.va) {
            self.look_at_mark(cpu, access);
        } else if self.lines.is_in(cpu) {
            // What the kernel did before an access of another kind was a call of the system, or an interrupt among accesses.
            if self.lines.own(cpu, access) {
                self.runs[usize::from(cpu)].hold(access);
            }
        } else {
            self.runs[usize::from(cpu)].hold(access);
        }
    }

    fn look_at_dax(&mut self, cpu: u16, access: &Access) {
        let run = &mut self.runs[usize::from(cpu)];
        if !run.leads_to(access) {
            run.clear();
            self.faults.alone(cpu, access);
            return self.lines.access(cpu, access, None);
        }
        let size = self.machine.mapped(cpu, access.va).map_or(PageSize::Size4K, |(_, size)| size);
        let way = run.end(Some((access, size.bytes())), self.machine.now(cpu));
        let large = size != PageSize::Size4K;
        let kind = self.faults.after_kernel(cpu, access, way, (self.roots == Roots::Read).then_some(large));
        self.lines.access(cpu, access, Some((way, kind, large)));
    }

    fn look_at_mark(&mut self, cpu: u16, access: &Access) {
        let Some(mark) = marks::of(access.va) else { return };
        let run = &mut self.runs[usize::from(cpu)];
        let way = run.leads_to(access).then(|| run.end(None, self.machine.now(cpu)));
        self.lines.mark(cpu, mark, way);
    }

    /// Adds an access of a batch.
    #[inline]
    fn convert(&mut self, cpu: u16, streamed: &Streamed) {
        let maker = match (streamed.user, self.interrupts.has(cpu, streamed)) {
            (true, _) => Maker::User,
            (false, false) => Maker::Kernel,
            (false, true) => Maker::Interrupt,
        };
        let carried = &mut self.carried[usize::from(cpu)];
        *carried += u64::from(streamed.gap);
        if streamed.device {
            self.left_out.devices += 1;
        } else if streamed.op == Op::Locked
            && self.accesses.last().is_some_and(|load| is_load_of(load, streamed))
        {
            // The machine does both at once, with the line held.
            self.accesses.last_mut().into_iter().for_each(|load| load.kind = kind::LOCKED);
        } else if let Some(access) = access_of(cpu, streamed) {
            let instructions = u32::try_from(*carried).unwrap_or(u32::MAX);
            *carried -= u64::from(instructions);
            self.accesses.push(access.after(instructions));
            self.makers.push(maker);
        } else {
            self.left_out.unknown += 1;
        }
    }
}

/// Whether an access is the load that the store of an atomic instruction follows.
#[inline]
fn is_load_of(load: &Access, store: &Streamed) -> bool {
    load.kind == kind::LOAD && load.va == store.va.0 && store.gap == 0
}

/// The access of a record, if its place is known.
#[inline]
fn access_of(cpu: u16, streamed: &Streamed) -> Option<Access> {
    let (va, pa) = (streamed.va.0, streamed.pa?.0);
    let access = match streamed.op {
        Op::Load => Access::load(cpu, va, pa),
        Op::Store | Op::Locked => Access::store(cpu, va, pa),
    };
    let access = access.sized(streamed.size.into());
    // Linux maps the upper half by global pages, but with page-table isolation.
    let access = if va >> 63 == 0 { access } else { access.global() };
    Some(if streamed.user { access } else { access.by_kernel() })
}
