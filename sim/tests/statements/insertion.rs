//! Statements 1 to 28: the page-table insert.
