//! Tests of main memory with banks.

mod legality;
mod model;
mod peers;

use daxsim_configs::machine::{DramTiming, MachineSpec};
use daxsim_configs::{Override, load_machine};
use daxsim_types::{CacheLine, Time};

use super::banked::Banked;
use super::timing::Timings;
use crate::memory::{Access, Memory};

/// A machine with the banks of `preset` and the given keys of `[dram]`.
pub(super) fn spec(preset: &str, keys: &[&str]) -> MachineSpec {
    let first = [
        "timing=banks".to_owned(),
        format!("preset={preset}"),
        "mapping=row rank bank column group channel".to_owned(),
        "controller_latency=0 ns".to_owned(),
    ];
    let all = first.into_iter().chain(keys.iter().map(|key| (*key).to_owned()));
    let all: Vec<Override> = all.map(|key| Override::parse(&format!("dram.{key}")).unwrap()).collect();
    let spec = load_machine("skylake-sp-optane", &all).unwrap();
    assert_eq!(spec.dram_banks.timing, DramTiming::Banks);
    spec
}

pub(super) fn banked(spec: &MachineSpec) -> Banked {
    Banked::new(&spec.dram_banks, &spec.dram_preset, spec.dram.channels)
}

pub(super) fn timings(preset: &str) -> Timings {
    let spec = spec(preset, &[]);
    Timings::new(&spec.dram_preset, &spec.dram_banks)
}

/// Mean latency in nanoseconds of loads of the Optane host, each after the one before.
fn host(line: impl Fn(u64) -> u64) -> f64 {
    let mut memory = Memory::new(&load_machine("skylake-sp-optane", &[]).unwrap());
    let (first, loads) = (Time(1_000_000), 300_000);
    let mut now = first;
    for n in 0..loads {
        now += memory.access(0, CacheLine(line(n)), Access::Read, now).latency;
    }
    (now - first).as_ns() / loads as f64
}

/// OptaneStudy, 02-best_case_latency: 81.4 and 101.5 ns; random loads have TLB misses, too.
#[test]
fn the_optane_host_reads_as_it_was_measured() {
    let sequential = host(|n| n);
    assert!((sequential / 81.4 - 1.0).abs() < 0.01, "{sequential}");
    let random = host(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40);
    assert!((92.0..101.5).contains(&random), "{random}");
}
