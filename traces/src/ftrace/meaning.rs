//! What the events of a name are, where the name is that of the tracepoint.

use super::event::Event;
use super::kinds::{Kinds, Parse};
use super::stats::Stats;
use super::syscall::SysCall;

/// What the events of a tracepoint are.
pub(super) enum Meaning {
    /// An event with a type, by the number of its kind.
    Kind(usize),
    /// The return of a system call with a type.
    Exit(usize, SysCall),
    /// Another system call: its name in text, and whether this is the return.
    Call(Box<[u8]>, bool),
    /// A kernel probe without a type.
    Probe,
    /// An event without a type.
    Other,
}

/// The name under which the kernel prints text that user mode wrote.
pub(super) const MARKER: &[u8] = b"tracing_mark_write";

impl Meaning {
    /// By the name of a tracepoint. `sys_enter_x` and `sys_exit_x` are what tracefs prints as `sys_x`, `print` is its marker.
    pub fn of(name: &[u8], is_probe: bool) -> Self {
        let kinds = Kinds::get();
        let call = |call: &[u8]| [b"sys_", call].concat();
        if let Some(entered) = name.strip_prefix(b"sys_enter_") {
            return match kinds.find(&call(entered)) {
                Some((number, _)) => Self::Kind(number),
                None => Self::Call(entered.into(), false),
            };
        }
        if let Some(returned) = name.strip_prefix(b"sys_exit_") {
            return match kinds.find(&call(returned)) {
                Some((number, kind)) => match kind.binary {
                    Parse::Sys(call) => Self::Exit(number, call),
                    _ => Self::Other,
                },
                None => Self::Call(returned.into(), true),
            };
        }
        match kinds.find(if name == b"print" { MARKER } else { name }) {
            Some((number, _)) => Self::Kind(number),
            None if is_probe => Self::Probe,
            None => Self::Other,
        }
    }

    /// Counts an event as the text of tracefs is counted.
    pub fn count(&self, name: &[u8], event: &Event, stats: &mut Stats) {
        match self {
            Self::Kind(_) if *event == Event::Unknown => stats.count_other(b"(trace_printk)"),
            Self::Kind(number) => stats.count_known(*number),
            Self::Exit(number, _) => stats.count_exit(*number),
            Self::Call(name, false) => stats.count_other(&[b"sys_", &**name].concat()),
            Self::Call(_, true) => {}
            Self::Probe | Self::Other => stats.count_other(name),
        }
    }
}
