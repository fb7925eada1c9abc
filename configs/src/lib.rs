//! Machine and kernel configurations: TOML files, checked and turned into [`machine::MachineSpec`] and
//! [`kernel::KernelSpec`].
//!
//! A configuration is a builtin ([`builtin_machines`], [`builtin_kernels`]) or a file; a file may start from
//! another by `base = "NAME or path"`, and [`Override`]s win over both. Every quantity carries its unit, and
//! every problem is reported with its place, its key, what was found and what was expected.

mod builtin;
mod cache_schema;
mod caches;
mod check;
mod cost;
mod describe;
mod dram;
mod dram_mapping;
mod dram_presets;
mod dram_schema;
mod error;
mod fields;
mod ipi;
pub mod kernel;
mod kernel_schema;
mod kind;
mod load;
pub mod machine;
mod machine_schema;
mod machine_tlb;
mod overrides;
mod reader;
mod resize;
mod schema;
mod semantics;
pub mod study;
pub mod sweep;
mod tlb_check;
mod tlb_flush;
mod tlb_schema;
mod units;
pub mod validation;
mod value;

pub use builtin::{BuiltinInfo, builtin_kernels, builtin_machines, builtin_semantics};
pub use describe::{KeyValue, describe_kernel, describe_machine};
pub use error::{ConfigError, MAX_PROBLEMS, Problem, ProblemKind};
pub use load::{load_kernel, load_machine, parse_kernel, parse_machine};
pub use overrides::{Override, split_overrides};
pub use semantics::{KnobDifference, knob_differences};

fn machine_keys() -> &'static [schema::KeyDef] {
    &machine_schema::KEYS
}

/// The key of a kernel file that has this number: the `key` of its path length.
#[must_use]
pub fn kernel_key(number: u16) -> Option<&'static str> {
    kernel_keys().get(usize::from(number).checked_sub(1)?).map(|def| def.key)
}

fn kernel_keys() -> &'static [schema::KeyDef] {
    &kernel_schema::KEYS
}

#[cfg(test)]
mod tests;
