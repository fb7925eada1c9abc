//! WARN and WARN_ON_ONCE of the modelled kernel functions.

use std::collections::BTreeMap;

/// A condition that the kernel warns of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KernelWarning {
    /// A 4 KiB write insert found another frame, and not the zero page's.
    Mismatch4k,
    /// The same at 2 MiB.
    Mismatch2m,
    /// `dax_insert_pfn` was asked to map the zero page for writing.
    ZeroPageWrite,
    /// `vmf_insert_folio_pmd` got a folio that is not of 2 MiB.
    FolioOrder,
    /// `dax_disassociate_entry` took a page from its file that somebody still refers to.
    BusyPageFreed,
}

impl KernelWarning {
    /// What happened, in a few words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Mismatch4k => "WARN: a 4 KiB write insert over another frame",
            Self::Mismatch2m => "WARN: a 2 MiB write insert over another frame",
            Self::ZeroPageWrite => "WARN: the zero page inserted for writing",
            Self::FolioOrder => "WARN: a PMD insert of a folio that is not of 2 MiB",
            Self::BusyPageFreed => "WARN: a page left its file while it was referred to",
        }
    }

    /// Whether the kernel prints it the first time only (`WARN_ON_ONCE`).
    #[must_use]
    pub const fn is_once(self) -> bool {
        !matches!(self, Self::ZeroPageWrite)
    }
}

/// How often a condition was met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WarnCount {
    /// Times that the condition held.
    pub met: u64,
    /// Times that the kernel printed it.
    pub printed: u64,
}

/// The warnings of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelWarnings(BTreeMap<KernelWarning, WarnCount>);

impl KernelWarnings {
    /// Notes that a condition held.
    pub fn warn(&mut self, what: KernelWarning) {
        let count = self.0.entry(what).or_default();
        count.met += 1;
        if !what.is_once() || count.met == 1 {
            count.printed += 1;
        }
    }

    /// The count of one.
    #[must_use]
    pub fn get(&self, what: KernelWarning) -> WarnCount {
        self.0.get(&what).copied().unwrap_or_default()
    }

    /// Those that were met.
    pub fn iter(&self) -> impl Iterator<Item = (KernelWarning, WarnCount)> + '_ {
        self.0.iter().map(|(what, count)| (*what, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_means_printed_once_but_counted_always() {
        let mut warnings = KernelWarnings::default();
        for _ in 0..3 {
            warnings.warn(KernelWarning::FolioOrder);
            warnings.warn(KernelWarning::ZeroPageWrite);
        }
        assert_eq!(warnings.get(KernelWarning::FolioOrder), WarnCount { met: 3, printed: 1 });
        assert_eq!(warnings.get(KernelWarning::ZeroPageWrite), WarnCount { met: 3, printed: 3 });
        assert_eq!(warnings.get(KernelWarning::Mismatch4k), WarnCount::default());
    }
}
