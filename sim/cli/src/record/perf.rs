//! Recording with `perf record`.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use daxsim_traces::recording;

use super::check::find_command;
use super::tracefs::TraceFs;

/// Why perf cannot record, if it cannot.
pub fn missing(tracefs: Option<&TraceFs>) -> Option<String> {
    if !find_command("perf".as_ref()) {
        return Some("no perf: there is no such command".into());
    }
    if tracefs.is_none() {
        return Some("no tracefs: perf reads there what events are".into());
    }
    let tried = Command::new("perf")
        .args(["record", "-q", "-e", "exceptions:page_fault_user", "-o", "/dev/null", "--", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match tried {
        Ok(status) if status.success() => None,
        _ => Some(
            "no right to perf's tracepoints: it takes root, or CAP_PERFMON and a readable tracefs".into(),
        ),
    }
}

/// Records a command into a file.
pub fn record(
    tracefs: &TraceFs,
    command: &[OsString],
    all_tasks: bool,
    buffer_kib: u64,
    file: &Path,
) -> io::Result<ExitStatus> {
    let names = recording::needed().into_iter().chain(recording::wanted());
    let there = names.filter(|(system, event)| tracefs.has(system, event));
    let list: Vec<String> = there.map(|(system, event)| format!("{system}:{event}")).collect();
    let mut perf = Command::new("perf");
    perf.args([
        "record",
        "-q",
        "-m",
        &format!("{}K", buffer_kib.next_power_of_two()),
        "-e",
        &list.join(","),
        "-o",
    ])
    .arg(file);
    if all_tasks {
        perf.arg("-a");
    }
    perf.arg("--").args(command).status()
}

/// Events that the file says were lost.
pub fn lost(file: &Path) -> io::Result<u64> {
    let stats =
        Command::new("perf").args(["report", "--stats", "-i"]).arg(file).stderr(Stdio::null()).output()?;
    Ok(lost_in(&String::from_utf8_lossy(&stats.stdout)))
}

/// The sum of the lines about losses.
fn lost_in(stats: &str) -> u64 {
    let lines = stats.lines().filter_map(|line| line.trim().split_once(" events:"));
    let lost = lines.filter(|(name, _)| name.starts_with("LOST"));
    lost.filter_map(|(_, rest)| rest.split_whitespace().next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_summed() {
        let text = "Aggregated stats:\n           TOTAL events:       4133\n            LOST events:          3  ( 0.1%)\n    \
                    LOST_SAMPLES events:          2  ( 0.0%)\n            EXIT events:          1\n";
        assert_eq!(lost_in(text), 5);
        assert_eq!(lost_in(""), 0);
    }
}
