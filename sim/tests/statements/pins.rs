//! Statements 73 and 74: pinned pages.
