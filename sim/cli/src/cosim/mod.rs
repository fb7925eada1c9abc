//! `daxsim cosim`: the simulated machine under a real kernel that runs in QEMU.

mod args;
mod faults;
mod feed;
mod report;
#[cfg(test)]
mod tests;

use anyhow::{Context, Result};
use daxsim_configs::{load_kernel, load_machine};
use daxsim_reports::write_atomically;
use daxsim_ring::{Batch, Ending};
use daxsim_sim::bare::{Bare, Options};
use daxsim_types::Time;

pub use self::args::{COSIM_EXAMPLES, CosimArgs};
use self::feed::Feed;
use self::report::Cosim;
use crate::config::parse_overrides;
use crate::stream::Stream;
use crate::{Status, explain, output};

/// Runs `daxsim cosim`.
pub fn run(args: &CosimArgs) -> Result<Status> {
    let mut feed = Feed::new(machine(args)?);
    let mut stream = Stream::start(&args.stream)?;
    let mut batch = Batch::default();
    let ending = loop {
        match stream.next(&mut batch)? {
            None => feed.batch(&batch)?,
            Some(ending) => break ending,
        }
    };
    let (status, asked) = stream.wait()?;
    let mut cosim = Cosim::new(&feed, ending == Ending::Finished);
    for path in &mut cosim.faults {
        path.model = model(args, &path.kind)?;
    }
    if let Some(file) = &args.out {
        write_atomically(file, cosim.to_json()?.as_bytes())?;
    }
    if args.json {
        output::print(&cosim.to_json()?)?;
    } else {
        output::show(&cosim.text())?;
    }
    if ending == Ending::Died {
        output::note(&format!(
            "daxsim: warning: QEMU died ({status}): up to one batch of each vCPU is missing"
        ));
    }
    Ok(if ending == Ending::Finished || asked { Status::Done } else { Status::CheckFailed })
}

fn machine(args: &CosimArgs) -> Result<Bare> {
    let (machine_set, kernel_set) = parse_overrides(&args.overrides)?;
    let spec = load_machine(&args.machine, &machine_set)?;
    let kernel = load_kernel(&args.kernel, &kernel_set)?;
    let options = Options { max_skew: Time::from_ns(args.max_skew_ns), ..Options::default() };
    let mut machine = Bare::new(spec, kernel, options).context(args.machine.clone())?;
    args.large.iter().for_each(|range| machine.add_range(*range));
    Ok(machine)
}

/// What the kernel model's micro-operations say of a kind of fault; none of a kind that they do not have.
fn model(args: &CosimArgs, kind: &str) -> Result<Option<report::Path>> {
    if !faults::MODELLED.contains(&kind) {
        return Ok(None);
    }
    let explained = explain::fault(kind, &args.machine, &args.kernel, args.fs, &args.overrides)?;
    let sum = |count: fn(&daxsim_reports::explain::Step) -> u64| explained.steps.iter().map(count).sum();
    let cycles = u128::from(explained.took_ps) * u128::from(explained.frequency_hz) / 1_000_000_000_000;
    Ok(Some(report::Path {
        instructions: sum(|step| step.instructions),
        loads: sum(|step| step.loads),
        stores: sum(|step| step.stores),
        lines: None,
        cycles: cycles as u64,
    }))
}
