//! Statements 80 to 94: TLB maintenance.
