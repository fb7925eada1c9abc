//! Two cores that take a line from each other in turn.

use daxsim_configs::machine::MachineSpec;
use daxsim_types::{CacheLine, PhysAddr, Time};

use super::ProbeError;
use crate::memory::{Access, Memory};

/// Exchanges before those that count: after these each core's misses go to the other one.
const WARM_UP: u32 = 4;
/// Where the line is: in main memory, apart from everything else.
const LINE: CacheLine = PhysAddr(0x40_0000).line();

/// Compare-exchange ping-pong (core-to-core-latency by N. Viennot): each core changes a line as soon as the other one has; half
/// of the round trip is what it reports, the compare-exchange included. `cache.transfer` and its like are such times, so that
/// `cost.locked_rmw` is not added.
#[derive(Clone, Copy, Debug)]
pub struct CachelinePing {
    /// The core that begins.
    pub first: u16,
    /// The core that answers.
    pub second: u16,
    /// Round trips that count.
    pub rounds: u32,
}

/// What a ping took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingTime {
    /// Mean time of a round trip, picoseconds.
    pub round_trip: Time,
    /// Half of it.
    pub one_way: Time,
    /// Exchanges that took the line from the other core, of `2 * rounds`.
    pub transfers: u64,
}

impl CachelinePing {
    /// Runs it on idle caches.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Cores`]
    pub fn run(&self, machine: &MachineSpec) -> Result<PingTime, ProbeError> {
        let (first, second, count) = (self.first, self.second, machine.cpu.count);
        if first == second || first.max(second) >= count {
            return Err(ProbeError::Cores { first, second, count });
        }
        let mut memory = Memory::new(machine);
        let mut now = Time::ZERO;
        let mut exchange = |memory: &mut Memory, core: u16| {
            now += memory.access(core.into(), LINE, Access::Rmw, now).latency;
            now
        };
        let mut start = Time::ZERO;
        for _ in 0..WARM_UP {
            exchange(&mut memory, first);
            start = exchange(&mut memory, second);
        }
        let before = memory.stats().transfers;
        let rounds = self.rounds.max(1);
        let mut end = start;
        for _ in 0..rounds {
            exchange(&mut memory, first);
            end = exchange(&mut memory, second);
        }
        let round_trip = Time((end.0 - start.0) / u64::from(rounds));
        let transfers = memory.stats().transfers - before;
        Ok(PingTime { round_trip, one_way: Time(round_trip.0 / 2), transfers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use daxsim_configs::{load_machine, parse_machine};

    fn ping(machine: &MachineSpec, first: u16, second: u16) -> f64 {
        let time = CachelinePing { first, second, rounds: 100 }.run(machine).unwrap();
        assert_eq!(time.transfers, 200);
        time.one_way.as_ns()
    }

    fn parse(keys: &str) -> MachineSpec {
        parse_machine("m.toml", &format!("base = \"skylake-sp-optane\"\n{keys}"), &[]).unwrap()
    }

    /// Within 10 % of the nearest of what was measured.
    fn near(found: f64, low: f64, high: f64) {
        assert!((0.9 * low..=1.1 * high).contains(&found), "{found} ns, measured {low} to {high}");
    }

    #[test]
    fn two_cascade_lakes_are_as_far_apart_as_measured() {
        let m = parse("[cpu]\ncount = 32\n[topology]\nsockets = 2\n");
        near(ping(&m, 0, 15), 47.0, 48.0);
        near(ping(&m, 15, 0), 47.0, 48.0);
        near(ping(&m, 0, 16), 135.0, 141.0);
        near(ping(&m, 31, 3), 135.0, 141.0);
    }

    #[test]
    fn two_romes_are_as_far_apart_as_measured() {
        let m = parse(
            "[cpu]\ncount = 128\n[topology]\nsockets = 2\ncores_per_complex = 4\n\
             [cache]\ntransfer = \"24 ns\"\ntransfer_socket = \"134.5 ns\"\ntransfer_remote = \"268 ns\"\n\
             [cache.l3]\nsize = \"16 MiB\"\nways = 16\n",
        );
        near(ping(&m, 0, 3), 24.0, 24.0);
        near(ping(&m, 3, 4), 128.0, 141.0);
        near(ping(&m, 63, 0), 128.0, 141.0);
        near(ping(&m, 63, 64), 261.0, 275.0);
    }

    #[test]
    fn inclusion_makes_no_difference_to_a_ping() {
        for relation in ["victim", "inclusive", "non-inclusive"] {
            let m = parse(&format!("cache.l3.relation = \"{relation}\"\ntopology.cores_per_complex = 12\n"));
            assert_eq!(ping(&m, 0, 11), 47.5);
        }
    }

    #[test]
    fn a_core_that_is_not_there_is_refused() {
        let m = load_machine("qemu-tcg", &[]).unwrap();
        for (first, second) in [(0, 4), (7, 1), (2, 2)] {
            let found = CachelinePing { first, second, rounds: 1 }.run(&m);
            assert_eq!(found, Err(ProbeError::Cores { first, second, count: 4 }));
        }
    }
}
