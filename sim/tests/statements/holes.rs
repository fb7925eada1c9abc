//! Statements 29 to 37: holes.
