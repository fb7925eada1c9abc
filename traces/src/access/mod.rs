//! Traces of a program's memory accesses: what they hold, and their readers.

mod champsim;
mod extras;
mod lackey;
mod open;
mod touched;

use daxsim_types::VirtAddr;

use crate::TraceError;

pub use champsim::ChampSim;
pub(crate) use champsim::looks_like as looks_like_champsim;
pub use extras::{ExtraCounts, Extras, NO_ADDRESS};
pub use lackey::Lackey;
pub(crate) use lackey::looks_like as looks_like_lackey;
pub use open::{Fetches, open, reader_of};
pub use touched::{PAGE, Range, Touched};

/// What an instruction did at an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AccessOp {
    /// A load.
    #[default]
    Load = 0,
    /// A store.
    Store = 1,
    /// A load and a store of the same bytes by one instruction.
    Modify = 2,
    /// The instruction itself.
    Fetch = 3,
}

impl AccessOp {
    /// By its number in a file.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Load),
            1 => Some(Self::Store),
            2 => Some(Self::Modify),
            3 => Some(Self::Fetch),
            _ => None,
        }
    }
}

/// One access of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessRecord {
    /// First byte.
    pub va: VirtAddr,
    /// Instructions that the thread began after the record before, that of this access included. The second access of an
    /// instruction has 0.
    pub gap: u32,
    /// Bytes; 0 where the trace does not say.
    pub size: u16,
    /// What was done.
    pub op: AccessOp,
    /// Its address comes from the data of the record before.
    pub dependent: bool,
}

/// Accesses of one thread in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessBatch {
    /// The thread, by its number in the trace.
    pub thread: u32,
    /// Its next accesses.
    pub records: Vec<AccessRecord>,
    /// Where they stand among the accesses of all threads, if the trace says so: runs that sum to all records, in growing order.
    /// Empty if it does not say, or has one thread.
    pub order: Vec<OrderRun>,
    /// What else the trace says of each.
    pub extras: Extras,
}

/// Accesses of a thread between which no other thread has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderRun {
    /// Number of the first among the accesses of all threads, from 0.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// Numbers of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessCounts {
    /// Loads.
    pub loads: u64,
    /// Stores.
    pub stores: u64,
    /// Loads with a store by the same instruction.
    pub modifies: u64,
    /// Instruction fetches that are records of their own.
    pub fetches: u64,
    /// Records whose address comes from the record before.
    pub dependent: u64,
    /// Instructions begun.
    pub instructions: u64,
}

impl AccessCounts {
    /// All records.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.loads.saturating_add(self.stores).saturating_add(self.modifies).saturating_add(self.fetches)
    }

    /// Adds what was counted elsewhere.
    pub fn add_counts(&mut self, other: &Self) {
        self.loads += other.loads;
        self.stores += other.stores;
        self.modifies += other.modifies;
        self.fetches += other.fetches;
        self.dependent += other.dependent;
        self.instructions += other.instructions;
    }

    /// Counts records.
    pub fn add(&mut self, records: &[AccessRecord]) {
        let mut by_op = [0_u64; 4];
        for record in records {
            by_op[record.op as usize & 3] += 1;
            self.dependent += u64::from(record.dependent);
            self.instructions += u64::from(record.gap);
        }
        self.loads += by_op[0];
        self.stores += by_op[1];
        self.modifies += by_op[2];
        self.fetches += by_op[3];
    }
}

/// What a reader met beside accesses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Lines of the recorder itself.
    pub tool_lines: u64,
    /// Lines that are neither accesses nor the recorder's: output of the program, or damage.
    pub other_lines: u64,
    /// The first of them: number and text.
    pub first_other: Option<(u64, String)>,
    /// Instructions after the last access.
    pub trailing_instructions: u64,
    /// Parts that are damaged and were left out, the first ones.
    pub damage: Vec<String>,
    /// How many such parts there are.
    pub damaged: u64,
    /// What the trace says beside accesses; of a `.dxt`, of all its threads.
    pub extras: ExtraCounts,
}

/// A reader of accesses. It holds a bounded number of them.
pub trait AccessReader: Send {
    /// Replaces `batch` by the next accesses, at least one; `false` if there are no more.
    ///
    /// # Errors
    ///
    /// [`TraceError`] where the input cannot be read on. All accesses before that place have been handed out.
    fn next_batch(&mut self, batch: &mut AccessBatch) -> Result<bool, TraceError>;

    /// What was met so far beside accesses.
    fn reading(&self) -> &Reading;
}

/// Most records of a batch.
pub(crate) const BATCH: usize = 1 << 14;
