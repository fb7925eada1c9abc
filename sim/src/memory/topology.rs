//! Which cores share an L3, which a socket, and how far apart they are.

use daxsim_configs::machine::MachineSpec;
use daxsim_types::{CacheLine, LINE_BYTES, Time};

use super::directory::CoreSet;

/// How far two cores are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distance {
    /// They share an L3.
    Complex,
    /// They are in one socket.
    Socket,
    /// They are in different sockets.
    Remote,
}

/// Core complexes and sockets.
pub(crate) struct Topology {
    complex_of: Vec<u16>,
    /// The socket of each complex.
    socket_of: Vec<u16>,
    within: Time,
    socket: Time,
    remote: Time,
    memory: Option<RemoteMemory>,
}

/// Memory that is farther for some: main memory and persistent memory are divided evenly over the sockets.
struct RemoteMemory {
    extra: Time,
    sockets: u64,
    dram_lines: u64,
    pmem_first: u64,
    pmem_lines: u64,
}

impl Topology {
    pub fn new(spec: &MachineSpec) -> Self {
        let cores = usize::from(spec.cpu.count).max(1);
        let sockets = (spec.topology.sockets.max(1) as usize).min(cores);
        let per_socket = cores.div_ceil(sockets);
        let per_complex = match spec.topology.cores_per_complex as usize {
            0 => per_socket,
            n => n.min(per_socket),
        };
        let complexes = per_socket.div_ceil(per_complex);
        let place = |core: usize| (core / per_socket, core % per_socket / per_complex);
        let extra = spec.topology.remote_memory;
        Self {
            complex_of: (0..cores).map(place).map(|(socket, n)| (socket * complexes + n) as u16).collect(),
            socket_of: (0..sockets * complexes).map(|complex| (complex / complexes) as u16).collect(),
            within: spec.cache.transfer,
            socket: spec.cache.transfer_socket,
            remote: spec.cache.transfer_remote,
            memory: (sockets > 1 && extra > Time::ZERO).then_some(RemoteMemory {
                extra,
                sockets: sockets as u64,
                dram_lines: spec.dram.capacity / LINE_BYTES,
                pmem_first: spec.pmem.base / LINE_BYTES,
                pmem_lines: spec.pmem.capacity / LINE_BYTES,
            }),
        }
    }

    /// Core complexes, each of which has an L3.
    pub fn complexes(&self) -> usize {
        self.socket_of.len()
    }

    /// The complex of a core.
    #[inline]
    pub fn complex(&self, core: usize) -> usize {
        usize::from(self.complex_of[core])
    }

    /// How far two cores are apart.
    #[inline]
    pub fn distance(&self, core: usize, other: usize) -> Distance {
        self.between(self.complex(core), self.complex(other))
    }

    fn between(&self, complex: usize, other: usize) -> Distance {
        if complex == other {
            Distance::Complex
        } else if self.socket_of[complex] == self.socket_of[other] {
            Distance::Socket
        } else {
            Distance::Remote
        }
    }

    /// The socket of a core.
    pub fn socket(&self, core: usize) -> usize {
        usize::from(self.socket_of[self.complex(core)])
    }

    /// The time that a line takes to `core` from a cache in `complex`.
    #[inline]
    pub fn transfer(&self, core: usize, complex: usize) -> Time {
        match self.between(self.complex(core), complex) {
            Distance::Complex => self.within,
            Distance::Socket => self.socket,
            Distance::Remote => self.remote,
        }
    }

    /// The times that a line takes to `core` from each of `holders` and each L3 of `complexes`.
    pub(super) fn transfers(
        &self,
        core: usize,
        holders: CoreSet,
        complexes: CoreSet,
    ) -> impl Iterator<Item = Time> {
        let of_holders = holders.iter().map(|holder| self.complex(holder));
        of_holders.chain(complexes.iter()).map(move |complex| self.transfer(core, complex))
    }

    /// The longest of [`Self::transfers`]. With one complex, all take the same.
    #[inline]
    pub(super) fn farthest(&self, core: usize, holders: CoreSet, complexes: CoreSet) -> Option<Time> {
        if self.complexes() == 1 {
            return (!holders.is_empty() || !complexes.is_empty()).then_some(self.within);
        }
        self.transfers(core, holders, complexes).max()
    }

    /// What a read of a line takes longer because another socket has its memory.
    #[inline]
    pub fn remote_memory(&self, core: usize, line: CacheLine) -> Time {
        self.memory
            .as_ref()
            .map_or(Time::ZERO, |memory| memory.extra(self.socket_of[self.complex(core)], line))
    }
}

impl RemoteMemory {
    fn extra(&self, socket: u16, line: CacheLine) -> Time {
        let (offset, lines) = match line.0.checked_sub(self.pmem_first) {
            Some(offset) if offset < self.pmem_lines => (offset, self.pmem_lines),
            _ => (line.0, self.dram_lines),
        };
        let home = (offset / lines.div_ceil(self.sockets).max(1)).min(self.sockets - 1);
        if home == u64::from(socket) { Time::ZERO } else { self.extra }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::tests::{PMEM, machine};

    #[test]
    fn cores_are_numbered_by_socket_and_by_complex() {
        let mut spec = machine(12);
        (spec.topology.sockets, spec.topology.cores_per_complex) = (2, 4);
        (spec.cache.transfer_socket, spec.cache.transfer_remote) = (Time(2), Time(3));
        spec.cache.transfer = Time(1);
        let t = Topology::new(&spec);
        assert_eq!(t.complexes(), 4);
        let complexes: Vec<_> = (0..12).map(|core| t.complex(core)).collect();
        assert_eq!(complexes, [0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3]);
        let times: Vec<_> = (0..4).map(|complex| t.transfer(5, complex).0).collect();
        assert_eq!(times, [2, 1, 3, 3]);
    }

    #[test]
    fn memory_is_divided_over_the_sockets() {
        let mut spec = machine(4);
        spec.topology.sockets = 2;
        spec.topology.remote_memory = Time(9);
        let t = Topology::new(&spec);
        let extra = |core, n| t.remote_memory(core, CacheLine(n)).0;
        assert_eq!([extra(0, 0), extra(0, PMEM - 1), extra(0, PMEM), extra(0, 2 * PMEM - 1)], [0, 9, 0, 9]);
        assert_eq!([extra(3, 0), extra(3, PMEM - 1), extra(3, PMEM), extra(3, 2 * PMEM - 1)], [9, 0, 9, 0]);
    }

    #[test]
    fn more_sockets_than_cores_are_as_many_as_cores() {
        let mut spec = machine(2);
        (spec.topology.sockets, spec.topology.cores_per_complex) = (16, 200);
        let t = Topology::new(&spec);
        assert_eq!((t.complexes(), t.complex(0), t.complex(1)), (2, 0, 1));
    }
}
