//! Statements 64 to 79: writeback, unmap, truncate.
