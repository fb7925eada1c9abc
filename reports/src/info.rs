//! What an input is and what it holds.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::ReportError;
use crate::terminal::aligned;
use crate::units::{bytes, count, percent, time};

/// The schema of the JSON form. A field may be added under the same number; none changes its meaning.
pub const SCHEMA: &str = "daxsim.info/1";

/// An input.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Info {
    /// Always [`SCHEMA`].
    pub schema: &'static str,
    /// The file, as typed.
    pub input: String,
    /// `script`, `ftrace`, `lackey`, `champsim`, `dxt`.
    pub kind: String,
    /// The same in words.
    pub what: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// `plain`, `xz`, `zstd` or `gzip`.
    pub compression: String,
    /// Of a script.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<ScriptInfo>,
    /// Of a recorded trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<EventsInfo>,
    /// Of a trace of accesses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accesses: Option<AccessesInfo>,
    /// What is damaged.
    pub damage: Vec<String>,
}

/// A workload script.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ScriptInfo {
    /// Lines that do something.
    pub lines: u64,
    /// Threads.
    pub threads: u64,
    /// Sections whose threads run freely.
    pub racing_sections: u64,
    /// Lines by operation.
    pub operations: BTreeMap<String, u64>,
}

/// A recorded trace of events.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EventsInfo {
    /// Lines; 0 of a binary file.
    pub lines: u64,
    /// Events.
    pub events: u64,
    /// Events by name.
    pub by_event: BTreeMap<String, u64>,
    /// Threads of programs and kernel that the events are of.
    pub threads: u64,
    /// CPUs that they happened on.
    pub cpus: u64,
    /// Time of the first, in ns of the trace's clock.
    pub first_ns: u64,
    /// Time of the last.
    pub last_ns: u64,
    /// Events that the trace says were lost, in it or before it begins.
    pub lost: u64,
    /// Lines that are no events, and records that their description does not fit.
    pub unparsable: u64,
    /// Kernel, if the events tell.
    pub kernel: Option<String>,
    /// File system, if the events tell.
    pub fs: Option<String>,
    /// Memory that a replay takes at most, estimated.
    pub replay_bytes: u64,
    /// Time that a replay takes, estimated.
    pub replay_ns: f64,
    /// Of a long input: part of it was read. Counts are then estimated from that part; threads, CPUs and lost events are those of the part,
    /// so there may be more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<EstimateInfo>,
}

/// What part of an input an estimate is made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EstimateInfo {
    /// Bytes that were read.
    pub read_bytes: u64,
    /// Of so many.
    pub of_bytes: u64,
    /// Whether the times of the first and the last event are exact; else the trace may be longer.
    pub exact_span: bool,
}

/// A trace of accesses.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AccessesInfo {
    /// What it was made of, if it says.
    pub source: String,
    /// Threads.
    pub threads: u64,
    /// Accesses.
    pub records: u64,
    /// Loads.
    pub loads: u64,
    /// Stores.
    pub stores: u64,
    /// Loads with a store by the same instruction.
    pub modifies: u64,
    /// Instruction fetches.
    pub fetches: u64,
    /// Accesses whose address comes from the one before.
    pub dependent: u64,
    /// Instructions begun.
    pub instructions: u64,
    /// Pages of 4 KiB that are touched.
    pub pages: u64,
    /// Whether more are touched than were counted.
    pub pages_at_least: bool,
    /// Where they are.
    pub ranges: Vec<RangeInfo>,
    /// Lines that are no accesses.
    pub other_lines: u64,
    /// What else is known of accesses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extras: Option<ExtrasInfo>,
    /// Blocks, of a `.dxt`.
    pub blocks: Option<u64>,
    /// Bytes of the file for each access.
    pub bytes_per_access: f64,
    /// Memory that a replay needs, about.
    pub replay_bytes: u64,
    /// Time that a replay takes on one core of a current server, about, if most accesses hit a cache.
    pub replay_ns: f64,
}

/// What a trace says of accesses beside what they are.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ExtrasInfo {
    /// Accesses that the recorder measured.
    pub weighed: u64,
    /// What they took on average: of `perf mem`, cycles.
    pub mean_weight: Option<f64>,
    /// Accesses whose physical address is known.
    pub physical: u64,
    /// Accesses of which it is known who made them.
    pub sided: u64,
    /// Those of the kernel.
    pub kernel: u64,
}

/// Touched pages with no more than small holes between them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RangeInfo {
    /// First byte.
    pub start: String,
    /// Byte after the last.
    pub end: String,
    /// Pages touched.
    pub pages: u64,
}

impl Info {
    /// As JSON.
    ///
    /// # Errors
    ///
    /// [`ReportError::Serialise`] if the serialiser refuses a value.
    pub fn to_json(&self) -> Result<String, ReportError> {
        serde_json::to_string_pretty(self).map(|text| text + "\n").map_err(ReportError::Serialise)
    }

    /// As text.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut text =
            format!("{}: {}, {}, {}\n", self.input, self.what, bytes(self.bytes), self.compression);
        if let Some(script) = &self.script {
            script.add(&mut text);
        }
        if let Some(events) = &self.events {
            events.add(&mut text);
        }
        if let Some(accesses) = &self.accesses {
            accesses.add(&mut text);
        }
        for damage in &self.damage {
            text.push_str(&format!("DAMAGED: {damage}\n"));
        }
        text
    }
}

/// Counts by name, the largest first.
fn by_count(title: &str, head: &str, counts: &BTreeMap<String, u64>) -> String {
    let mut rows: Vec<(&String, &u64)> = counts.iter().collect();
    rows.sort_by_key(|(name, n)| (std::cmp::Reverse(**n), *name));
    let rows = rows.into_iter().map(|(name, n)| vec![name.clone(), count(*n)]).collect();
    aligned(title, &[head, "count"], rows) + "\n"
}

impl ScriptInfo {
    fn add(&self, text: &mut String) {
        text.push_str(&format!(
            "{} lines of {} threads; sections whose threads run freely: {}\n\n",
            count(self.lines),
            self.threads,
            self.racing_sections
        ));
        text.push_str(&by_count("Operations", "operation", &self.operations));
    }
}

impl EventsInfo {
    fn add(&self, text: &mut String) {
        let estimated = self.estimate.is_some();
        let (about, least) = if estimated { ("about ", "at least ") } else { ("", "") };
        let span = self.last_ns.saturating_sub(self.first_ns) as f64;
        let is_span = self.estimate.as_ref().is_none_or(|estimate| estimate.exact_span);
        text.push_str(&format!(
            "{about}{} events of {least}{} threads on {least}{} CPUs{}, over {}{}\n",
            count(self.events),
            count(self.threads),
            self.cpus,
            if self.lines > 0 { format!(" in {about}{} lines", count(self.lines)) } else { String::new() },
            if is_span { "" } else { "at least " },
            time(span)
        ));
        if let Some(estimate) = &self.estimate {
            text.push_str(&format!(
                "estimated from {} of {}; --check reads all of it\n",
                bytes(estimate.read_bytes),
                bytes(estimate.of_bytes)
            ));
        }
        let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "not told".into());
        text.push_str(&format!("kernel: {}; file system: {}\n", word(&self.kernel), word(&self.fs)));
        text.push_str(&format!(
            "events lost: {least}{}; not understood: {about}{}\n",
            count(self.lost),
            count(self.unparsable)
        ));
        text.push_str(&format!(
            "a replay takes about {} and {} of memory\n\n",
            time(self.replay_ns),
            bytes(self.replay_bytes)
        ));
        let title = if estimated { "Events, estimated" } else { "Events" };
        text.push_str(&by_count(title, "event", &self.by_event));
    }
}

impl AccessesInfo {
    fn add(&self, text: &mut String) {
        if !self.source.is_empty() {
            text.push_str(&format!("made of: {}\n", self.source));
        }
        text.push_str(&format!(
            "{} accesses of {} thread{} in {} instructions; {:.3} bytes for each\n",
            count(self.records),
            self.threads,
            if self.threads == 1 { "" } else { "s" },
            count(self.instructions),
            self.bytes_per_access
        ));
        let share = |n: u64| percent(n as f64 / self.records.max(1) as f64);
        text.push_str(&format!(
            "loads {}, stores {}, both by one instruction {}, fetches {}; dependent on the one before {}\n",
            share(self.loads),
            share(self.stores),
            share(self.modifies),
            share(self.fetches),
            share(self.dependent)
        ));
        let least = if self.pages_at_least { "at least " } else { "" };
        text.push_str(&format!(
            "pages touched: {least}{} ({})\n",
            count(self.pages),
            bytes(self.pages.saturating_mul(4096))
        ));
        if let Some(extras) = &self.extras {
            extras.add(text);
        }
        if self.other_lines > 0 {
            text.push_str(&format!("lines that are no accesses: {}\n", count(self.other_lines)));
        }
        text.push_str(&format!(
            "a replay takes about {} (if most accesses hit a cache) and {} of memory\n\n",
            time(self.replay_ns),
            bytes(self.replay_bytes)
        ));
        let row = |range: &RangeInfo| vec![format!("{} to {}", range.start, range.end), count(range.pages)];
        let rows = self.ranges.iter().map(row).collect();
        text.push_str(&(aligned("Where the pages are", &["range", "pages"], rows) + "\n"));
    }
}

impl ExtrasInfo {
    fn add(&self, text: &mut String) {
        if let Some(mean) = self.mean_weight {
            text.push_str(&format!(
                "measured by the recorder: {} accesses of {mean:.1} cycles on average\n",
                count(self.weighed)
            ));
        }
        if self.physical > 0 {
            text.push_str(&format!("physical addresses: of {} accesses\n", count(self.physical)));
        }
        if self.sided > 0 {
            text.push_str(&format!("made by the kernel: {} of {}\n", count(self.kernel), count(self.sided)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_shown_and_nothing_else() {
        let info = Info {
            input: "a.dxt".into(),
            what: "a .dxt trace".into(),
            compression: "plain".into(),
            accesses: Some(AccessesInfo { records: 4, loads: 3, threads: 1, ..AccessesInfo::default() }),
            damage: vec!["at byte 7".into()],
            ..Info::default()
        };
        let text = info.summary();
        assert!(text.contains("4 accesses of 1 thread in") && text.contains("loads 75.0 %"), "{text}");
        assert!(text.ends_with("DAMAGED: at byte 7\n"));
        assert!(!text.contains("Events"));
        let json = info.to_json().unwrap();
        assert!(json.contains("\"records\": 4") && !json.contains("\"events\""), "{json}");
    }
}
