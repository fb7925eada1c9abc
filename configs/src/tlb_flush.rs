//! `[tlb_flush]`: how the kernel gets stale translations out of other CPUs' TLBs. The defaults are what Linux does without INVLPGB; the
//! rest is what others proposed. `docs/shootdowns.md` has the sources.

use crate::schema::{Kind, choices, section};

/// `[tlb_flush]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlbFlushKnobs {
    /// How other CPUs learn of a flush.
    pub mechanism: FlushMechanism,
    /// Whether remote action requests take the place of INVLPGB where the CPU has them.
    pub rar: bool,
    /// How the local APIC names several targets.
    pub destination: IpiDestination,
    /// Whether an interrupt for all other CPUs is sent by the shorthand.
    pub shorthand: bool,
    /// Whether the initiator flushes while the others do.
    pub concurrent: bool,
    /// Whether a target answers before it flushes.
    pub early_ack: bool,
    /// Whether what a target reads and writes is on two lines rather than on four.
    pub consolidated_lines: bool,
    /// Whether the user half of isolated tables is flushed on the way back to user mode.
    pub in_context_user_flush: bool,
    /// Whether a copy on write spares the local flush.
    pub cow_avoids_flush: bool,
    /// States of a CPU of the lazy mechanism.
    pub lazy_states: u32,
}

/// How other CPUs learn of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushMechanism {
    /// By an interrupt that the initiator waits for.
    Ipi,
    /// What frees memory leaves a state behind that the others sweep at a tick or a task switch.
    Lazy,
    /// At once and for nothing.
    Ideal,
}

/// How the local APIC names several targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpiDestination {
    /// Logical mode: one ICR write for the targets of a cluster of 16.
    Cluster,
    /// Physical mode: one for each target.
    Unicast,
}

choices!(MECHANISMS: FlushMechanism { "ipi" => Ipi, "lazy" => Lazy, "ideal" => Ideal });
choices!(DESTINATIONS: IpiDestination { "cluster" => Cluster, "unicast" => Unicast });

section!(tlb_flush: TlbFlushKnobs, "tlb_flush" {
    mechanism "mechanism" = "ipi": Kind::Choice(MECHANISMS),
        "How other CPUs learn of a flush: by an interrupt that the initiator waits for; by a state that they sweep at the next tick \
         or task switch, where memory is freed (LATR); at once and for nothing (an ideal to compare with).";
    rar "rar" = "false": Kind::Bool,
        "Whether global ASIDs and remote action requests are used where the CPU has them (`ipi.rar_entries`).";
    destination "destination" = "cluster": Kind::Choice(DESTINATIONS),
        "One ICR write for the targets of a cluster of 16 (x2apic_cluster), or one for each target (x2apic_phys).";
    shorthand "shorthand" = "true": Kind::Bool,
        "Whether an interrupt for all online CPUs but the sender goes by one ICR write (`apic_use_ipi_shorthand`).";
    concurrent "concurrent" = "true": Kind::Bool,
        "Whether the initiator flushes while the others do (since 5.13), or before it tells them.";
    early_ack "early_ack" = "false": Kind::Bool,
        "Whether a target answers before it flushes, unless page tables are freed.";
    consolidated_lines "consolidated_lines" = "false": Kind::Bool,
        "Whether the lazy flag shares a line with the call queue, and what is to be flushed with the call (2 lines, not 4).";
    in_context_user_flush "in_context_user_flush" = "false": Kind::Bool,
        "Whether pages of the user half (PTI) are flushed by INVLPG on the way to user mode, rather than by INVPCID at once.";
    cow_avoids_flush "cow_avoids_flush" = "false": Kind::Bool,
        "Whether a copy on write replaces the local translation by a write of the kernel through it, rather than by a flush.";
    lazy_states "lazy_states" = "64": Kind::Count { min: 1, max: 4096 },
        "States that a CPU can leave behind at a time with `mechanism = \"lazy\"`; beyond them it interrupts.";
});
