//! The tables beside a script: extents that it is given, and the faults that it took.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use daxsim_sim::measure::FaultRecord;
use daxsim_sim::program::script::Layout;
use daxsim_traces::fault_table::FaultRow;
use daxsim_traces::layout;

/// Extents by file name, from `filefrag -v`.
pub fn read_layouts(path: &Path) -> Result<BTreeMap<String, Layout>> {
    let files = layout::open(path)?;
    Ok(files
        .iter()
        .map(|file| {
            // Blocks of other sizes than a page do not occur with DAX (spec 4.1); scale them all the same.
            let scale = (file.block_size / 4096).max(1);
            let extents = file
                .extents
                .iter()
                .map(|e| (e.logical * scale, e.physical * scale, e.length * scale, !e.flags.is_unwritten()))
                .collect();
            (file.name().to_owned(), extents)
        })
        .collect())
}

/// A row of the fault table.
pub fn row(fault: &FaultRecord) -> FaultRow {
    let path: Vec<String> = fault.path.iter().map(ToString::to_string).collect();
    FaultRow {
        op: u32::try_from(fault.line).ok(),
        thread: Some(fault.thread),
        pid: None,
        cpu: Some(fault.cpu),
        time_ns: Some(fault.time.0 / 1000),
        addr: Some(fault.address),
        error_code: Some(fault.error_code),
        kernel: false,
        old_pte: fault.old.map(|e| e.0),
        new_pte: fault.new.map(|e| e.0),
        pfn: fault.pfn,
        ret: fault.ret,
        path: path.join(" "),
    }
}
