//! Remote action requests (Intel RAR, white paper 341431): a CPU writes what is to be invalidated into a table of the machine and a
//! mark into the action vector of each target, and sends an interrupt that the target's microcode serves, interrupts masked or not:
//! it invalidates and clears the mark, which the sender waits for. No time of it has been published.

use daxsim_types::{CacheLine, CpuId, Time};

use super::{Addressing, Vector};
use crate::engine::Cx;
use crate::kernel::{KernelLines, LineName};
use crate::machine::Machine;
use crate::measure::{Constant, Part};
use crate::memory::Access;
use crate::mmu::broadcast::Broadcast;

/// A request that a target has not served.
#[derive(Clone, Copy, Debug)]
struct Pending {
    target: CpuId,
    initiator: CpuId,
    payload: CacheLine,
    action: Broadcast,
    /// When the mark was made.
    asked: Time,
}

/// The payload table and the action vectors.
#[derive(Debug, Default)]
pub(crate) struct RarTable {
    /// Entries in use.
    used: Vec<bool>,
    /// Line of the bitmap that says so, of the entries, of the vectors.
    lines: Vec<CacheLine>,
    pending: Vec<Pending>,
    /// CPUs that wait for an entry, the first to come in front.
    waiters: Vec<usize>,
}

impl RarTable {
    /// A table of so many entries, and a vector for each CPU.
    pub fn new(entries: u32, cpus: u16, lines: &mut KernelLines) -> Self {
        let mut table = Self { used: vec![false; entries as usize], ..Self::default() };
        if entries > 0 {
            let (first, count) =
                lines.reserve(1 + u64::from(entries) + u64::from(cpus), LineName::RemoteActions);
            let wanted = 1 + u64::from(entries) + u64::from(cpus);
            table.lines = (0..wanted).map(|n| CacheLine(first.0 + n % count)).collect();
        }
        table
    }

    fn bitmap(&self) -> CacheLine {
        self.lines.first().copied().unwrap_or(CacheLine(0))
    }

    fn payload(&self, entry: usize) -> CacheLine {
        self.lines.get(1 + entry).copied().unwrap_or(CacheLine(0))
    }

    fn vector(&self, cpu: CpuId) -> CacheLine {
        self.lines.get(1 + self.used.len() + cpu.index()).copied().unwrap_or(CacheLine(0))
    }

    fn take(&mut self) -> Option<usize> {
        let entry = self.used.iter().position(|used| !used)?;
        self.used[entry] = true;
        Some(entry)
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && !self.used.iter().any(|used| *used)
    }
}

/// Asks `targets`, in ascending order and without this CPU, for an invalidation, makes it here meanwhile by `own`, and waits for all.
pub(crate) async fn remote_action(
    cx: &Cx<'_>,
    targets: &[CpuId],
    action: Broadcast,
    how: Addressing,
    own: impl FnOnce(&mut Machine),
) {
    let (me, index) = (cx.cpu(), cx.cpu().index());
    let entry = take_entry(cx).await;
    let payload = cx.with(|m| m.rar.payload(entry));
    cx.store(payload).await;
    cx.on_cpu(|c| c.answered = c.now);
    for target in targets.iter().copied() {
        let line = cx.with(|m| m.rar.vector(target));
        cx.store(line).await;
        cx.with(|m| {
            m.cpus[index].pending_answers += 1;
            let asked = m.cpus[index].now;
            m.rar.pending.push(Pending { target, initiator: me, payload, action, asked });
        });
    }
    cx.sync().await;
    cx.with(|m| {
        m.measure.shootdowns.remote_actions += targets.len() as u64;
        m.measure.over_time.interrupts(m.cpus[index].now, targets.len());
        m.send_ipi(cx.sys(), me, targets, (how, Vector::RemoteAction));
        own(m);
    });
    wait(cx, targets).await;
    let bitmap = cx.with(|m| m.rar.bitmap());
    cx.rmw(bitmap).await;
    let next = cx.with(|m| {
        m.rar.used[entry] = false;
        if m.rar.waiters.is_empty() { None } else { Some(m.rar.waiters.remove(0)) }
    });
    if let Some(next) = next {
        cx.wake(next);
    }
}

/// An entry of the table, waiting for one if all are in use.
async fn take_entry(cx: &Cx<'_>) -> usize {
    loop {
        let bitmap = cx.with(|m| m.rar.bitmap());
        cx.rmw(bitmap).await;
        let entry = cx.with(|m| {
            let entry = m.rar.take();
            if entry.is_none() {
                let index = cx.cpu().index();
                m.rar.waiters.push(index);
                m.block(index, Part::Locks);
            }
            entry
        });
        match entry {
            Some(entry) => return entry,
            None => cx.blocked().await,
        }
    }
}

async fn wait(cx: &Cx<'_>, targets: &[CpuId]) {
    let began = cx.now();
    cx.wait_for_answers().await;
    // As with the answers to interrupts: the loop is predicted to find every mark cleared.
    let mut marks = cx.stores();
    for target in targets {
        let line = cx.with(|m| m.rar.vector(*target));
        marks.load(line).await;
    }
    marks.finish();
    if !targets.is_empty() {
        let waited = cx.now().saturating_sub(began);
        cx.with(|m| m.measure.shootdown_times.wait.record(waited));
    }
}

impl Machine {
    /// A target serves every request in its vector.
    pub(crate) fn serve_remote_actions(&mut self, sys: &crate::engine::Sys, index: usize) {
        let target = CpuId(index as u16);
        let began = self.cpus[index].now;
        let interrupted = std::mem::replace(&mut self.cpus[index].part, Part::IpiHandler);
        let vector = self.rar.vector(target);
        while let Some(at) = self.rar.pending.iter().position(|pending| pending.target == target) {
            let Pending { initiator, payload, action, asked, .. } = self.rar.pending.remove(at);
            let own = self.spec.ipi.rar_action;
            self.cpus[index].spend_constant(Constant::RarAction, own);
            self.kernel_access_as(index, vector, Access::Read, Part::IpiHandler);
            self.kernel_access_as(index, payload, Access::Read, Part::IpiHandler);
            self.invalidate_as_asked(index, action);
            self.kernel_access_as(index, vector, Access::Write, Part::IpiHandler);
            let answered = self.cpus[index].now;
            let pair = self.measure.shootdown_pairs.between(initiator, target);
            match action {
                Broadcast::Pages { count, .. } => pair.pages += count,
                Broadcast::Pcid(_) | Broadcast::AllNonGlobal => pair.full_flushes += 1,
            }
            pair.answered(answered.saturating_sub(asked));
            self.answer(sys, initiator, answered);
        }
        self.cpus[index].part = interrupted;
        let took = self.cpus[index].now.saturating_sub(began);
        self.measure.shootdowns.responder_time += took;
        self.measure.shootdown_times.disruption.record(took);
    }

    /// Carries an invalidation out on one CPU: each page at the price of an INVPCID, a PCID at that of its context.
    pub(crate) fn invalidate_as_asked(&mut self, index: usize, action: Broadcast) {
        let costs = &self.spec.cost;
        let cost = match action {
            Broadcast::Pages { count, .. } => daxsim_types::Time(costs.invpcid.0 * count),
            Broadcast::Pcid(_) | Broadcast::AllNonGlobal => costs.invpcid_context,
        };
        let cpu = &mut self.cpus[index];
        cpu.spend(cost);
        action.reach(&mut cpu.tlbs, &mut cpu.psc);
    }
}
