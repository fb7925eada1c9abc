//! `[ipi]`: interrupts between CPUs, and what a hypervisor or remote action requests make of them.

use daxsim_types::Time;

use crate::schema::{Kind, TIME, section};

/// `[ipi]`: the interrupt path.
#[derive(Clone, Debug, PartialEq)]
pub struct IpiSpec {
    /// One write to the x2APIC ICR by the sender.
    pub icr_write: Time,
    /// From the ICR write to the acceptance by a target of the same complex.
    pub delivery: Time,
    /// What delivery takes longer to another complex of the socket.
    pub delivery_socket: Time,
    /// What delivery takes longer to another socket.
    pub delivery_remote: Time,
    /// Interrupt delivery on the target to the handler's first instruction.
    pub handler_entry: Time,
    /// EOI and IRET on the target.
    pub handler_exit: Time,
    /// What the exit of a virtual machine adds to each ICR write.
    pub icr_exit: Time,
    /// What a hypervisor adds until a virtual CPU has the interrupt.
    pub injection: Time,
    /// Remote action requests that are under way at most (Intel RAR); 0 if the CPU has none.
    pub rar_entries: u32,
    /// What a target takes to find a remote action request and to acknowledge it, without the invalidations.
    pub rar_action: Time,
}

section!(ipi: IpiSpec, "ipi" {
    icr_write "icr_write": TIME, "One write to the x2APIC ICR by the sender; several go one after another.";
    delivery "delivery": TIME, "From the ICR write to the target's acceptance, in the same core complex.";
    delivery_socket "delivery_socket" = "0 ns": TIME, "What delivery takes longer to another complex of the socket.";
    delivery_remote "delivery_remote" = "0 ns": TIME, "What delivery takes longer to another socket.";
    handler_entry "handler_entry": TIME, "From acceptance to the handler's first instruction.";
    handler_exit "handler_exit": TIME, "EOI and IRET on the target.";
    icr_exit "icr_exit" = "0 ns": TIME,
        "What the exit of a virtual machine adds to each ICR write; 0 on bare metal and where the APIC is virtualised.";
    injection "injection" = "0 ns": TIME,
        "What a hypervisor adds until a virtual CPU has the interrupt: posted, or injected at its next entry.";
    rar_entries "rar_entries" = "0": Kind::Count { min: 0, max: 64 },
        "Remote action requests under way at most (Intel RAR: 64); 0 if the CPU has none. Nobody has published times of it.";
    rar_action "rar_action" = "200 cycles": TIME,
        "Remote action request: what a target takes to find and acknowledge it, without the invalidations (assumed).";
});
