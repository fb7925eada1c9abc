//! Workload scripts.
