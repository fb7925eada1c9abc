//! What a memory device did over time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Latency;
use super::rounding::round3;

/// Requests of a device: how long they took, and when they came.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Activity {
    /// Reads, from the miss of the last cache until the controller has the data.
    pub read_latency: Latency,
    /// Writes that a core sent itself (CLWB and its like, non-temporal stores), until the controller has accepted them.
    pub write_latency: Latency,
    /// Length of a stretch of time.
    pub stretch_ns: f64,
    /// Gigabytes (10^9) a second read, in each stretch from the start of the run on.
    pub read_gb_s: Vec<f64>,
    /// The same of writes, evictions included.
    pub write_gb_s: Vec<f64>,
    /// Reads under way, the mean over the stretch in which they came.
    pub reads_under_way: Vec<f64>,
    /// Writes that waited for room in a full queue, likewise.
    pub writes_waiting: Vec<f64>,
}

impl Activity {
    /// Adds a stretch: bytes read and written in it, nanoseconds that its reads took and that its writes waited.
    pub fn push(&mut self, bytes_read: u64, bytes_written: u64, read_ns: f64, stall_ns: f64) {
        let per_ns = |amount: f64| round3(amount / self.stretch_ns);
        self.read_gb_s.push(per_ns(bytes_read as f64));
        self.write_gb_s.push(per_ns(bytes_written as f64));
        self.reads_under_way.push(per_ns(read_ns));
        self.writes_waiting.push(per_ns(stall_ns));
    }
}
