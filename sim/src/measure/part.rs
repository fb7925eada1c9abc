//! The parts that simulated time is attributed to.

use std::ops::{Index, IndexMut};

use daxsim_types::Time;

/// What a CPU was doing. Every advance of a CPU's clock names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Part {
    /// User code and its data accesses that hit a cache.
    User,
    /// Waiting for the program's next step: no work on this CPU.
    Idle,
    /// Page walks and second-level TLB hits.
    Walk,
    /// Hardware setting A or D.
    Assist,
    /// Cache misses of user and kernel data.
    Memory,
    /// Exception or system-call entry and exit.
    Entry,
    /// VMA lookup, `handle_mm_fault` dispatch, access-flag work.
    Dispatch,
    /// Waiting for a lock that another CPU held.
    Locks,
    /// File system: prologue, journal, iomap, allocation.
    Fs,
    /// `fs/dax.c`: mapping entries and their bookkeeping.
    Dax,
    /// Page-table insert or upgrade, with page-table allocation.
    Insert,
    /// Zap of page tables and page accounting.
    Zap,
    /// Writeback: write-protection and cache-line write-back.
    Writeback,
    /// TLB flush work of the initiator.
    Flush,
    /// The initiator waiting for other CPUs to answer.
    IpiWait,
    /// A target handling a shootdown interrupt.
    IpiHandler,
    /// Exits to the hypervisor, which maps a page.
    Exit,
    /// The host of a virtual machine ran something else; only where interleavings are explored.
    Stolen,
}

impl Part {
    /// Every part, in the order of reports.
    pub const ALL: [Self; 18] = [
        Self::User,
        Self::Idle,
        Self::Walk,
        Self::Assist,
        Self::Memory,
        Self::Entry,
        Self::Dispatch,
        Self::Locks,
        Self::Fs,
        Self::Dax,
        Self::Insert,
        Self::Zap,
        Self::Writeback,
        Self::Flush,
        Self::IpiWait,
        Self::IpiHandler,
        Self::Exit,
        Self::Stolen,
    ];

    /// Short name for reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Idle => "idle",
            Self::Walk => "walk",
            Self::Assist => "assist",
            Self::Memory => "memory",
            Self::Entry => "entry",
            Self::Dispatch => "dispatch",
            Self::Locks => "locks",
            Self::Fs => "fs",
            Self::Dax => "dax",
            Self::Insert => "insert",
            Self::Zap => "zap",
            Self::Writeback => "writeback",
            Self::Flush => "flush",
            Self::IpiWait => "ipi wait",
            Self::IpiHandler => "ipi handler",
            Self::Exit => "exit",
            Self::Stolen => "stolen",
        }
    }
}

/// Time per part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts([Time; Part::ALL.len()]);

impl Parts {
    /// Sum over all parts.
    #[must_use]
    pub fn total(&self) -> Time {
        self.0.iter().copied().sum()
    }

    /// The growth of each part since `earlier`, a snapshot of the same counters.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut delta = Self::default();
        for part in Part::ALL {
            delta[part] = self[part] - earlier[part];
        }
        delta
    }

    /// Adds every part of `other`.
    pub fn add(&mut self, other: &Self) {
        for part in Part::ALL {
            self[part] += other[part];
        }
    }

    /// Parts with their times, in report order.
    pub fn iter(&self) -> impl Iterator<Item = (Part, Time)> + '_ {
        Part::ALL.into_iter().map(|part| (part, self[part]))
    }
}

impl Index<Part> for Parts {
    type Output = Time;
    fn index(&self, part: Part) -> &Time {
        &self.0[part as usize]
    }
}

impl IndexMut<Part> for Parts {
    fn index_mut(&mut self, part: Part) -> &mut Time {
        &mut self.0[part as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_its_own_slot_and_name() {
        let mut parts = Parts::default();
        for (i, part) in Part::ALL.into_iter().enumerate() {
            assert_eq!(part as usize, i);
            parts[part] += Time(1 << i);
        }
        assert_eq!(parts.total(), Time((1 << Part::ALL.len()) - 1));
        let names: std::collections::BTreeSet<_> = Part::ALL.map(Part::name).into();
        assert_eq!(names.len(), Part::ALL.len());
    }

    #[test]
    fn since_is_the_difference_of_snapshots() {
        let mut early = Parts::default();
        early[Part::Fs] = Time(5);
        let mut late = early;
        late[Part::Fs] += Time(7);
        late[Part::Walk] += Time(1);
        let delta = late.since(&early);
        assert_eq!((delta[Part::Fs], delta[Part::Walk], delta.total()), (Time(7), Time(1), Time(8)));
    }
}
