//! The table of event names.

use std::marker::PhantomData;
use std::sync::LazyLock;

use super::event::Event;
use super::fields::{Binary, Notation, Text};
use super::parse_dax as dax;
use super::parse_event as ev;
use super::parse_probe::{ParseProbe, Probes};
use super::syscall::SysCall;

/// Reads the fields of an event.
type ParseEvent<N> = for<'a> fn(&mut <N as Notation>::Fields<'a>) -> Option<Event>;

/// How the fields of an event are read.
pub(super) enum Parse<N: Notation> {
    /// A tracepoint; of text, what is behind `name: `.
    Event(ParseEvent<N>),
    /// A kernel probe; of text, what is behind `(symbol+offset)`.
    Probe(ParseProbe<N>),
    /// A system call, at its entry or return.
    Sys(SysCall),
}

/// A known event.
pub(super) struct Kind {
    pub name: &'static str,
    pub text: Parse<Text>,
    pub binary: Parse<Binary>,
}

/// The tracepoints with a type.
struct Events<N>(PhantomData<N>);

impl<N: Notation> Events<N> {
    const ALL: [(&'static str, ParseEvent<N>); 27] = [
        ("page_fault_user", |s| ev::page_fault(s, false)),
        ("page_fault_kernel", |s| ev::page_fault(s, true)),
        ("dax_pte_fault", |s| dax::pte(s).map(Event::DaxPteFault)),
        ("dax_pte_fault_done", |s| dax::pte(s).map(Event::DaxPteFaultDone)),
        ("dax_load_hole", |s| dax::pte(s).map(Event::DaxLoadHole)),
        ("dax_insert_pfn_mkwrite", |s| dax::pte(s).map(Event::DaxInsertPfnMkwrite)),
        ("dax_insert_pfn_mkwrite_no_entry", |s| dax::pte(s).map(Event::DaxInsertPfnMkwriteNoEntry)),
        ("dax_pmd_fault", |s| dax::pmd(s).map(Event::DaxPmdFault)),
        ("dax_pmd_fault_done", |s| dax::pmd(s).map(Event::DaxPmdFaultDone)),
        ("dax_pmd_load_hole", |s| dax::pmd_hole(s).map(Event::DaxPmdLoadHole)),
        ("dax_pmd_load_hole_fallback", |s| dax::pmd_hole(s).map(Event::DaxPmdLoadHoleFallback)),
        ("dax_writeback_range", |s| dax::writeback_range(s).map(Event::DaxWritebackRange)),
        ("dax_writeback_range_done", |s| dax::writeback_range(s).map(Event::DaxWritebackRangeDone)),
        ("dax_writeback_one", |s| dax::writeback_one(s)),
        ("iomap_iter_dstmap", |s| dax::iomap(s)),
        ("tlb_flush", |s| ev::tlb_flush(s)),
        ("sched_switch", |s| ev::sched_switch(s)),
        ("sched_migrate_task", |s| ev::sched_migrate(s)),
        ("call_function_entry", |s| ev::vector(s).map(|vector| Event::CallFunction { exit: false, vector })),
        ("call_function_exit", |s| ev::vector(s).map(|vector| Event::CallFunction { exit: true, vector })),
        ("call_function_single_entry", |s| {
            ev::vector(s).map(|vector| Event::CallFunctionSingle { exit: false, vector })
        }),
        ("call_function_single_exit", |s| {
            ev::vector(s).map(|vector| Event::CallFunctionSingle { exit: true, vector })
        }),
        ("reschedule_entry", |s| ev::vector(s).map(|vector| Event::Reschedule { exit: false, vector })),
        ("reschedule_exit", |s| ev::vector(s).map(|vector| Event::Reschedule { exit: true, vector })),
        ("ipi_send_cpu", |s| ev::ipi_cpu(s)),
        ("ipi_send_cpumask", |s| ev::ipi_mask(s)),
        ("tracing_mark_write", |s| ev::marker(s)),
    ];
}

/// Kinds of tracepoints, probes and system calls, in this order.
fn all<N: Notation>() -> impl Iterator<Item = (&'static str, Parse<N>)> {
    let events = Events::<N>::ALL.into_iter().map(|(name, f)| (name, Parse::Event(f)));
    let probes = Probes::<N>::ALL.into_iter().map(|(name, f)| (name, Parse::Probe(f)));
    let calls = SysCall::ALL.into_iter().map(|c| (c.event_name(), Parse::Sys(c)));
    events.chain(probes).chain(calls)
}

/// Slots of the hash table: a power of two, well above the number of names.
const SLOTS: usize = 512;

/// The known events, found by name.
pub(super) struct Kinds {
    kinds: Vec<Kind>,
    slots: [u8; SLOTS],
}

/// No kind in a slot.
const FREE: u8 = u8::MAX;

static KINDS: LazyLock<Kinds> = LazyLock::new(|| {
    let both = all::<Text>().zip(all::<Binary>());
    let kind = |((name, text), (_, binary))| Kind { name, text, binary };
    let mut kinds = Kinds { kinds: both.map(kind).collect(), slots: [FREE; SLOTS] };
    for (i, kind) in kinds.kinds.iter().enumerate() {
        let mut slot = hash(kind.name.as_bytes());
        while kinds.slots.get(slot % SLOTS).is_some_and(|&s| s != FREE) {
            slot += 1;
        }
        if let Some(s) = kinds.slots.get_mut(slot % SLOTS) {
            *s = i as u8;
        }
    }
    kinds
});

impl Kinds {
    pub fn get() -> &'static Self {
        &KINDS
    }

    /// The kind of a name, and its number.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<(usize, &Kind)> {
        let mut slot = hash(name);
        loop {
            // A free slot ends the search; most slots are free.
            let index = usize::from(*self.slots.get(slot % SLOTS)?);
            let kind = self.kinds.get(index)?;
            if kind.name.as_bytes() == name {
                return Some((index, kind));
            }
            slot += 1;
        }
    }

    /// The kind of a number.
    pub fn kind(&self, number: usize) -> Option<&Kind> {
        self.kinds.get(number)
    }

    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.kinds.iter()
    }
}

/// Mixes the length, the first and the last 8 bytes: names differ there.
#[inline]
fn hash(name: &[u8]) -> usize {
    let word = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |b| u64::from_le_bytes(*b));
    let mix = if name.len() >= 8 {
        word(name.first_chunk()) ^ word(name.last_chunk()).rotate_left(29)
    } else {
        name.iter().fold(0, |h, &b| h << 8 | u64::from(b))
    };
    ((mix ^ name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        let kinds = Kinds::get();
        assert!(kinds.len() < usize::from(FREE));
        for (i, kind) in kinds.iter().enumerate() {
            assert_eq!(kinds.find(kind.name.as_bytes()).map(|(n, _)| n), Some(i), "{}", kind.name);
        }
        for name in ["", "x", "tlb_flus", "tlb_flush_", "dax_pte_fault_don", "sys_open"] {
            assert!(kinds.find(name.as_bytes()).is_none(), "{name}");
        }
    }
}
