//! The instructions that invalidate cached translations of their own CPU, each dropping exactly what Intel SDM vol. 3, 4.10.4.1
//! says it must. What the second stage has cached stays: it belongs to the hypervisor.

use daxsim_types::{Pfn, VirtAddr};

use super::rights::Control;
use crate::machine::Machine;
use crate::measure::Constant;

/// What an INVPCID invalidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invpcid {
    /// Type 0: one address under one PCID, global pages aside.
    Address(u16, VirtAddr),
    /// Type 1: a whole PCID, global pages aside.
    Context(u16),
    /// Type 2: everything.
    AllWithGlobals,
    /// Type 3: everything but global pages.
    All,
}

impl Machine {
    /// INVLPG: the entries of the page under the current PCID go, a global page's under any, and all paging-structure entries of
    /// the PCID. If the page is a large one of which pieces are cached, all of them go.
    pub fn invlpg(&mut self, index: usize, va: VirtAddr) {
        let cost = self.spec.cost.invlpg;
        let cpu = &mut self.cpus[index];
        cpu.spend_constant(Constant::Invlpg, cost);
        cpu.tlbs.drop_page(va, cpu.pcid);
        cpu.psc.invlpg(cpu.pcid);
    }

    /// INVPCID.
    pub fn invpcid(&mut self, index: usize, what: Invpcid) {
        let costs = &self.spec.cost;
        let (of, cost) = match what {
            Invpcid::Address(..) => (Constant::Invpcid, costs.invpcid),
            Invpcid::Context(_) | Invpcid::AllWithGlobals | Invpcid::All => {
                (Constant::InvpcidContext, costs.invpcid_context)
            }
        };
        let cpu = &mut self.cpus[index];
        cpu.spend_constant(of, cost);
        match what {
            Invpcid::Address(pcid, va) => {
                cpu.tlbs.drop_page_of(va, pcid);
                cpu.psc.drop_page(va, pcid);
            }
            Invpcid::Context(pcid) => {
                cpu.tlbs.flush_pcid(pcid);
                cpu.psc.flush_pcid(pcid);
            }
            Invpcid::AllWithGlobals | Invpcid::All => {
                cpu.tlbs.flush_all(what == Invpcid::AllWithGlobals);
                cpu.psc.flush_all();
            }
        }
    }

    /// MOV to CR3. Without `noflush` (bit 63) what is cached under the new PCID goes, global pages aside. Without CR4.PCIDE there
    /// is neither that bit nor a PCID but 0.
    pub fn mov_cr3(&mut self, index: usize, root: Pfn, pcid: u16, noflush: bool) {
        let cost = self.spec.cost.cr3_write;
        let cpu = &mut self.cpus[index];
        cpu.spend_constant(Constant::Cr3Write, cost);
        cpu.cr3 = root;
        cpu.pcid = if cpu.control.pcide { pcid } else { 0 };
        if !(noflush && cpu.control.pcide) {
            cpu.tlbs.flush_pcid(cpu.pcid);
            cpu.psc.flush_pcid(cpu.pcid);
        }
    }

    /// MOV to CR4. A change of PGE, and PCIDE cleared, drop everything; SMEP set drops what is cached under the current PCID.
    pub fn mov_cr4(&mut self, index: usize, new: Control) {
        let cost = self.spec.cost.cr4_write;
        let cpu = &mut self.cpus[index];
        cpu.spend_constant(Constant::Cr4Write, cost);
        let old = cpu.control;
        // CR0 is another register.
        cpu.control = Control { wp: old.wp, ..new };
        if old.pge != new.pge || (old.pcide && !new.pcide) {
            cpu.tlbs.flush_all(true);
            cpu.psc.flush_all();
        } else if !old.smep && new.smep {
            cpu.tlbs.flush_pcid(cpu.pcid);
            cpu.psc.flush_pcid(cpu.pcid);
        }
        if !new.pcide {
            cpu.pcid = 0;
        }
    }
}
