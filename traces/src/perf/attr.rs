//! Attributes of an event: which fields its samples have.

use crate::ftrace::Layout;

/// `PERF_SAMPLE_*`: the fields of a sample.
pub(super) mod field {
    pub const IP: u64 = 1 << 0;
    pub const TID: u64 = 1 << 1;
    pub const TIME: u64 = 1 << 2;
    pub const ADDR: u64 = 1 << 3;
    pub const READ: u64 = 1 << 4;
    pub const CALLCHAIN: u64 = 1 << 5;
    pub const ID: u64 = 1 << 6;
    pub const CPU: u64 = 1 << 7;
    pub const PERIOD: u64 = 1 << 8;
    pub const STREAM_ID: u64 = 1 << 9;
    pub const RAW: u64 = 1 << 10;
    pub const BRANCH_STACK: u64 = 1 << 11;
    pub const REGS_USER: u64 = 1 << 12;
    pub const STACK_USER: u64 = 1 << 13;
    pub const WEIGHT: u64 = 1 << 14;
    pub const DATA_SRC: u64 = 1 << 15;
    pub const IDENTIFIER: u64 = 1 << 16;
    pub const WEIGHT_STRUCT: u64 = 1 << 24;
}

/// `PERF_TYPE_*`: kinds of events.
const SOFTWARE: u32 = 1;
pub(super) const TRACEPOINT: u32 = 2;
/// `PERF_COUNT_SW_PAGE_FAULTS`, `_MIN`, `_MAJ`.
const PAGE_FAULTS: [u64; 3] = [2, 5, 6];
/// Bit of `sample_id_all` in the flags, from the first declared on.
const SAMPLE_ID_ALL: u32 = 18;
/// Bytes of the first version of the structure (`PERF_ATTR_SIZE_VER0`).
const SMALLEST: usize = 64;

/// `struct perf_event_attr`, as far as it is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attr {
    pub kind: u32,
    pub config: u64,
    pub fields: u64,
    pub read_format: u64,
    pub sample_id_all: bool,
    pub branch_fields: u64,
    pub user_registers: u64,
    /// Ids of its counters.
    pub ids: Vec<u64>,
    /// Its name, if the file says.
    pub name: String,
}

impl Attr {
    /// Reads the structure; `None` if it is shorter than any.
    pub fn parse(bytes: &[u8], layout: Layout) -> Option<Self> {
        let word = |at: usize, size: usize| layout.number(bytes.get(at..at + size)?);
        if bytes.len() < SMALLEST {
            return None;
        }
        let flags = word(40, 8)?;
        // Bit fields are laid out from the end that is written first.
        let bit = if layout.big_endian { 63 - SAMPLE_ID_ALL } else { SAMPLE_ID_ALL };
        Some(Self {
            kind: word(0, 4)? as u32,
            config: word(8, 8)?,
            fields: word(24, 8)?,
            read_format: word(32, 8)?,
            sample_id_all: flags >> bit & 1 != 0,
            branch_fields: word(72, 8).unwrap_or(0),
            user_registers: word(80, 8).unwrap_or(0),
            ids: Vec::new(),
            name: String::new(),
        })
    }

    /// Bytes of the structure that begins here, as it says.
    pub fn size(bytes: &[u8], layout: Layout) -> Option<usize> {
        let size = layout.number(bytes.get(4..8)?)? as usize;
        Some(if size == 0 { SMALLEST } else { size })
    }

    pub const fn has(&self, field: u64) -> bool {
        self.fields & field != 0
    }

    /// Whether its samples are accesses with their address. Other events have the field too if addresses were asked for, and say
    /// nothing in it.
    pub const fn has_accesses(&self) -> bool {
        self.has(field::ADDR) && self.has(field::DATA_SRC) && !matches!(self.kind, SOFTWARE | TRACEPOINT)
    }

    pub fn is_page_fault(&self) -> bool {
        self.kind == SOFTWARE && PAGE_FAULTS.contains(&self.config)
    }
}

/// The attributes in the first bytes of a file, as far as they are there.
pub(super) fn of_head(head: &[u8], layout: Layout) -> Vec<Attr> {
    let word = |at: usize, size: usize| layout.number(head.get(at..at.checked_add(size)?)?);
    let mut attrs = Vec::new();
    let header = word(8, 8).unwrap_or_default();
    if header == super::records::PIPE_HEADER {
        let mut at = header as usize;
        while let (Some(super::records::HEADER_ATTR), Some(size @ 8..)) = (word(at, 4), word(at + 6, 2)) {
            attrs.extend(head.get(at + 8..at + size as usize).and_then(|bytes| Attr::parse(bytes, layout)));
            at += size as usize;
        }
        return attrs;
    }
    let (Some(size @ 80..=4096), Some(start), Some(bytes)) = (word(16, 8), word(24, 8), word(32, 8)) else {
        return attrs;
    };
    for i in 0..bytes / size {
        let Some(at) = start.checked_add(i * size).and_then(|at| usize::try_from(at).ok()) else { break };
        let Some(end) = at.checked_add(size as usize - 16) else { break };
        let Some(attr) = head.get(at..end).and_then(|bytes| Attr::parse(bytes, layout)) else { break };
        attrs.push(attr);
    }
    attrs
}
