//! Replay of recorded traces.
