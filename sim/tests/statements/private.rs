//! Statements 54 to 63: private mappings, sync faults, split.
