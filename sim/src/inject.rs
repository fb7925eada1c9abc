//! Failures injected on purpose, for tests of returns that no program reaches by itself.
//!
//! An injection waits in the machine until the kernel function that it names comes by, and then decides one outcome
//! there. Everything after that is the model's own.

use daxsim_types::Pfn;

use crate::kernel::FileId;
use crate::kernel::dax_entry::{DaxEntry, EntryKind, PMD_PAGES};
use crate::machine::Machine;

/// One failure to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Injection {
    /// The `nth` allocation of a page table from now fails, counted from 1.
    TableAllocationFails {
        /// Which one.
        nth: u64,
    },
    /// The next insert of the frame finds its refcount at 0: the caller takes no temporary reference.
    PageRefcountZero(Pfn),
    /// The device hands the frame out without PFN_DEV and PFN_MAP, from now on.
    PfnNotDevmap(Pfn),
    /// The folio that begins at the frame is of this order, from now on, whatever its entry says.
    FolioOrder {
        /// First frame.
        pfn: Pfn,
        /// log2 of its pages.
        order: u8,
    },
    /// The next hole is loaded as if for writing.
    ZeroPfnWrite,
    /// The `nth` fsync from now fails, counted from 1: the journal cannot commit.
    FsyncFails {
        /// Which one.
        nth: u64,
    },
    /// What becomes of the entry of the next synchronous fault after its fsync, before the fault looks at it again.
    EntryBeforeFinish(EntryLoss),
}

/// How an entry is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryLoss {
    /// It is removed.
    Gone,
    /// An entry of 2 MiB takes its place.
    Huge,
}

/// The failures that wait.
#[derive(Debug, Default)]
pub(crate) struct Injections {
    table_allocations: Vec<u64>,
    fsyncs: Vec<u64>,
    unreferenced: Vec<Pfn>,
    not_devmap: Vec<Pfn>,
    orders: Vec<(Pfn, u8)>,
    zero_writes: u64,
    losses: Vec<EntryLoss>,
}

/// Counts an event; whether a countdown ends with it.
fn strike(countdowns: &mut Vec<u64>) -> bool {
    let before = countdowns.len();
    countdowns.retain_mut(|left| {
        *left = left.saturating_sub(1);
        *left > 0
    });
    countdowns.len() < before
}

impl Injections {
    pub(crate) fn add(&mut self, injection: Injection) {
        match injection {
            Injection::TableAllocationFails { nth } => self.table_allocations.push(nth),
            Injection::PageRefcountZero(pfn) => self.unreferenced.push(pfn),
            Injection::PfnNotDevmap(pfn) => self.not_devmap.push(pfn),
            Injection::FolioOrder { pfn, order } => self.orders.push((pfn, order)),
            Injection::ZeroPfnWrite => self.zero_writes += 1,
            Injection::FsyncFails { nth } => self.fsyncs.push(nth),
            Injection::EntryBeforeFinish(loss) => self.losses.push(loss),
        }
    }

    /// Whether this allocation of a page table fails.
    pub(crate) fn fails_table(&mut self) -> bool {
        strike(&mut self.table_allocations)
    }

    /// Whether this fsync fails.
    pub(crate) fn fails_fsync(&mut self) -> bool {
        strike(&mut self.fsyncs)
    }

    /// Whether the caller of this insert forgets its temporary reference.
    pub(crate) fn drops_reference(&mut self, pfn: Pfn) -> bool {
        let before = self.unreferenced.len();
        self.unreferenced.retain(|of| *of != pfn);
        self.unreferenced.len() < before
    }

    pub(crate) fn is_not_devmap(&self, pfn: Pfn) -> bool {
        self.not_devmap.contains(&pfn)
    }

    /// The order that a folio was given.
    pub(crate) fn order_of(&self, pfn: Pfn) -> Option<u8> {
        self.orders.iter().rev().find(|(of, _)| *of == pfn).map(|(_, order)| *order)
    }

    /// Whether this hole is loaded for writing.
    pub(crate) fn writes_zero(&mut self) -> bool {
        let writes = self.zero_writes > 0;
        self.zero_writes -= u64::from(writes);
        writes
    }
}

impl Machine {
    /// Does to the entry of a synchronous fault what was injected; returns the CPUs that waited for it.
    pub(crate) fn lose_entry(&mut self, file: FileId, head: u64) -> Vec<usize> {
        if self.injections.losses.is_empty() {
            return Vec::new();
        }
        let loss = self.injections.losses.remove(0);
        let entries = &mut self.file_mut(file).entries;
        let Some(pfn) = entries.find(head).map(|(_, entry)| entry.pfn) else { return Vec::new() };
        let waiters = entries.remove(head);
        if loss == EntryLoss::Huge {
            let first = head & !(PMD_PAGES - 1);
            entries.remove_range(first, PMD_PAGES);
            let pfn = Pfn(pfn.0 - (head - first));
            let entry = DaxEntry { kind: EntryKind::Block, pfn, locked: false, ..DaxEntry::empty(true) };
            entries.store(first, entry);
        }
        waiters
    }
}
