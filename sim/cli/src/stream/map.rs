//! Where the guest's physical memory lies in QEMU's own memory, as the monitor says.

use std::fmt::Write as _;
use std::io;

use super::qmp::Monitor;

/// Kinds of memory that loads and stores reach without a device.
const MEMORY: [&str; 5] = ["ram", "rom", "nv-ram", "romd", "ramd"];

/// The kind that persistent memory has.
const PERSISTENT: &str = "nv-ram";

/// Guest memory that lies in one piece in QEMU's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its address in QEMU.
    pub host: u64,
    /// Its physical address in the guest.
    pub guest: u64,
    /// How much it is.
    pub bytes: u64,
    /// Whether it is an NVDIMM.
    pub persistent: bool,
}

/// The guest's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub pieces: Vec<Piece>,
}

impl Memory {
    /// Asks the monitor.
    pub fn ask(monitor: &mut Monitor) -> io::Result<Self> {
        let ranges = ranges(&monitor.ask("info mtree -f")?);
        if ranges.is_empty() {
            return Err(io::Error::other(
                "QEMU's monitor tells of no memory: expected a range of the kind `ram`",
            ));
        }
        let mut pieces = Vec::new();
        for Range { start, end, persistent } in ranges {
            let answer = monitor.ask(&format!("gpa2hva {start:#x}"))?;
            let host = host_of(&answer).ok_or_else(|| {
                io::Error::other(format!(
                    "found {:?}: expected the host's address of {start:#x}",
                    answer.trim()
                ))
            })?;
            add(&mut pieces, Piece { host, guest: start, bytes: end - start + 1, persistent });
        }
        Ok(Self { pieces })
    }

    /// The table for the plugin: a line `HOST GUEST BYTES` for each piece.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for Piece { host, guest, bytes, .. } in &self.pieces {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{host:#x} {guest:#x} {bytes:#x}");
        }
        text
    }

    /// From the first byte of persistent memory to the last one, if there is any.
    pub fn persistent(&self) -> Option<std::ops::Range<u64>> {
        let pieces = || self.pieces.iter().filter(|piece| piece.persistent);
        let start = pieces().map(|piece| piece.guest).min()?;
        let end = pieces().map(|piece| piece.guest + piece.bytes).max()?;
        Some(start..end)
    }
}

/// Adds a piece. Two of one block become one, with the memory in between that firmware covers at first and uncovers later.
fn add(pieces: &mut Vec<Piece>, piece: Piece) {
    let same = pieces
        .iter_mut()
        .find(|other| other.host.wrapping_sub(other.guest) == piece.host.wrapping_sub(piece.guest));
    match same {
        Some(other) => other.bytes = other.bytes.max(piece.guest + piece.bytes - other.guest),
        None => pieces.push(piece),
    }
}

/// A range of memory, with its first and last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: u64,
    end: u64,
    persistent: bool,
}

/// The ranges of memory of the address space `memory`.
fn ranges(text: &str) -> Vec<Range> {
    let views = text.split("FlatView #");
    let is_memory = |view: &&str| view.lines().any(|line| line.trim_start().starts_with("AS \"memory\""));
    views.filter(is_memory).take(1).flat_map(str::lines).filter_map(range).collect()
}

/// `  START-END (prio 0, ram): NAME`
fn range(line: &str) -> Option<Range> {
    let (numbers, rest) = line.trim().split_once(' ')?;
    let (start, end) = numbers.split_once('-')?;
    let kind = rest.split_once(", ")?.1.split_once(')')?.0;
    let number = |text| u64::from_str_radix(text, 16).ok();
    let range = Range { start: number(start)?, end: number(end)?, persistent: kind == PERSISTENT };
    (MEMORY.contains(&kind) && range.start <= range.end).then_some(range)
}

/// `Host virtual address for 0x0 (pc.ram) is 0x7f..`
fn host_of(answer: &str) -> Option<u64> {
    let digits = answer.trim().rsplit_once(" is 0x")?.1;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTREE: &str = "FlatView #0\r\n AS \"I/O\", root: io\r\n Root memory region: io\r\n  \
        0000000000000000-0000000000000007 (prio 0, ram): not this one\r\n\r\nFlatView #1\r\n AS \"memory\", root: system\r\n \
        AS \"cpu-memory-0\", root: system\r\n Root memory region: system\r\n  \
        0000000000000000-00000000000bffff (prio 0, ram): pc.ram\r\n  \
        00000000000c0000-00000000000dffff (prio 1, rom): pc.rom\r\n  \
        0000000000100000-00000000bfffffff (prio 0, ram): pc.ram @0000000000100000\r\n  \
        00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic\r\n  \
        0000000140000000-000000017fffffff (prio 0, nv-ram): m0\r\n";

    #[test]
    fn memory_is_found_in_the_view_of_the_processors() {
        let all = [
            (0, 0xb_ffff, false),
            (0xc_0000, 0xd_ffff, false),
            (0x10_0000, 0xbfff_ffff, false),
            (0x1_4000_0000, 0x1_7fff_ffff, true),
        ];
        assert_eq!(ranges(MTREE), all.map(|(start, end, persistent)| Range { start, end, persistent }));
        assert_eq!(ranges(""), []);
    }

    #[test]
    fn persistent_memory_is_from_the_first_nvdimm_to_the_last() {
        let piece = |guest, persistent| Piece { host: guest ^ 0x7000_0000, guest, bytes: 0x1000, persistent };
        let memory = Memory { pieces: vec![piece(0, false), piece(0x5000, true), piece(0x8000, true)] };
        assert_eq!(memory.persistent(), Some(0x5000..0x9000));
        assert_eq!(Memory { pieces: vec![piece(0, false)] }.persistent(), None);
    }

    #[test]
    fn the_hosts_address_is_the_last_word() {
        assert_eq!(host_of("Host virtual address for 0x0 (pc.ram) is 0x7f12a000\r\n"), Some(0x7f12_a000));
        assert_eq!(host_of("Memory at address 0xfec00000 is not RAM"), None);
    }

    #[test]
    fn pieces_of_one_block_become_one() {
        let mut pieces = Vec::new();
        add(&mut pieces, Piece { host: 0x7000, guest: 0, bytes: 0x1000, persistent: false });
        add(&mut pieces, Piece { host: 0x1_0000, guest: 0x1000, bytes: 0x1000, persistent: false });
        add(&mut pieces, Piece { host: 0x9000, guest: 0x2000, bytes: 0x1000, persistent: false });
        let whole = Piece { host: 0x7000, guest: 0, bytes: 0x3000, persistent: false };
        assert_eq!(
            pieces,
            [whole, Piece { host: 0x1_0000, guest: 0x1000, bytes: 0x1000, persistent: false }]
        );
    }
}
