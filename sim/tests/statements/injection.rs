//! Statements that only an injected failure shows.
