//! Prediction against recording, fault by fault and line by line.

use daxsim_sim::measure::FaultRecord;
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::program::script::ScriptOutcome;
use daxsim_traces::fault_table::FaultRow;
use daxsim_traces::ops_table::OpRow;
use daxsim_traces::script::{Op, Script};

use super::scenario::Verdict;

/// Compares fault by fault, in order.
pub(super) fn compare(recorded: &[FaultRow], predicted: &[FaultRecord]) -> Verdict {
    let mut verdict = Verdict { recorded: recorded.len(), predicted: predicted.len(), ..Verdict::default() };
    for index in 0..recorded.len().max(predicted.len()) {
        let (want, got) = (recorded.get(index), predicted.get(index));
        let same = match (want, got) {
            (Some(want), Some(got)) => {
                let one = same_fault(want, got);
                let two = one && same_entries(want, got);
                let three = two && same_path(want, got);
                verdict.level1 += usize::from(one);
                verdict.level2 += usize::from(two);
                verdict.level3 += usize::from(three);
                three
            }
            _ => false,
        };
        if !same && verdict.first_difference.is_none() {
            verdict.first_difference = Some(format!(
                "fault {}:\n    recorded   {}\n    predicted  {}",
                index + 1,
                want.map_or_else(|| "(none)".to_owned(), show_row),
                got.map_or_else(|| "(none)".to_owned(), show_record),
            ));
        }
    }
    verdict
}

/// Flushes by reason and shootdown interrupts of each script line.
///
/// What the initiator does must be equal: its flushes (reason 3) and its sends (reason 4). What the targets do may be less
/// than predicted, and is counted apart: a CPU that a kernel thread had for a moment is lazy and left out, or says so with
/// reason 5, and a CPU whose call queue was not empty needs no interrupt. A zap that has to give way to another task in the
/// midst of a table flushes once more where dirty pages force a flush: one such flush more is background too. Lines that make, end or await a process are left
/// out: most of their flushes are of the program's own memory.
pub(super) fn compare_lines(
    recorded: &[OpRow],
    script: &Script,
    outcome: &ScriptOutcome,
    verdict: &mut Verdict,
) {
    for row in recorded {
        let op = script.line(row.op).map(|l| &l.op);
        if matches!(op, Some(Op::Fork { .. } | Op::Wait { .. } | Op::Exit)) {
            continue;
        }
        let zaps = matches!(
            op,
            Some(Op::Unmap { .. } | Op::Advise { .. } | Op::Truncate { .. } | Op::Fallocate { .. })
        );
        let got = outcome.lines.get(&u64::from(row.op)).copied().unwrap_or_default();
        let want = [
            row.count("tlb1") + row.count("tlb5"),
            row.count("tlb3"),
            row.count("tlb4"),
            row.count("ipi_tx"),
        ];
        let have = [got.flushes[1], got.flushes[3], got.flushes[4], got.broadcasts];
        verdict.lines_recorded += 1;
        let fewer = want[0] <= have[0] && want[3] <= have[3] && want[1..3] == have[1..3];
        let interrupted = zaps && want[1] == have[1] + 1 && want[2] <= have[2] + 1;
        if fewer || interrupted {
            verdict.lines += 1;
            verdict.lines_with_background += usize::from(want != have);
        } else if verdict.first_difference.is_none() {
            let show = |c: [u64; 4]| format!("tlb1+5 {} tlb3 {} tlb4 {} ipi_tx {}", c[0], c[1], c[2], c[3]);
            verdict.first_difference = Some(format!(
                "flushes of line {}:\n    recorded   {}\n    predicted  {}",
                row.op,
                show(want),
                show(have)
            ));
        }
    }
}

/// Thread, script line, address, error code and return value.
fn same_fault(want: &FaultRow, got: &FaultRecord) -> bool {
    want.op.map(u64::from) == Some(got.line)
        && want.thread == Some(got.thread)
        && want.addr == Some(got.address)
        && want.error_code == Some(got.error_code)
        && want.ret == got.ret
}

/// Old and new entry, frame number aside, where the recording shows them.
fn same_entries(want: &FaultRow, got: &FaultRecord) -> bool {
    let same = |want: Option<u64>, got: Option<Entry>| match want {
        None => true,
        Some(want) => got.is_some_and(|got| got.without_frame() == Entry(want).without_frame()),
    };
    same(want.old_pte, got.old) && same(want.new_pte, got.new)
}

/// A token of a path as it is compared. Everything is, but what `docs/conformance.md` lists by name:
///
/// - a flush by a task switch (reason 0): the scheduler of the recorded machine throws it in;
/// - `unmap_page_range`: a probe of 6.12 on the inner half of `zap_page_range_single`, which stands beside it;
/// - the flag DIRTY of an iomap: whether the journal has the inode's metadata, which other work of the machine decides.
///
/// `zap_page_range_single` of 6.12 and `zap_vma_range_batched` of 7.2 are one step under two names.
fn compared(token: &str) -> Option<&str> {
    match token {
        "unmap_page_range" => None,
        "zap_page_range_single" => Some("zap_vma_range_batched"),
        _ if token.starts_with("tlb0:") => None,
        _ if token.starts_with("iomap:") => {
            Some(token.strip_suffix("DIRTY").map_or(token, |rest| rest.trim_end_matches(['+', '|'])))
        }
        _ => Some(token),
    }
}

/// The tokens of a path that are compared, separated by blanks.
pub(super) fn compared_tokens<'a>(path: impl Iterator<Item = &'a str>) -> String {
    path.filter_map(compared).collect::<Vec<_>>().join(" ")
}

fn same_path(want: &FaultRow, got: &FaultRecord) -> bool {
    let predicted: Vec<String> = got.path.iter().map(ToString::to_string).collect();
    compared_tokens(want.path.split_whitespace()) == compared_tokens(predicted.iter().map(String::as_str))
}

pub(super) fn show_row(row: &FaultRow) -> String {
    let hex = |v: Option<u64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v:#x}"));
    format!(
        "op {} t{} {} {} {} -> {} ret {}\n               {}",
        row.op.map_or_else(|| "-".to_owned(), |v| v.to_string()),
        row.thread.map_or_else(|| "-".to_owned(), |v| v.to_string()),
        hex(row.addr.map(|a| a.0)),
        row.error_code.map_or_else(|| "-".to_owned(), |e| e.to_string()),
        hex(row.old_pte),
        hex(row.new_pte),
        row.ret.map_or_else(|| "-".to_owned(), |r| r.to_string()),
        row.path,
    )
}

pub(super) fn show_record(fault: &FaultRecord) -> String {
    let entry = |e: Option<Entry>| e.map_or_else(|| "-".to_owned(), |e| e.to_string());
    format!(
        "op {} t{} {} {} {} -> {} ret {}\n               {}",
        fault.line,
        fault.thread,
        fault.address,
        fault.error_code,
        entry(fault.old),
        entry(fault.new),
        fault.ret.map_or_else(|| "-".to_owned(), |r| r.to_string()),
        fault.path.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    )
}
