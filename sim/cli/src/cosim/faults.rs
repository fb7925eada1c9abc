//! The real kernel's way through a fault, found in the stream.
//!
//! An access that faults is not streamed; its repeat is. So a fault is a run of accesses by the kernel after which the program makes the
//! first access to a page of persistent memory, or its first store to one that it has only loaded from. What came before
//! within the run (the program's instructions since its last access) and the repeat itself are in it. A first store of which the kernel filled the page
//! allocated its block (`_hole`). Whether the page is a large one the guest's tables say; without them it shows when pages beside one that
//! faulted are accessed for the first time without the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use daxsim_sim::bare::{Access, kind};

use super::runs::Way;

/// Kinds that `daxsim explain fault` has.
pub const MODELLED: [&str; 10] = [
    "read",
    "read_hole",
    "write",
    "write_hole",
    "mkwrite",
    "cow",
    "pmd_read",
    "pmd_write",
    "pmd_write_hole",
    "pmd_mkwrite",
];

/// What the program did to a page.
#[derive(Clone, Copy, Debug, Default)]
struct Page {
    /// Where it is: elsewhere, it is another page.
    frame: u64,
    loaded: bool,
    stored: bool,
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// One of [`MODELLED`], without the size of the page.
    kind: &'static str,
    /// Its 2 MiB of virtual addresses.
    region: u64,
    /// Whether its page is a large one, if that was seen in the guest's tables.
    large: Option<bool>,
    /// From the kernel's first access to the end of the repeated one.
    pub way: Way,
}

/// All faults of a stream.
pub struct Faults {
    dax: Range<u64>,
    pages: BTreeMap<u64, Page>,
    /// The page that was looked at last, by CPU, with what was done to it.
    last: Vec<(u64, Page)>,
    found: Vec<Found>,
    /// Regions of which pages came without the kernel.
    silent: BTreeSet<u64>,
}

impl Faults {
    /// Of a machine with so many CPUs, whose persistent memory is there.
    pub fn new(cpus: usize, dax: Range<u64>) -> Self {
        let (pages, found) = (BTreeMap::new(), Vec::new());
        let last = vec![(u64::MAX, Page::default()); cpus];
        Self { dax, pages, last, found, silent: BTreeSet::new() }
    }

    /// Whether an access is one to persistent memory.
    #[inline]
    pub fn is_dax(&self, access: &Access) -> bool {
        self.dax.contains(&access.pa)
    }

    /// A run of the kernel's gave way to an access of the program to persistent memory, on a page that is `large`, if that is known. Its kind,
    /// if it was a fault.
    pub fn after_kernel(
        &mut self,
        cpu: u16,
        access: &Access,
        way: Way,
        large: Option<bool>,
    ) -> Option<&'static str> {
        let kind = match (self.first(cpu, access)?, self.is_dax(access)) {
            ("write", true) if way.filled => "write_hole",
            (kind, true) => kind,
            // What scripts map may lead to a hole's page of zeroes, and to a private copy.
            ("read", false) => "read_hole",
            (_, false) => "cow",
        };
        self.found.push(Found { kind, region: access.va >> 21, large, way });
        Some(kind)
    }

    /// An access of the program to persistent memory without the kernel before it.
    pub fn alone(&mut self, cpu: u16, access: &Access) {
        if self.first(cpu, access).is_some() {
            self.silent.insert(access.va >> 21);
        }
    }

    /// Notes an access of the program; which fault it has had, if it is the first of its kind to its page.
    fn first(&mut self, cpu: u16, access: &Access) -> Option<&'static str> {
        let (number, frame, store) = (access.va >> 12, access.pa >> 12, access.kind != kind::LOAD);
        let last = self.last.get_mut(usize::from(cpu))?;
        if last.0 == number && last.1.frame == frame && (last.1.stored || !store) {
            return None;
        }
        let page = self.pages.entry(number).or_default();
        if page.frame != frame {
            *page = Page { frame, ..Page::default() };
        }
        let before = *page;
        page.loaded |= !store;
        page.stored |= store;
        *last = (number, *page);
        match (before.loaded, before.stored, store) {
            (_, true, _) | (true, _, false) => None,
            (false, false, false) => Some("read"),
            (false, false, true) => Some("write"),
            (true, false, true) => Some("mkwrite"),
        }
    }

    /// All faults by kind.
    pub fn by_kind(&self) -> BTreeMap<String, Vec<Found>> {
        let mut all: BTreeMap<String, Vec<Found>> = BTreeMap::new();
        for found in &self.found {
            let is_large = found.large.unwrap_or_else(|| self.silent.contains(&found.region));
            let size = if is_large { "pmd_" } else { "" };
            all.entry(format!("{size}{}", found.kind)).or_default().push(*found);
        }
        all
    }
}
