//! `daxsim cosim`: the simulated machine under a real kernel that runs in QEMU.

mod against;
mod args;
mod by_line;
mod faults;
mod feed;
mod interrupts;
mod lines;
mod report;
mod runs;
#[cfg(test)]
mod tests;

use std::ops::Range;

use anyhow::{Context, Result};
use daxsim_configs::{load_kernel, load_machine};
use daxsim_reports::write_atomically;
use daxsim_ring::{Batch, Ending};
use daxsim_sim::bare::{Bare, Options};
use daxsim_types::{FileSystem, Time};

pub use self::against::Reference;
pub use self::args::{COSIM_EXAMPLES, CosimArgs, MachineArgs};
pub use self::by_line::{LineWay, Played, maps};
pub use self::feed::Feed;
pub use self::report::{Cosim, table};
use crate::config::parse_overrides;
use crate::stream::{Memory, SharedMemory, Stream};
use crate::{Status, explain, output};

/// Option of the plugin: what changes translations is streamed.
pub const CONTROL: &str = ",control=on";

/// The machine under a guest, and the kernel model beside the guest's.
pub struct Machine<'a> {
    pub on: &'a MachineArgs,
    pub kernel: &'a str,
    pub fs: Option<FileSystem>,
    /// Settings: the user's, and what follows from the guest.
    overrides: Vec<String>,
}

impl<'a> Machine<'a> {
    /// Persistent memory is where the guest has it, and there are at least as many CPUs as said, unless settings say otherwise.
    pub fn new(
        on: &'a MachineArgs,
        kernel: &'a str,
        fs: Option<FileSystem>,
        memory: &Memory,
        cpus: Option<u16>,
    ) -> Self {
        let mut overrides = on.overrides.clone();
        let mut set = |key: &str, value: String| {
            let said = |text: &String| text.split_once('=').is_some_and(|(named, _)| named.trim() == key);
            if !overrides.iter().any(said) {
                overrides.push(format!("{key}={value}"));
            }
        };
        if let Some(range) = memory.persistent() {
            // The guest's own memory ends below; what is between them, if anything, is not accessed.
            set("dram.capacity", format!("{}KiB", range.start >> 10));
            set("pmem.base", format!("{:#x}", range.start));
            set("pmem.capacity", format!("{}KiB", (range.end - range.start) >> 10));
        }
        cpus.into_iter().for_each(|cpus| set("cpu.count", cpus.to_string()));
        Self { on, kernel, fs, overrides }
    }

    /// The machine at rest.
    ///
    /// # Errors
    ///
    /// What is wrong with its configuration.
    pub fn feed(&self, maps: Range<u64>) -> Result<Feed> {
        let (machine_set, kernel_set) = parse_overrides(&self.overrides)?;
        let spec = load_machine(&self.on.machine, &machine_set)?;
        let kernel = load_kernel(self.kernel, &kernel_set)?;
        let options = Options { max_skew: Time::from_ns(self.on.max_skew_ns), ..Options::default() };
        let mut machine = Bare::new(spec, kernel, options).context(self.on.machine.clone())?;
        self.on.large.iter().for_each(|range| machine.add_range(*range));
        Ok(Feed::new(machine, maps))
    }

    /// Puts the kernel model's faults beside those of the guest, and prints and writes all.
    ///
    /// # Errors
    ///
    /// What cannot be written, or modelled.
    pub fn report(&self, cosim: &mut Cosim) -> Result<()> {
        for path in &mut cosim.faults {
            path.model = self.model(&path.kind)?;
        }
        let json = cosim.to_json()?;
        if let Some(file) = &self.on.out {
            write_atomically(file, json.as_bytes())?;
        }
        if let Some(file) = &self.on.html {
            write_atomically(file, cosim.page().as_bytes())?;
        }
        if self.on.json { output::print(&json) } else { output::show(&cosim.text()) }?;
        Ok(())
    }

    /// What the kernel model's micro-operations say of a kind of fault; none of a kind that they do not have.
    fn model(&self, kind: &str) -> Result<Option<report::Path>> {
        if !faults::MODELLED.contains(&kind) {
            return Ok(None);
        }
        let explained = explain::fault(kind, &self.on.machine, self.kernel, self.fs, &self.overrides)?;
        let sum = |count: fn(&daxsim_reports::explain::Step) -> u64| explained.steps.iter().map(count).sum();
        let cycles = u128::from(explained.took_ps) * u128::from(explained.frequency_hz) / 1_000_000_000_000;
        Ok(Some(report::Path {
            instructions: sum(|step| step.instructions),
            loads: sum(|step| step.loads),
            stores: sum(|step| step.stores),
            atomics: 0,
            lines: None,
            cycles: cycles as u64,
        }))
    }
}

/// Runs `daxsim cosim`.
pub fn run(args: &CosimArgs) -> Result<Status> {
    // What is wrong with the machine is said before anything is started.
    Machine::new(&args.on, &args.kernel, args.fs, &Memory::default(), None).feed(0..0)?;
    let mut stream = Stream::start(&args.stream, CONTROL)?;
    let machine = Machine::new(&args.on, &args.kernel, args.fs, &stream.memory, None);
    let mut feed = machine.feed(0..0)?;
    feed.read_tables_from(SharedMemory::of(stream.pid, &stream.memory));
    let mut batch = Batch::default();
    let ending = loop {
        match stream.next(&mut batch)? {
            None => feed.batch(&batch)?,
            Some(ending) => break ending,
        }
    };
    let (status, asked) = stream.wait()?;
    machine.report(&mut Cosim::new(&feed, ending == Ending::Finished, &[]))?;
    if ending == Ending::Died {
        output::note(&format!(
            "daxsim: warning: QEMU died ({status}): up to one batch of each vCPU is missing"
        ));
    }
    Ok(if ending == Ending::Finished || asked { Status::Done } else { Status::CheckFailed })
}
