//! Interrupts between CPUs: local APICs in x2APIC mode (Intel SDM vol. 3, 10.12).
//!
//! A sender writes the interrupt command register, once or more: each write names one CPU, up to sixteen of a cluster, or all but
//! the sender. The writes of a CPU go one after another. How long the interrupt is on its way depends on how far apart the two are.
//! What the target does then is the kernel's.

mod rar;

use daxsim_configs::machine::MachineSpec;
use daxsim_types::{CpuId, Time};

use crate::engine::{Moment, Sys};
use crate::machine::Machine;
use crate::memory::topology::{Distance, Topology};

pub(crate) use rar::{RarTable, remote_action};

/// What an interrupt asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vector {
    /// `CALL_FUNCTION_VECTOR`: the target's call queue has something.
    CallFunction,
    /// `RAR_VECTOR`: the target's action vector has something. No software runs.
    RemoteAction,
    /// The tick at which the target sweeps the states of lazy flushes. Nobody sends it.
    LazySweep,
}

/// An interrupt on its way to, or waiting at, a target.
#[derive(Clone, Copy, Debug)]
pub struct Interrupt {
    /// When the target's local APIC accepts it.
    pub arrives: Time,
    /// What it asks for.
    pub vector: Vector,
}

/// How a write of the ICR names its targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// Physical mode: one CPU.
    Unicast,
    /// Logical mode: CPUs of one cluster.
    Cluster,
    /// The shorthand: every CPU but the sender.
    AllButSelf,
}

/// Bits of an x2APIC ID that number the CPUs of a cluster (Intel SDM vol. 3, 10.12.10.2).
const CLUSTER_BITS: u32 = 4;

/// Who is reached by what, and how fast.
pub(crate) struct Fabric {
    ids: Vec<u32>,
    topology: Topology,
    /// To the same complex, to the same socket, to another socket.
    delivery: [Time; 3],
    icr_write: Time,
}

impl Fabric {
    pub fn new(spec: &MachineSpec) -> Self {
        let topology = Topology::new(spec);
        let ipi = &spec.ipi;
        let near = ipi.delivery + ipi.injection;
        Self {
            ids: apic_ids(&topology, usize::from(spec.cpu.count)),
            topology,
            delivery: [near, near + ipi.delivery_socket, near + ipi.delivery_remote],
            icr_write: ipi.icr_write + ipi.icr_exit,
        }
    }

    /// How many of `targets`, from the first on, one write of the ICR reaches. They are in ascending order.
    fn reach(&self, targets: &[CpuId], how: Addressing) -> usize {
        let cluster = |cpu: CpuId| self.ids[cpu.index()] >> CLUSTER_BITS;
        match (how, targets) {
            (_, []) => 0,
            (Addressing::Unicast, _) => 1,
            (Addressing::AllButSelf, all) => all.len(),
            (Addressing::Cluster, [first, ..]) => {
                targets.iter().take_while(|cpu| cluster(**cpu) == cluster(*first)).count()
            }
        }
    }

    fn delivery(&self, from: usize, to: usize) -> Time {
        self.delivery[match self.topology.distance(from, to) {
            Distance::Complex => 0,
            Distance::Socket => 1,
            Distance::Remote => 2,
        }]
    }
}

/// x2APIC IDs: each socket begins at a multiple of a power of two, as the shifts of CPUID leaf 0BH say.
fn apic_ids(topology: &Topology, cpus: usize) -> Vec<u32> {
    let first = |socket| (0..cpus).find(|cpu| topology.socket(*cpu) == socket).unwrap_or_default();
    let most = (0..cpus).map(|cpu| cpu - first(topology.socket(cpu)) + 1).max().unwrap_or(1);
    let width = most.next_power_of_two();
    (0..cpus)
        .map(|cpu| {
            let socket = topology.socket(cpu);
            (socket * width + cpu - first(socket)) as u32
        })
        .collect()
}

impl Machine {
    /// Sends an interrupt to `targets`, which ascend and do not hold the sender.
    pub(crate) fn send_ipi(
        &mut self,
        sys: &Sys,
        sender: CpuId,
        targets: &[CpuId],
        (how, vector): (Addressing, Vector),
    ) {
        let mut rest = targets;
        while !rest.is_empty() {
            let (reached, later) = rest.split_at(self.fabric.reach(rest, how));
            self.cpus[sender.index()].spend(self.fabric.icr_write);
            let sent = self.cpus[sender.index()].now;
            self.measure.shootdowns.icr_writes += 1;
            for target in reached {
                let arrives = sent + self.fabric.delivery(sender.index(), target.index());
                sys.tell_sent((sender, *target), sent, arrives);
                sys.pull_horizon(self.post(*target, Interrupt { arrives, vector }));
            }
            rest = later;
        }
    }

    /// Writes the ICR in physical mode; when the write was done, and when the target's local APIC accepts the interrupt.
    pub(crate) fn write_icr(&mut self, sender: CpuId, target: CpuId) -> (Time, Time) {
        self.cpus[sender.index()].spend(self.fabric.icr_write);
        let sent = self.cpus[sender.index()].now;
        (sent, sent + self.fabric.delivery(sender.index(), target.index()))
    }

    /// Puts an interrupt into the inbox of a target; when the target can take it.
    pub(crate) fn post(&mut self, target: CpuId, interrupt: Interrupt) -> Moment {
        self.turns.change(target.index());
        let cpu = &mut self.cpus[target.index()];
        let at = cpu.inbox.partition_point(|other| other.arrives <= interrupt.arrives);
        cpu.inbox.insert(at, interrupt);
        cpu.give_up(|foresight| foresight.end_at(interrupt.arrives));
        Moment { time: interrupt.arrives.max(cpu.now), cpu: target.index() }
    }
}

#[cfg(test)]
mod tests {
    use daxsim_configs::{Override, load_machine};

    use super::*;

    fn fabric(set: &[&str]) -> Fabric {
        let set: Vec<Override> = set.iter().map(|text| Override::parse(text).unwrap()).collect();
        Fabric::new(&load_machine("skylake-sp-optane", &set).unwrap())
    }

    /// The targets of each write.
    fn writes(fabric: &Fabric, targets: &[u16], how: Addressing) -> Vec<Vec<u16>> {
        let targets: Vec<CpuId> = targets.iter().copied().map(CpuId).collect();
        let (mut rest, mut writes) = (targets.as_slice(), Vec::new());
        while !rest.is_empty() {
            let (reached, later) = rest.split_at(fabric.reach(rest, how));
            writes.push(reached.iter().map(|cpu| cpu.0).collect());
            rest = later;
        }
        writes
    }

    #[test]
    fn one_icr_write_serves_a_cluster() {
        let fabric = fabric(&["cpu.count=64"]);
        let by_cluster = |targets: &[u16]| writes(&fabric, targets, Addressing::Cluster);
        assert_eq!(by_cluster(&[]), Vec::<Vec<u16>>::new());
        assert_eq!(by_cluster(&[1, 2, 15]), [[1, 2, 15]]);
        assert_eq!(by_cluster(&[1, 16, 17, 40]), [vec![1], vec![16, 17], vec![40]]);
        assert_eq!(writes(&fabric, &[1, 16, 17, 40], Addressing::Unicast).len(), 4);
        assert_eq!(writes(&fabric, &[1, 16, 17, 40], Addressing::AllButSelf).len(), 1);
    }

    #[test]
    fn no_cluster_has_cpus_of_two_sockets() {
        let two = fabric(&["cpu.count=48", "topology.sockets=2"]);
        assert_eq!((two.ids[23], two.ids[24], two.ids[47]), (23, 32, 55));
        assert_eq!(writes(&two, &[20, 23, 24, 25], Addressing::Cluster), [[20, 23], [24, 25]]);
    }

    #[test]
    fn an_interrupt_takes_longer_to_another_complex_and_another_socket() {
        let far = fabric(&[
            "cpu.count=8",
            "topology.sockets=2",
            "topology.cores_per_complex=2",
            "ipi.delivery=100 ns",
            "ipi.delivery_socket=20 ns",
            "ipi.delivery_remote=300 ns",
        ]);
        let times: Vec<u64> = [1, 2, 3, 4, 7].map(|to| far.delivery(0, to).as_ns() as u64).to_vec();
        assert_eq!(times, [100, 120, 120, 400, 400]);
    }

    #[test]
    fn a_hypervisor_adds_to_the_write_and_to_the_delivery() {
        let bare = fabric(&[]);
        let guest = fabric(&["ipi.icr_exit=1500 ns", "ipi.injection=400 ns"]);
        assert_eq!(guest.icr_write, bare.icr_write + Time::from_ns(1500));
        assert_eq!(guest.delivery(0, 1), bare.delivery(0, 1) + Time::from_ns(400));
    }
}
