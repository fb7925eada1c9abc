//! The names of the lines that kernel objects lie on, as section 7.1 of the specification has them.

use std::collections::BTreeMap;

use daxsim_types::{CacheLine, CpuId};

use crate::machine::Machine;
use crate::measure::LineUse;

impl Machine {
    /// What the kernel's accesses to lines cost beyond the L1D since they are counted, by the name of the line. In a virtual machine
    /// lines are the host's and have none.
    #[must_use]
    pub fn line_uses(&self) -> BTreeMap<String, LineUse> {
        let names = self.line_names();
        self.measure.line_uses.by_name(|line| match names.get(&line) {
            Some(name) => name.clone(),
            None if self.pages.holds(line) => "struct page".to_owned(),
            None if self.tables.holds(line) => "page-table entry".to_owned(),
            None => "other lines".to_owned(),
        })
    }

    fn line_names(&self) -> BTreeMap<CacheLine, String> {
        let of_lock = |name: &str| format!("line of {name}");
        let mut names: BTreeMap<CacheLine, String> =
            self.locks.lines().map(|(line, class)| (line, of_lock(class.name()))).collect();
        let mut put = |line, name: &str| names.insert(line, name.to_owned());
        put(self.pages.line(self.globals.zero_page), "struct page of the zero page");
        put(self.globals.resource_line, "line of resource_lock");
        put(self.globals.journal_state_line, "line of j_state_lock");
        put(self.globals.transaction_line, "counters of the transaction");
        for line in &self.globals.pgmap_ref_lines {
            put(*line, "pgmap.ref");
        }
        for mm in &self.mms {
            put(mm.gen_line, "tlb_gen");
            put(mm.mask_line, "mm_cpumask");
            put(mm.gathers_line, "tlb_flush_pending");
        }
        for file in &self.files {
            put(file.extent_line, "extent map");
        }
        for cpu in 0..self.cpus.len() {
            put(self.call_lines.tlb_state(CpuId(cpu as u16)), "is_lazy");
        }
        names
    }
}
