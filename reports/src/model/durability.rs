//! What is durable at the end of a run, or where the power went.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::count;

/// What a loss of power at the end of the run, or at the crash, leaves of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Durability {
    /// The cycle that is judged.
    pub at_cycle: u64,
    /// The crash that was asked for.
    pub crash: Option<Crash>,
    /// Whether the caches survive, too (eADR), so that nothing is lost.
    pub caches_persistent: bool,
    /// Sync calls that returned with success: each promises the stores made before it began to the pages that it covers.
    pub promises: u64,
    /// File pages with promised lines that are not durable.
    pub lost_pages: u64,
    /// File pages that are dirty without a mark: no sync would write them back.
    pub unmarked_pages: u64,
    /// File pages with lines that a cache holds modified.
    pub dirty_pages: u64,
    /// Those lines.
    pub dirty_lines: u64,
    /// Lines of file pages on their way to the device.
    pub in_flight_lines: u64,
    /// Dirty pages of a device-dax device, of which nothing is promised.
    pub device_pages: u64,
    /// Lines of blocks that belong to no file any more.
    pub unowned_lines: u64,
    /// What was promised and is lost, by file and page.
    pub lost: Vec<LostLines>,
    /// What is dirty without a mark, by file and page.
    pub unmarked: Vec<UnmarkedLines>,
    /// At a crash: the lines that the program or the kernel had written, in runs, by file and place; of very many the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub written: Vec<WrittenLines>,
    /// How many runs there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub written_runs: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for a reference
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Lines of a file that were written, one after another, and what a loss of power leaves of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct WrittenLines {
    /// File.
    pub file: String,
    /// First byte, in the file.
    pub first_byte: u64,
    /// Last byte, in the file.
    pub last_byte: u64,
    /// Lines.
    pub lines: u64,
    /// `durable`; `in a cache`, or `on its way` to the device: then the last content is lost.
    pub state: String,
}

/// A loss of power that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Crash {
    /// The cycle asked for.
    pub cycle: u64,
    /// Whether the run got there; if not, it ended by itself.
    pub reached: bool,
    /// Where the program was, as in `line 7: 0 msync 0 0 4k on cpu0`.
    pub places: Vec<String>,
}

/// Lines of a file page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Lines {
    /// File.
    pub file: String,
    /// Page of the file.
    pub page: u64,
    /// First byte of the first line, in the file.
    pub first_byte: u64,
    /// Last byte of the last line, in the file.
    pub last_byte: u64,
    /// How many lines between them, both included, are meant.
    pub lines: u32,
    /// Physical address of the first line, in hexadecimal with `0x`.
    pub physical: String,
    /// Who removed the mark of the page, if anybody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark_removed_by: Option<String>,
    /// The cycle in which that happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark_removed_at_cycle: Option<u64>,
}

/// Lines that were promised and are lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LostLines {
    /// Which.
    #[serde(flatten)]
    pub of: Lines,
    /// The first sync call that promised them, with its place.
    pub promised_by: String,
    /// The cycle in which it returned.
    pub promised_at_cycle: u64,
    /// Whether they were on their way to the device.
    pub in_flight: bool,
}

/// Lines that are dirty without a mark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct UnmarkedLines {
    /// Which.
    #[serde(flatten)]
    pub of: Lines,
    /// Whether the page has a mapping entry, a clean one.
    pub has_entry: bool,
}

impl Lines {
    /// Why the page has no mark, as far as it was seen.
    #[must_use]
    pub fn mark_in_words(&self) -> Option<String> {
        let by = self.mark_removed_by.as_ref()?;
        let at = self.mark_removed_at_cycle.map(|at| format!(" at cycle {}", count(at))).unwrap_or_default();
        Some(format!("mark removed by {by}{at}"))
    }
}
