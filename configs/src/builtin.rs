//! The configurations that the program carries with it.

use serde::Serialize;

use crate::error::ConfigError;
use crate::load::{load_kernel, load_machine};
use crate::semantics;

/// A file of `machines/`, `kernels/` or `semantics/`.
pub(crate) struct Builtin {
    pub name: &'static str,
    pub text: &'static str,
}

macro_rules! files {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(Builtin {
            name: $name,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $folder, "/", $name, ".toml")),
        }),*]
    };
}

pub(crate) fn machine_files() -> &'static [Builtin] {
    files!(
        "machines": "skylake-sp-optane", "ice-lake-sp", "sapphire-rapids", "emerald-rapids", "granite-rapids", "xeon-6242",
        "cascadelake-optane-1dimm", "icelake-optane200", "nvdimm-n", "sapphire-cxl",
        "zen2-rome", "zen3-milan", "zen4-genoa", "zen5-turin", "i7-7800x", "i9-11900k", "i9-12900k", "ryzen-5900x",
        "i9-7980xe", "i7-1165g7", "i9-13900k", "core-ultra-285k", "ryzen-7950x", "ryzen-9950x",
        "emr-guest", "haswell-ep", "qemu-tcg", "champsim",
    )
}

pub(crate) fn kernel_files() -> &'static [Builtin] {
    files!("kernels": "linux-6.12", "linux-7.2", "dax-patch-v1")
}

pub(crate) fn semantics_files() -> &'static [Builtin] {
    files!("semantics": "pre-series", "patch-v1", "v1-intent", "merged")
}

/// Speed bins of main memory.
pub(crate) fn dram_files() -> &'static [Builtin] {
    files!("dram": "ddr4", "ddr5")
}

pub(crate) fn validation_files() -> &'static [Builtin] {
    files!(
        "validation": "skylake-x", "rocket-lake", "alder-lake", "rome", "vermeer", "emerald-rapids-guest", "walks",
        "core-to-core", "tlbdr", "optane", "optane-chase", "shootdowns",
    )
}

/// Questions with the measurements that answer them.
pub(crate) fn study_files() -> &'static [Builtin] {
    files!("studies": "shootdowns", "flush-storm", "fault-scaling", "latr-machines")
}

/// A builtin, as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BuiltinInfo {
    /// What `--machine`, `--kernel` or `--semantics` takes.
    pub name: &'static str,
    /// One line.
    pub description: String,
}

/// Every builtin machine.
///
/// # Errors
///
/// None, as long as the builtins are valid.
pub fn builtin_machines() -> Result<Vec<BuiltinInfo>, ConfigError> {
    list(machine_files(), |name| Ok(load_machine(name, &[])?.description))
}

/// Every builtin kernel.
///
/// # Errors
///
/// None, as long as the builtins are valid.
pub fn builtin_kernels() -> Result<Vec<BuiltinInfo>, ConfigError> {
    list(kernel_files(), |name| Ok(load_kernel(name, &[])?.description))
}

/// Every builtin semantics.
///
/// # Errors
///
/// None, as long as the builtins are valid.
pub fn builtin_semantics() -> Result<Vec<BuiltinInfo>, ConfigError> {
    list(semantics_files(), semantics::description)
}

fn list(
    files: &[Builtin],
    describe: impl Fn(&str) -> Result<String, ConfigError>,
) -> Result<Vec<BuiltinInfo>, ConfigError> {
    files.iter().map(|b| Ok(BuiltinInfo { name: b.name, description: describe(b.name)? })).collect()
}
