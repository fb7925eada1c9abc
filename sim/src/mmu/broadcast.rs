//! INVLPGB and TLBSYNC: invalidations that reach the TLBs of every CPU without an interrupt (AMD APM vol. 3).
//!
//! INVLPGB only starts an invalidation; TLBSYNC waits until all that its CPU started have taken effect everywhere. They may
//! take effect at any time between. Here they do at the end of TLBSYNC: until then software may count on nothing.

use daxsim_types::VirtAddr;

use super::psc::Psc;
use super::tlbs::Tlbs;
use crate::engine::Cx;
use crate::machine::Machine;
use crate::measure::Constant;

/// What one INVLPGB invalidates on every CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broadcast {
    /// `count` pages at a stride, under one PCID, with the paging-structure entries of that PCID.
    Pages {
        /// PCID.
        pcid: u16,
        /// First address.
        start: u64,
        /// Pages.
        count: u64,
        /// log2 of the distance between pages.
        stride_shift: u32,
    },
    /// Everything under one PCID but global pages.
    Pcid(u16),
    /// Everything but global pages.
    AllNonGlobal,
}

impl Broadcast {
    /// Takes effect on one CPU.
    pub(crate) fn reach(self, tlbs: &mut Tlbs, psc: &mut Psc) {
        match self {
            Self::Pages { pcid, start, count, stride_shift } => {
                for page in 0..count {
                    tlbs.drop_page(VirtAddr(start + (page << stride_shift)), pcid);
                }
                psc.invlpg(pcid);
            }
            Self::Pcid(pcid) => {
                tlbs.flush_pcid(pcid);
                psc.flush_pcid(pcid);
            }
            Self::AllNonGlobal => {
                tlbs.flush_all(false);
                psc.flush_all();
            }
        }
    }
}

/// INVLPGB: starts an invalidation on every CPU.
pub(crate) fn invlpgb(cx: &Cx<'_>, broadcast: Broadcast) {
    cx.with(|m| {
        let cost = m.spec.cost.invlpgb;
        let cpu = &mut m.cpus[cx.cpu().index()];
        cpu.spend_constant(Constant::Invlpgb, cost);
        cpu.broadcasts.push(broadcast);
        m.measure.shootdowns.invlpgb += 1;
    });
}

/// TLBSYNC: waits until what this CPU started has reached every CPU.
pub(crate) async fn tlbsync(cx: &Cx<'_>) {
    let cost = cx.with(|m| {
        m.measure.shootdowns.tlbsync += 1;
        m.spec.cost.tlbsync
    });
    cx.spend(cost);
    cx.sync().await;
    cx.with(|m| m.finish_broadcasts(cx.cpu().index()));
}

impl Machine {
    fn finish_broadcasts(&mut self, index: usize) {
        self.recall();
        for broadcast in std::mem::take(&mut self.cpus[index].broadcasts) {
            for cpu in &mut self.cpus {
                broadcast.reach(&mut cpu.tlbs, &mut cpu.psc);
            }
        }
    }
}
