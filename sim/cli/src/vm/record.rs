//! `daxsim vm record`: scripts or a command on a real kernel in a virtual machine.

use anyhow::{Context, Result};
use daxsim_reports::units::{count, counted};
use daxsim_vm::{Recorded, Watch};

use super::args::VmRecordArgs;
use crate::import_args::ImportArgs;
use crate::record::Asked;
use crate::{Status, import, output};

/// Runs `daxsim vm record`.
pub fn run(args: &VmRecordArgs) -> Result<Status> {
    let plan = args.work.plan(Watch::Traced, args.buffer, &args.out)?;
    let asked = Asked::listen().context("signals cannot be waited for")?;
    let mut said = |text: &str| output::note(&format!("daxsim: {text}"));
    args.work.say_forgotten();
    let recorded = daxsim_vm::record(&plan, &mut said, &|| asked.take().is_some())?;
    let mut status = Status::Done;
    for run in &recorded {
        keep_as_dxt(run)?;
        output::print(&summary(run))?;
        if run.lost > 0 || run.status != 0 {
            status = Status::CheckFailed;
        }
    }
    Ok(status)
}

/// Makes the .dxt beside the trace.
fn keep_as_dxt(run: &Recorded) -> Result<()> {
    let output = run.folder.join("trace.dxt");
    import::run(&ImportArgs { input: run.trace.clone(), output, fetches: false, quiet: true })?;
    Ok(())
}

fn summary(run: &Recorded) -> String {
    let mut text = format!(
        "{}: {} events, {}, {}\n",
        run.folder.display(),
        count(run.events),
        counted(run.faults as u64, "fault", "faults"),
        if run.lost == 0 {
            "none lost".to_owned()
        } else {
            format!("{} LOST: enlarge --buffer", count(run.lost))
        },
    );
    for missed in &run.missed {
        text.push_str(&format!("  hits that a probe missed: {missed}\n"));
    }
    if run.status != 0 {
        text.push_str(&format!("  failed with status {}:\n", run.status));
        for line in run.complaint.lines().take(10) {
            text.push_str(&format!("    {line}\n"));
        }
    }
    text
}
