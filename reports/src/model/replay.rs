//! How far a simulation agrees with what was recorded, and what to be wary of.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Agreement on one kind of outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Agreement {
    /// Outcomes that the recording holds.
    pub recorded: u64,
    /// Those that the simulation reproduced.
    pub reproduced: u64,
    /// Those that came out otherwise.
    pub diverged: u64,
}

/// Recorded outcomes against simulated ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Replay {
    /// Outcomes that the recording holds.
    pub recorded: u64,
    /// Those that the simulation reproduced.
    pub reproduced: u64,
    /// Those that came out otherwise.
    pub diverged: u64,
    /// Facts that the recording does not hold and that were worked out, such as mappings made before it began.
    pub inferred: u64,
    /// Recorded events that the simulator has no use for.
    pub ignored: u64,
    /// Of the recorded outcomes, those of faults in DAX mappings.
    pub dax: Agreement,
    /// Those of other faults: anonymous memory, and files in the page cache.
    pub other: Agreement,
    /// Outcomes that came out otherwise, by cause.
    pub causes: BTreeMap<String, u64>,
    /// The first divergences, as examples.
    pub divergences: Vec<Divergence>,
}

impl Replay {
    /// The reproduced share of what was recorded; `None` if nothing was recorded.
    #[must_use]
    pub fn reproduced_share(&self) -> Option<f64> {
        (self.recorded > 0).then(|| self.reproduced as f64 / self.recorded as f64)
    }

    /// Divergences that were counted and are not among the examples.
    #[must_use]
    pub fn divergences_omitted(&self) -> u64 {
        self.diverged.saturating_sub(self.divergences.len() as u64)
    }
}

/// One recorded outcome that the simulation did not reproduce.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Divergence {
    /// The input it was recorded in, as typed.
    pub input: String,
    /// Its line, in a text format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Its recorded time in nanoseconds, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_ns: Option<f64>,
    /// The faulting address, in hexadecimal with `0x`.
    pub address: String,
    /// What was recorded.
    pub recorded: String,
    /// What was simulated.
    pub simulated: String,
    /// Why they differ, as far as the simulator can tell.
    pub why: String,
}

/// Something that a reader must know before using the numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Warning {
    /// What happened, in a few words.
    pub what: String,
    /// How often.
    pub count: u64,
    /// What it means, and an example.
    pub detail: String,
}
