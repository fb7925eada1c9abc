//! Statements 38 to 53: dispatch, locks, retries.
