//! Inter-processor interrupts: who is told to flush what, and when it arrives.

use daxsim_types::{CpuId, Time};

use crate::kernel::flush::FlushInfo;

/// A shootdown interrupt on its way to, or waiting at, a target.
#[derive(Clone, Copy, Debug)]
pub struct ShootdownIpi {
    /// When the target's local APIC accepts it.
    pub arrives: Time,
    /// Who waits for the answer.
    pub initiator: CpuId,
    /// What to flush.
    pub info: FlushInfo,
}

/// x2APIC cluster mode: one ICR write reaches up to 16 CPUs of one cluster (Intel SDM vol. 3, 10.12.10.2).
pub const CLUSTER_CPUS: u16 = 16;

/// Number of ICR writes that reach every CPU of `targets` (ascending) in cluster mode.
#[must_use]
pub fn icr_writes(targets: &[CpuId]) -> u32 {
    let mut writes = 0;
    let mut last = None;
    for target in targets {
        let cluster = target.0 / CLUSTER_CPUS;
        if last != Some(cluster) {
            writes += 1;
            last = Some(cluster);
        }
    }
    writes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_icr_write_serves_a_cluster() {
        assert_eq!(icr_writes(&[]), 0);
        assert_eq!(icr_writes(&[CpuId(1), CpuId(2), CpuId(15)]), 1);
        assert_eq!(icr_writes(&[CpuId(1), CpuId(16), CpuId(17), CpuId(40)]), 3);
    }
}
