//! Events that user mode printed from the descriptions of a kernel, as perf does: the fields have the kernel's form, names are
//! those of the tracepoints.

use daxsim_types::VmFault;

use super::event::{DaxPte, Event};
use super::fields::Fields;
use super::kinds::{Kinds, Parse};
use super::line::is_probe;
use super::meaning::Meaning;
use super::parse_sys;
use super::scan::Scan;
use super::stats::Stats;
use super::text::Name;

/// The event of a tracepoint's name, without its system, and the text of its fields; `None` if it has another form.
pub(crate) fn printed(name: &[u8], text: &[u8], stats: &mut Stats) -> Option<Event> {
    let meaning = Meaning::of(name, is_probe(text));
    let mut s = Scan(text);
    let mut event = match &meaning {
        Meaning::Kind(number) => match Kinds::get().kind(*number)?.text {
            Parse::Event(parse) => parse(&mut s)?,
            Parse::Probe(parse) => {
                s.lit(b"(")?;
                s.until(b')')?;
                Event::Probe(parse(&mut s).filter(|_| s.at_end())?)
            }
            Parse::Sys(call) => Event::SysEnter(parse_sys::arguments(call, &mut s)?),
        },
        Meaning::Exit(_, call) => Event::SysExit { call: *call, ret: parse_sys::exit(text)? },
        Meaning::Call(name, exit) => {
            Event::SysOther { name: Name::new(name), ret: if *exit { parse_sys::exit(text) } else { None } }
        }
        Meaning::Probe => Event::KprobeOther { name: Name::new(name) },
        Meaning::Other => Event::Unknown,
    };
    if let Some(fault) = fault(&mut event)
        && fault.result == VmFault::OOM
        && has_numbers_for_flags(text)
    {
        fault.result = VmFault(0);
    }
    meaning.count(name, &event, stats);
    Some(event)
}

fn fault(event: &mut Event) -> Option<&mut DaxPte> {
    match event {
        Event::DaxPteFault(fault)
        | Event::DaxPteFaultDone(fault)
        | Event::DaxLoadHole(fault)
        | Event::DaxInsertPfnMkwrite(fault)
        | Event::DaxInsertPfnMkwriteNoEntry(fault) => Some(fault),
        Event::DaxPmdFault(pmd) | Event::DaxPmdFaultDone(pmd) => Some(&mut pmd.fault),
        _ => None,
    }
}

/// Whether the flags of a fault are printed as a number. The descriptions of some kernels name the flags by constants that
/// user mode does not know and takes for 0: then it prints a number for all but 0, and for 0 the first name of the table, `OOM`.
fn has_numbers_for_flags(text: &[u8]) -> bool {
    [&b" shared 0x"[..], b" private 0x"].iter().any(|mark| memchr::memmem::find(text, mark).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftrace::{FaultFlags, SysCall};

    fn event(name: &str, text: &str) -> Option<Event> {
        printed(name.as_bytes(), text.as_bytes(), &mut Stats::default())
    }

    #[test]
    fn the_first_name_of_a_table_may_mean_nothing() {
        let head = "dev 259:0 ino 0xc shared";
        let Some(Event::DaxPteFault(fault)) =
            event("dax_pte_fault", &format!("{head} 0xa55 address 0x1000 pgoff 0 OOM"))
        else {
            panic!()
        };
        assert_eq!((fault.flags, fault.result), (FaultFlags(0xa55), VmFault(0)));
        let Some(Event::DaxPteFault(fault)) =
            event("dax_pte_fault", &format!("{head} WRITE|USER address 0x1000 pgoff 0 OOM"))
        else {
            panic!()
        };
        assert_eq!(fault.result, VmFault::OOM);
    }

    #[test]
    fn system_calls_have_the_names_of_their_tracepoints() {
        let entered = event("sys_enter_fsync", "fd: 0x00000008");
        assert!(matches!(entered, Some(Event::SysEnter(call)) if call.call() == SysCall::Fsync));
        assert_eq!(
            event("sys_exit_fsync", "0xffffffffffffffea"),
            Some(Event::SysExit { call: SysCall::Fsync, ret: -22 })
        );
        assert_eq!(
            event("sys_exit_read", "0x3"),
            Some(Event::SysOther { name: Name::new(b"read"), ret: Some(3) })
        );
        assert_eq!(event("sys_enter_fsync", "file: 1"), None);
    }

    #[test]
    fn probes_have_their_address_in_parentheses() {
        let probed = event("__split_huge_pmd", "(ffffffff813f0) addr=0x1000 freeze=0");
        assert!(matches!(probed, Some(Event::Probe(_))));
        let other = event("some_probe_ret", "(ffffffff813f0004 <- ffffffff81234567) a=1");
        assert_eq!(other, Some(Event::KprobeOther { name: Name::new(b"some_probe_ret") }));
        assert_eq!(event("rss_stat", "mm_id=1"), Some(Event::Unknown));
    }
}
