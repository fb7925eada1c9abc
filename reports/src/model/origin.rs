//! What was run, on what, by what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The program that made a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Tool {
    /// `daxsim`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// A file that was run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Input {
    /// The name as it was typed.
    pub name: String,
    /// Its format: `script`, `ftrace`, or another that a reader knows.
    pub kind: String,
    /// SHA-256 of the bytes as stored, in lower-case hexadecimal.
    pub sha256: String,
    /// Size as stored.
    pub bytes: u64,
    /// Lines, of a text format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// Events or accesses that were decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
}

/// How the input was turned into faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// From what the program did; the simulator works out the faults.
    #[default]
    Predict,
    /// From what a kernel recorded; each fault becomes the access that caused it.
    Replay,
}

impl Mode {
    /// `predict` or `replay`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Predict => "predict",
            Self::Replay => "replay",
        }
    }
}

/// One setting that differs from the named config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Override {
    /// The key, dotted as in the config file.
    pub key: String,
    /// The value of this run.
    pub value: String,
    /// The value of the config, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
}

/// The simulated machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Machine {
    /// Name of the config, or the file as typed.
    pub name: String,
    /// What the config says it is.
    pub description: String,
    /// Simulated logical CPUs.
    pub cpus: u32,
    /// Of these, the ones that ran anything: those that the attribution of cycles covers.
    pub cpus_used: u32,
    /// Core clock.
    pub frequency_hz: u64,
    /// Settings changed for this run.
    pub overrides: Vec<Override>,
}

/// The simulated kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Kernel {
    /// Name of the config, or the file as typed.
    pub name: String,
    /// What the config says it is.
    pub description: String,
    /// The insert semantics that its DAX knobs started from.
    pub semantics: String,
    /// Settings changed for this run.
    pub overrides: Vec<Override>,
}
