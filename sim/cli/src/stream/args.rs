//! What is streamed from QEMU, as typed.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Whose accesses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum From {
    /// All
    #[default]
    All,
    /// Those of instructions in the lower half of addresses
    User,
    /// Those of instructions in the upper half
    Kernel,
}

/// How instructions are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Counting {
    /// All of a block when it begins: too many by the rest of the block at each fault
    #[default]
    Blocks,
    /// One by one: exact, and slower
    Each,
}

/// What is streamed of a QEMU that the user starts.
#[derive(Debug, Args)]
pub struct StreamArgs {
    /// Which of it.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// The plugin [default: libdaxsim_qemu_plugin.so beside this program]
    #[arg(long, value_name = "FILE")]
    pub plugin: Option<PathBuf>,
    /// QEMU with its arguments; the plugin and a monitor are added
    #[arg(last = true, required = true, value_name = "QEMU")]
    pub qemu: Vec<OsString>,
}

/// Which accesses are streamed, and how.
#[derive(Debug, Default, Args)]
pub struct FilterArgs {
    /// Physical addresses, START-END or START+LENGTH (repeatable) [default: all]
    #[arg(long, value_name = "RANGE")]
    pub phys: Vec<String>,
    /// Virtual addresses (repeatable) [default: all]
    #[arg(long, value_name = "RANGE")]
    pub virt: Vec<String>,
    /// Instructions of each vCPU, counted from 1
    #[arg(long, value_name = "RANGE")]
    pub instructions: Option<String>,
    /// Accesses of each vCPU that pass the other filters, counted from 0
    #[arg(long, value_name = "RANGE")]
    pub accesses: Option<String>,
    /// Begin with a store to this virtual address, by any vCPU
    #[arg(long, value_name = "VA")]
    pub start: Option<String>,
    /// End with a store to this one, until one to --start comes
    #[arg(long, value_name = "VA")]
    pub stop: Option<String>,
    /// Whose accesses
    #[arg(long, value_enum, default_value_t, value_name = "SIDE")]
    pub from: From,
    /// How instructions are counted
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub count: Counting,
    /// Leave out accesses to devices
    #[arg(long)]
    pub skip_devices: bool,
}

impl FilterArgs {
    /// The options of the plugin for this, each after a comma.
    pub fn options(&self) -> String {
        let mut text = String::new();
        let mut add = |name: &str, value: &str| {
            // A comma within a value is doubled, as QEMU has it.
            text.push_str(&format!(",{name}={}", value.replace(',', ",,")));
        };
        self.phys.iter().for_each(|range| add("phys", range));
        self.virt.iter().for_each(|range| add("virt", range));
        let single = [
            ("instructions", &self.instructions),
            ("accesses", &self.accesses),
            ("start", &self.start),
            ("stop", &self.stop),
        ];
        for (name, value) in single {
            if let Some(value) = value {
                add(name, value);
            }
        }
        match self.from {
            From::All => {}
            From::User => add("from", "user"),
            From::Kernel => add("from", "kernel"),
        }
        if self.count == Counting::Each {
            add("count", "each");
        }
        if self.skip_devices {
            add("devices", "skip");
        }
        text
    }
}
