//! What can go wrong while a report is built, written or read.

use std::path::PathBuf;

/// A report could not be built, written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The attributed parts of a quantity do not add up to it: a cycle was lost or counted twice.
    #[error("the parts of `{kind}` sum to {parts} and the whole is {whole}")]
    PartsDoNotSum {
        /// What was taken apart: a latency kind, or `attribution`.
        kind: String,
        /// The sum of the parts, in the unit of the whole (ps for latencies, cycles for the attribution).
        parts: u128,
        /// The whole.
        whole: u128,
    },
    /// A latency has time but no samples.
    #[error("`{kind}` has {sum_ps} ps of time and no samples")]
    TimeWithoutSamples {
        /// The latency kind.
        kind: String,
        /// The time without a sample.
        sum_ps: u64,
    },
    /// The exact extremes given for a latency are not in order.
    #[error("`{kind}` has a minimum of {min_ps} ps above its maximum of {max_ps} ps")]
    ExtremesOutOfOrder {
        /// The latency kind.
        kind: String,
        /// The minimum as given.
        min_ps: u64,
        /// The maximum as given.
        max_ps: u64,
    },
    /// A file or its directory could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried: `create`, `write`, `replace`, `read`.
        action: &'static str,
        /// The file that it was tried on.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The text is not a report: no JSON, or a field of the wrong type.
    #[error("`{name}` is not a report: {source}")]
    Malformed {
        /// The file or input as the caller names it.
        name: String,
        /// Where and why the text was refused.
        source: serde_json::Error,
    },
    /// The JSON is of another schema, or of none.
    #[error("`{name}` has the schema `{found}`, expected `{expected}`")]
    Schema {
        /// The file or input as the caller names it.
        name: String,
        /// The schema that the text claims; empty if it claims none.
        found: String,
        /// The schema this version reads.
        expected: &'static str,
    },
    /// The charting library refused to draw.
    #[error("cannot draw the chart `{chart}`: {why}")]
    Chart {
        /// Its title.
        chart: String,
        /// What the library said.
        why: String,
    },
    /// What a comparison must not show could not be read.
    #[error("`{text}` is no limit: {why}")]
    Limit {
        /// As typed.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// A limit is about a number that neither report has.
    #[error("no report has a number `{path}`{}", offered(near))]
    UnknownPath {
        /// As typed.
        path: String,
        /// Numbers with names like it.
        near: Vec<String>,
    },
    /// The points of two sweeps cannot be matched.
    #[error("`{base}` and `{new}` cannot be compared: {why}")]
    NoMatch {
        /// The one that is compared with.
        base: String,
        /// The other.
        new: String,
        /// What stands in the way.
        why: String,
    },
    /// A table of points does not hold what the document beside it says.
    #[error("`{name}`: {why}")]
    Table {
        /// The file.
        name: String,
        /// The place, what was found and what was expected.
        why: String,
    },
    /// The library that writes Parquet refused something.
    #[error("cannot write Parquet: {0}")]
    Parquet(String),
    /// A histogram could not be encoded.
    #[error("cannot encode a histogram: {source}")]
    Histogram {
        /// What the encoder said.
        source: hdrhistogram::serialization::V2DeflateSerializeError,
    },
    /// The report could not be turned into JSON.
    #[error("cannot write the report as JSON: {0}")]
    Serialise(#[source] serde_json::Error),
}

fn offered(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; near: {}", near.join(", ")) }
}
