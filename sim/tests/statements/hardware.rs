//! Statements 95 to 99: what the processor does.
