//! Tests of main memory with banks.

mod legality;
mod model;
mod peers;

use daxsim_configs::machine::{DramTiming, MachineSpec};
use daxsim_configs::{Override, load_machine};

use super::banked::Banked;
use super::timing::Timings;

/// A machine with the banks of `preset` and the given keys of `[dram]`.
pub(super) fn spec(preset: &str, keys: &[&str]) -> MachineSpec {
    let first = ["timing=banks".to_owned(), format!("preset={preset}"), "controller_latency=0 ns".to_owned()];
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
