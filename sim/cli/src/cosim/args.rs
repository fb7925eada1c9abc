//! The command line of `cosim`.

use std::path::PathBuf;

use clap::Args;
use daxsim_sim::bare::Range;
use daxsim_types::{FileSystem, PageSize};

use crate::stream::StreamArgs;

/// `daxsim cosim`
#[derive(Debug, Args)]
pub struct CosimArgs {
    /// Kernel whose modelled fault path stands beside the real one
    #[arg(long, default_value = "linux-7.2", value_name = "NAME|FILE")]
    pub kernel: String,
    /// File system of the modelled fault path: ext4, xfs or devdax [default: ext4]
    #[arg(long, value_name = "FS")]
    pub fs: Option<FileSystem>,
    /// The machine.
    #[command(flatten)]
    pub on: MachineArgs,
    /// What is streamed.
    #[command(flatten)]
    pub stream: StreamArgs,
}

/// The simulated machine under a guest, and its report.
#[derive(Debug, Args)]
pub struct MachineArgs {
    /// Machine: a builtin's name or a TOML file
    #[arg(long, default_value = "skylake-sp-optane", value_name = "NAME|FILE")]
    pub machine: String,
    /// Override a configuration key, as in pmem.base=5GiB (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Virtual addresses that the guest maps by larger pages: FIRST-LAST=2M or =1G (repeatable)
    #[arg(long, value_name = "RANGE=SIZE", value_parser = range)]
    pub large: Vec<Range>,
    /// How far the clock of a CPU may be behind the latest one when it acts
    #[arg(long, default_value_t = 1000, value_name = "NS")]
    pub max_skew_ns: u64,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write the report as a page for a browser
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long)]
    pub json: bool,
}

/// Help of `cosim`.
pub const COSIM_EXAMPLES: &str = "\
QEMU is started with our plugin, and each access of its guest goes through the simulated machine as it
is made. Persistent memory is where the guest has its NVDIMMs, unless pmem.base or pmem.capacity is set; set
cpu.count to the number of its vCPUs. Page tables are made of the pairs of addresses; what is
assumed of them, and of time, docs/host-interface.md says. `daxsim vm cosim` builds a guest, too.

Faults are found in the stream: kernel accesses between user accesses, of which the second is the first
one to its page of persistent memory, or its first store. Beside them stands `daxsim explain fault`.
Ctrl-C ends QEMU; what came until then is reported.

Examples:
  daxsim cosim -- qemu-system-x86_64 -accel tcg -m 1G -kernel vmlinuz -nographic
  daxsim cosim --set cpu.count=2 --out cosim.json -- qemu-system-x86_64 -smp 2 ..
  daxsim cosim --large 0xffff888000000000-0xffffc87fffffffff=2M -- qemu-system-x86_64 ..

Exit status: 0 done, 1 QEMU died or was killed, 2 bad usage, something is missing, or an access that cannot be.";

fn range(text: &str) -> Result<Range, String> {
    let expected = || format!("`{text}`: expected FIRST-LAST=2M or FIRST-LAST=1G, in hexadecimal with 0x");
    let (range, size) = text.split_once('=').ok_or_else(expected)?;
    let (start, last) = range.split_once('-').ok_or_else(expected)?;
    let number = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    let (start, last) = number(start).zip(number(last)).filter(|(s, l)| s <= l).ok_or_else(expected)?;
    let page = match size {
        "2M" => PageSize::Size2M,
        "1G" => PageSize::Size1G,
        _ => return Err(expected()),
    };
    Ok(Range { start, last, page })
}
