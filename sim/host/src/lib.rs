//! The simulated machine for software that already has a program to run: emulators, tracers, other simulators.
//!
//! ```
//! use daxsim_host::{Access, Config, Mode, machine};
//!
//! let config = Config::named("skylake-sp-optane").set("cpu.count=2");
//! let mut machine = machine(&config)?;
//! // CPU 0 loads eight bytes that its page tables map to 0x1000000; 20 instructions went before.
//! let load = Access::load(0, 0x7f00_0000_0000, 0x100_0000).after(20);
//! let first = machine.access(&load)?;
//! let again = machine.access(&load)?;
//! assert!(first > again, "the first one walked the page tables and read memory");
//! machine.invlpg(0, load.va)?;
//! machine.run(&[load, load], |_, _| {}).map_err(|(_, error)| error)?;
//! assert_eq!(machine.counts(0, Mode::User).walks, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Machine`] is `daxsim_sim::bare`: its documentation says whose word holds, how time passes, and where page tables come
//! from. Times are picoseconds ([`Time`]); [`Machine::cycles`] turns them into cycles of the core. `docs/host-interface.md` has
//! the same interface in C, which `include/daxsim.h` declares and [`ffi`] defines.

pub mod ffi;

use daxsim_configs::{ConfigError, Override, load_kernel, load_machine, parse_machine};
use thiserror::Error;

pub use daxsim_sim::bare::{
    Access, AccessError, Bare as Machine, BareError, Charge, Counts, CpuCounts, GuestMemory, MappingCounts,
    Mode, NoSuchCpu, Options, Range, Taken, flag, kind, page,
};
pub use daxsim_sim::memory::{Level, MemoryStats};
pub use daxsim_sim::mmu::invalidate::Invpcid;
pub use daxsim_sim::mmu::tlb::TlbStats;
pub use daxsim_types::{PageSize, Time};

/// Nothing of a kernel runs, but its objects have places in memory. Which kernel it is makes no difference.
const KERNEL: &str = "linux-7.2";

/// Where the machine is described.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Named(String),
    Text { name: String, text: String },
}

/// Which machine, with what changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    source: Source,
    settings: Vec<String>,
    options: Options,
}

impl Config {
    /// A machine that comes with daxsim, by its name, or that of a TOML file, by its path.
    #[must_use]
    pub fn named(name_or_path: impl Into<String>) -> Self {
        let source = Source::Named(name_or_path.into());
        Self { source, settings: Vec::new(), options: Options::default() }
    }

    /// A machine in TOML text; `base = "NAME"` in it inherits. Errors call it `name`.
    #[must_use]
    pub fn text(name: impl Into<String>, text: impl Into<String>) -> Self {
        let source = Source::Text { name: name.into(), text: text.into() };
        Self { source, settings: Vec::new(), options: Options::default() }
    }

    /// With a key of the configuration changed: `KEY=VALUE`, as in `tlb.stlb.entries=2048`.
    #[must_use]
    pub fn set(mut self, setting: impl Into<String>) -> Self {
        self.settings.push(setting.into());
        self
    }

    /// With other options.
    #[must_use]
    pub fn options(self, options: Options) -> Self {
        Self { options, ..self }
    }
}

/// A machine cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HostError {
    /// A setting or the description is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The machine cannot be driven from outside.
    #[error(transparent)]
    Machine(#[from] BareError),
}

/// Makes a machine at rest.
///
/// # Errors
///
/// [`HostError`]
pub fn machine(config: &Config) -> Result<Machine, HostError> {
    let settings = config.settings.iter().map(|text| Override::parse(text));
    let settings = settings.collect::<Result<Vec<_>, _>>()?;
    let spec = match &config.source {
        Source::Named(name) => load_machine(name, &settings)?,
        Source::Text { name, text } => parse_machine(name, text, &settings)?,
    };
    Ok(Machine::new(spec, load_kernel(KERNEL, &[])?, config.options)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_made_by_name_by_file_and_of_text() {
        let named = machine(&Config::named("skylake-sp-optane").set("cpu.count=3")).unwrap();
        assert_eq!(named.cpus(), 3);
        let text = "base = \"skylake-sp-optane\"\n[cpu]\ncount = 5\n";
        assert_eq!(machine(&Config::text("mine", text)).unwrap().cpus(), 5);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        std::fs::write(&path, text).unwrap();
        let config = Config::named(path.to_string_lossy()).set("tlb.stlb.entries=768");
        let of_file = machine(&config).unwrap();
        assert_eq!((of_file.cpus(), of_file.spec().tlb.stlb.entries), (5, 768));
    }

    #[test]
    fn what_is_wrong_with_a_config_is_said() {
        let error = |config: Config| machine(&config).err().unwrap().to_string();
        assert!(error(Config::named("no-such-machine")).contains("no-such-machine"));
        assert!(error(Config::named("skylake-sp-optane").set("cpu.count")).contains("cpu.count"));
        assert!(error(Config::named("skylake-sp-optane").set("cpu.cuont=3")).contains("cpu.cuont"));
        assert!(error(Config::text("mine", "base = 3")).contains("mine"));
    }
}
