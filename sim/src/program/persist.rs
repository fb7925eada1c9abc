//! Instructions that move lines towards persistence, and the fences that wait for them.
//!
//! CLWB, CLFLUSHOPT and non-temporal stores are posted: the CPU goes on, and they are ordered among each other only where they
//! are of the same line, until an SFENCE or MFENCE waits for all of them (Intel SDM vol. 1, 12.10.2, vol. 2). CLFLUSH is
//! ordered with stores and with other CLFLUSHes: here the CPU waits until its line is where it goes. To translation a flush is
//! a load of a byte: it may fault, and sets A but not D. A non-temporal store is a store.
//!
//! A step begins with the stores of the one before in the caches, so a flush finds them. The fill buffers of posted writes that
//! a step leaves behind are not counted in the next one.

use daxsim_types::{AccessKind, LINE_BYTES, VirtAddr};

use super::StepOutcome;
use super::access::{Ended, faulting_access};
use super::source::Access;
use crate::engine::{Cx, Lines};
use crate::kernel::Origin;
use crate::measure::Part;
use crate::mmu::Refusal;

/// What happens to the lines of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineWrite {
    /// A non-temporal store of the whole line.
    NtStore,
    /// CLWB.
    Clwb,
    /// CLFLUSHOPT.
    ClflushOpt,
    /// CLFLUSH.
    Clflush,
}

impl LineWrite {
    /// The name of the instruction.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NtStore => "non-temporal stores",
            Self::Clwb => "clwb",
            Self::ClflushOpt => "clflushopt",
            Self::Clflush => "clflush",
        }
    }

    const fn kind(self) -> AccessKind {
        match self {
            Self::NtStore => AccessKind::Write,
            Self::Clwb | Self::ClflushOpt | Self::Clflush => AccessKind::Read,
        }
    }
}

/// Executes one instruction for each line of a range. A line without a mapping gets a signal, and the next one follows.
pub(crate) async fn write_lines(
    cx: &Cx<'_>,
    origin: Origin,
    (start, len): (u64, u64),
    what: LineWrite,
) -> StepOutcome {
    let mut outcome = StepOutcome::default();
    let mut lines = Lines::new(*cx);
    let (first, end) = (start & !(LINE_BYTES - 1), start.saturating_add(len));
    for va in (first..end).step_by(LINE_BYTES as usize).map(VirtAddr) {
        outcome.accesses += 1;
        match translated(cx, origin, va, what).await {
            Ended::Completed(line) => match what {
                LineWrite::NtStore => lines.nt_store(line).await,
                LineWrite::Clwb => lines.clwb(line).await,
                LineWrite::ClflushOpt => lines.clflushopt(line).await,
                LineWrite::Clflush => lines.clflush(line).await,
            },
            Ended::Signal => outcome.signals += 1,
            Ended::Livelock => {
                outcome.livelock = true;
                break;
            }
        }
        if what == LineWrite::NtStore {
            cx.with(|m| m.measure.count_access(AccessKind::Write));
        }
    }
    lines.begin_all().await;
    let accepted = lines.accepted();
    cx.on_cpu(|c| c.posted = c.posted.max(accepted));
    outcome
}

/// The line at an address, after whatever faults that takes.
async fn translated(
    cx: &Cx<'_>,
    origin: Origin,
    va: VirtAddr,
    what: LineWrite,
) -> Ended<daxsim_types::CacheLine> {
    let (index, kind) = (cx.cpu().index(), what.kind());
    cx.sync().await;
    let levels = cx.with(|m| m.spec.mmu.levels);
    let found = if va.is_canonical_in(levels) {
        cx.with(|m| m.translate(index, va, kind, true))
    } else {
        Err(Refusal::GeneralProtection)
    };
    match found {
        Ok(physical) => Ended::Completed(physical.line()),
        Err(refusal) => {
            let access = Access::new(va, kind);
            let again = || cx.with(|m| m.translate(index, va, kind, true)).map(|physical| physical.line());
            faulting_access(cx, origin, access, refusal, again).await
        }
    }
}

/// SFENCE or MFENCE: waits until everything posted is accepted. The loads and stores of earlier steps are complete already.
pub(crate) async fn fence(cx: &Cx<'_>) {
    cx.on_cpu(|c| {
        let posted = c.posted;
        c.wait_until(posted, Part::Memory);
    });
    cx.sync().await;
}
