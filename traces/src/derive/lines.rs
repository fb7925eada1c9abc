//! Script lines, each with what was counted while it ran.

use std::collections::BTreeMap;

use super::steps::Shown;
use super::{Of, Running};
use crate::ftrace::{Event, Probe, Record};
use crate::ops_table::OpRow;

/// What is counted, by line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rows: BTreeMap<u32, OpRow>,
}

impl Lines {
    pub fn begin(&mut self, line: u32, thread: u16, text: &str) {
        let row = self.row(line);
        row.thread = Some(thread);
        text.clone_into(&mut row.text);
    }

    pub fn end(&mut self, line: u32, how: &str) {
        how.clone_into(&mut self.row(line).end);
    }

    pub fn finish(self) -> Vec<OpRow> {
        self.rows.into_values().collect()
    }

    fn row(&mut self, line: u32) -> &mut OpRow {
        self.rows.entry(line).or_insert_with(|| OpRow { op: line, ..OpRow::default() })
    }

    fn count(&mut self, line: Option<u32>, column: impl Into<String>) {
        if let Some(line) = line {
            *self.row(line).counts.entry(column.into()).or_default() += 1;
        }
    }

    /// Counts an event. What tasks do is counted for their line; what CPUs do for each other, for the only line that runs, whosever it
    /// is.
    pub fn take(&mut self, record: &Record, shown: &Shown<'_>, running: &Running, of: &Of) {
        let (own, only) = (running.own(record.pid), running.only());
        let line = own.or(only);
        match &record.event {
            Event::PageFault { kernel, address, error_code, .. } if of.has(address.0) => {
                self.count(line, format!("{}{error_code}", if *kernel { "kf" } else { "uf" }));
            }
            Event::TlbFlush { reason, .. } if *reason != 0 => {
                self.count(only.or(line), format!("tlb{reason}"))
            }
            Event::IpiSend { is_shootdown: true, .. } => self.count(only.or(line), "ipi_tx"),
            Event::CallFunction { exit: false, .. } => self.count(only, "ipi_rx"),
            Event::DaxPteFaultDone(_) => self.count(line, "pte"),
            Event::DaxPmdFaultDone(_) => self.count(line, "pmd"),
            Event::DaxLoadHole(_) | Event::DaxPmdLoadHole(_) | Event::DaxWritebackOne { .. } => {
                self.count(line, shown.name);
            }
            Event::Probe(
                Probe::InsertPfnRet { .. }
                | Probe::InsertPageIntoPteLockedRet { .. }
                | Probe::VmfInsertPfnPmdRet { .. }
                | Probe::VmfInsertFolioPmdRet { .. },
            ) => self.count(line, format!("ins {}", shown.value(" ret=").unwrap_or("?"))),
            Event::Probe(
                Probe::PtepSetAccessFlagsRet { changed, .. } | Probe::PmdpSetAccessFlagsRet { changed, .. },
            ) => self.count(line, format!("saf{}", u8::from(*changed))),
            _ => {}
        }
    }
}
