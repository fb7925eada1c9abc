//! The fields of a sample.

use super::attr::{Attr, field};
use crate::ftrace::Layout;

/// `PERF_FORMAT_*`: what a read of counters has.
const TOTAL_TIME_ENABLED: u64 = 1 << 0;
const TOTAL_TIME_RUNNING: u64 = 1 << 1;
const READ_ID: u64 = 1 << 2;
const READ_GROUP: u64 = 1 << 3;
const READ_LOST: u64 = 1 << 4;
/// `PERF_SAMPLE_BRANCH_HW_INDEX`, `_COUNTERS`.
const BRANCH_HW_INDEX: u64 = 1 << 17;
const BRANCH_COUNTERS: u64 = 1 << 19;

/// What a sample says, as far as it is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample<'a> {
    pub ip: u64,
    pub tid: u32,
    pub time: u64,
    pub addr: u64,
    pub cpu: u32,
    pub raw: &'a [u8],
    /// What the access cost, in cycles.
    pub weight: Option<u32>,
    pub data_src: u64,
}

/// The rest of a sample.
struct Rest<'a> {
    bytes: &'a [u8],
    layout: Layout,
}

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    fn word(&mut self, bytes: usize) -> Option<u64> {
        let taken = self.take(bytes)?;
        self.layout.number(taken)
    }

    /// Skips words of 8 bytes.
    fn skip(&mut self, words: u64) -> Option<()> {
        self.take(usize::try_from(words).ok()?.checked_mul(8)?).map(drop)
    }
}

impl<'a> Sample<'a> {
    /// Reads a sample; `None` if it is shorter than its attributes say.
    pub fn parse(attr: &Attr, bytes: &'a [u8], layout: Layout) -> Option<Self> {
        let mut rest = Rest { bytes, layout };
        let mut sample = Self::default();
        if attr.has(field::IDENTIFIER) {
            rest.skip(1)?;
        }
        if attr.has(field::IP) {
            sample.ip = rest.word(8)?;
        }
        if attr.has(field::TID) {
            rest.word(4)?;
            sample.tid = rest.word(4)? as u32;
        }
        if attr.has(field::TIME) {
            sample.time = rest.word(8)?;
        }
        if attr.has(field::ADDR) {
            sample.addr = rest.word(8)?;
        }
        for one in [field::ID, field::STREAM_ID] {
            rest.skip(u64::from(attr.has(one)))?;
        }
        if attr.has(field::CPU) {
            sample.cpu = rest.word(4)? as u32;
            rest.word(4)?;
        }
        rest.skip(u64::from(attr.has(field::PERIOD)))?;
        if attr.has(field::READ) {
            skip_read(&mut rest, attr.read_format)?;
        }
        if attr.has(field::CALLCHAIN) {
            let callers = rest.word(8)?;
            rest.skip(callers)?;
        }
        if attr.has(field::RAW) {
            let size = rest.word(4)? as usize;
            sample.raw = rest.take(size)?;
        }
        if attr.has(field::DATA_SRC) {
            (sample.weight, sample.data_src) = cost_and_source(attr, &mut rest)?;
        }
        Some(sample)
    }
}

fn skip_read(rest: &mut Rest<'_>, format: u64) -> Option<()> {
    let times = u64::from(format & TOTAL_TIME_ENABLED != 0) + u64::from(format & TOTAL_TIME_RUNNING != 0);
    let each = 1 + u64::from(format & READ_ID != 0) + u64::from(format & READ_LOST != 0);
    if format & READ_GROUP == 0 {
        return rest.skip(times + each);
    }
    let count = rest.word(8)?;
    rest.skip(times)?;
    rest.skip(count.checked_mul(each)?)
}

/// Weight and source, which are behind branches, registers and stack.
fn cost_and_source(attr: &Attr, rest: &mut Rest<'_>) -> Option<(Option<u32>, u64)> {
    if attr.has(field::BRANCH_STACK) {
        let branches = rest.word(8)?;
        rest.skip(u64::from(attr.branch_fields & BRANCH_HW_INDEX != 0))?;
        let each = 3 + u64::from(attr.branch_fields & BRANCH_COUNTERS != 0);
        rest.skip(branches.checked_mul(each)?)?;
    }
    if attr.has(field::REGS_USER) && rest.word(8)? != 0 {
        rest.skip(u64::from(attr.user_registers.count_ones()))?;
    }
    if attr.has(field::STACK_USER) {
        let size = rest.word(8)?;
        rest.take(usize::try_from(size).ok()?)?;
        rest.skip(u64::from(size != 0))?;
    }
    let mut weight = None;
    if attr.has(field::WEIGHT | field::WEIGHT_STRUCT) {
        let word = rest.word(8)?;
        // Of the structure the low four bytes are the latency, in either order of bytes.
        let latency = if attr.has(field::WEIGHT_STRUCT) { word & u64::from(u32::MAX) } else { word };
        weight = Some(u32::try_from(latency).unwrap_or(u32::MAX));
    }
    Some((weight, rest.word(8)?))
}

/// Where the time of a record is: from the begin of a sample, or from the end of another record.
pub(super) fn time_of(attr: &Attr, is_sample: bool, bytes: &[u8], layout: Layout) -> Option<u64> {
    let words = |fields: &[u64]| 8 * fields.iter().filter(|&&one| attr.has(one)).count();
    if !attr.has(field::TIME) {
        return None;
    }
    let at = if is_sample {
        words(&[field::IDENTIFIER, field::IP, field::TID])
    } else if attr.sample_id_all {
        let behind = [field::TIME, field::ID, field::STREAM_ID, field::CPU, field::IDENTIFIER];
        bytes.len().checked_sub(words(&behind))?
    } else {
        return None;
    };
    layout.number(bytes.get(at..at + 8)?)
}

/// The id that tells whose record it is, if the attributes say where it stands.
pub(super) fn id_of(attr: &Attr, is_sample: bool, bytes: &[u8], layout: Layout) -> Option<u64> {
    let words = |fields: &[u64]| 8 * fields.iter().filter(|&&one| attr.has(one)).count();
    let at = match (is_sample, attr.has(field::IDENTIFIER)) {
        (true, true) => 0,
        (false, true) if attr.sample_id_all => bytes.len().checked_sub(8)?,
        (true, false) if attr.has(field::ID) => words(&[field::IP, field::TID, field::TIME, field::ADDR]),
        (false, false) if attr.sample_id_all && attr.has(field::ID) => {
            bytes.len().checked_sub(words(&[field::ID, field::STREAM_ID, field::CPU]))?
        }
        _ => return None,
    };
    layout.number(bytes.get(at..at + 8)?)
}
