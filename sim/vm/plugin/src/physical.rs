//! Physical addresses of the guest.
//!
//! QEMU 7.2 answers `qemu_plugin_hwaddr_phys_addr` with its own number of the byte (its place among all blocks of memory, plus the
//! block's place in its container). That is the guest's physical address only in a machine of one block; with an NVDIMM it is another one, and two
//! NVDIMMs share numbers with memory. So the address of the byte in QEMU's own memory is taken, and a table from those to
//! physical addresses, which the monitor gives (`info mtree -f`, `gpa2hva`). Later versions answer with the physical address itself.

use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::api::{Api, HwAddr};

/// Guest memory that lies in one piece, in QEMU's memory and in the guest's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Piece {
    host: u64,
    guest: u64,
    bytes: u64,
}

impl Piece {
    #[inline]
    fn guest_of(&self, host: u64) -> Option<u64> {
        let at = host.wrapping_sub(self.host);
        (at < self.bytes).then(|| self.guest + at)
    }
}

/// Why a table cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WrongMap {
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
    #[error(
        "{0}: line {1}: found {2:?}: expected host address, guest address and bytes, in hexadecimal with 0x"
    )]
    Line(String, usize, String),
}

/// Reads a table: a line `HOST GUEST BYTES` for each piece.
pub(crate) fn read(path: &Path) -> Result<Vec<Piece>, WrongMap> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| WrongMap::Io(name.clone(), error))?;
    let lines = text.lines().enumerate();
    lines
        .map(|(at, line)| piece(line).ok_or_else(|| WrongMap::Line(name.clone(), at + 1, line.into())))
        .collect()
}

fn piece(line: &str) -> Option<Piece> {
    let mut words = line.split_ascii_whitespace();
    let mut word = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    let piece = Piece { host: word()?, guest: word()?, bytes: word()? };
    piece.guest.checked_add(piece.bytes)?;
    words.next().is_none().then_some(piece)
}

/// What QEMU's handle holds, which it decides once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handle {
    Unknown,
    /// A byte of QEMU's memory.
    Host,
    /// The physical address.
    Guest,
}

/// Where an access went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) pa: Option<u64>,
    /// A device's registers, or its own memory.
    pub(crate) device: bool,
}

/// The table, once it was read.
pub(crate) type Map = Arc<OnceLock<Vec<Piece>>>;

/// Finds physical addresses for one vCPU.
#[derive(Clone, Debug)]
pub(crate) struct Finder {
    map: Map,
    /// The piece of the last access.
    last: Piece,
    handle: Handle,
}

impl Finder {
    pub(crate) fn new(map: Map) -> Self {
        Self { map, last: Piece::default(), handle: Handle::Unknown }
    }

    /// Where the access of a handle went.
    ///
    /// # Safety
    ///
    /// The handle is null or of this callback, for an access to `va`.
    #[inline]
    pub(crate) unsafe fn place(&mut self, api: &Api, handle: *const HwAddr, va: u64) -> Place {
        if handle.is_null() {
            return Place::default();
        }
        // SAFETY: the handle is good, as the caller says.
        if unsafe { (api.hwaddr_is_io)(handle) } {
            // SAFETY: as above.
            let pa = unsafe { (api.hwaddr_phys_addr)(handle) };
            return Place { pa: Some(pa), device: true };
        }
        if self.handle == Handle::Unknown {
            // SAFETY: as above.
            self.handle = self.tell(unsafe { (api.hwaddr_phys_addr)(handle) }, unsafe { second(handle) }, va);
        }
        if self.handle == Handle::Guest {
            // SAFETY: as above.
            return Place { pa: Some(unsafe { (api.hwaddr_phys_addr)(handle) }), device: false };
        }
        // SAFETY: as above.
        self.guest_of(unsafe { second(handle) })
    }

    /// What the second word of handles is. One that agrees with the answer of QEMU is the physical address; else it is a byte of
    /// QEMU's memory, which has the same place in its page as the byte of the guest. Without a table, QEMU's answer is all there is.
    fn tell(&self, answer: u64, second: u64, va: u64) -> Handle {
        let is_host = second != answer && (second ^ va) & 0xfff == 0;
        if is_host && self.map.get().is_some() { Handle::Host } else { Handle::Guest }
    }

    /// The place of a byte of QEMU's memory. Memory that the table does not have came later, as that of a graphics card does.
    #[inline]
    fn guest_of(&mut self, host: u64) -> Place {
        if let Some(pa) = self.last.guest_of(host) {
            return Place { pa: Some(pa), device: false };
        }
        let pieces = self.map.get().map_or(&[][..], Vec::as_slice);
        let found = pieces.iter().find(|piece| piece.guest_of(host).is_some()).copied();
        self.last = found.unwrap_or(self.last);
        let pa = found.and_then(|piece| piece.guest_of(host));
        Place { pa, device: pa.is_none() }
    }
}

/// The second word of a handle.
///
/// # Safety
///
/// The handle is good.
#[inline]
unsafe fn second(handle: *const HwAddr) -> u64 {
    // SAFETY: in every version a handle begins with two flags, filled up to eight bytes, and a word: up to 8.1 the address in QEMU's
    // memory, later the physical address. `Finder::tell` finds out which.
    unsafe { handle.cast::<u64>().add(1).read() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_maps_host_to_guest_and_the_rest_is_a_devices() {
        let pieces = vec![
            piece("0x7f0000000000 0x0 0x1000").unwrap(),
            piece("0x7f1000000000 0x140000000 0x2000").unwrap(),
        ];
        let mut finder = Finder::new(Arc::new(OnceLock::from(pieces)));
        assert_eq!(finder.guest_of(0x7f10_0000_1ff8).pa, Some(0x1_4000_1ff8));
        assert_eq!(finder.guest_of(0x7f00_0000_0008).pa, Some(8));
        assert_eq!(finder.guest_of(0x7f00_0000_1000), Place { pa: None, device: true });
    }

    #[test]
    fn a_handle_is_told_by_what_qemu_answers() {
        let piece = Piece { host: 0x7f00_0000_0000, guest: 0, bytes: 0x1000 };
        let with = Finder::new(Arc::new(OnceLock::from(vec![piece])));
        assert_eq!(with.tell(0x4000_0123, 0x7f00_0000_0123, 0xffff_8123), Handle::Host);
        assert_eq!(with.tell(0x4000_0123, 0x4000_0123, 0xffff_8123), Handle::Guest);
        assert_eq!(Finder::new(Map::default()).tell(0x123, 0x7f00_0000_0123, 0x8123), Handle::Guest);
    }

    #[test]
    fn lines_that_are_no_pieces_are_refused() {
        assert_eq!(piece("0x1 0x2"), None);
        assert_eq!(piece("0x1 0x2 0x3 0x4"), None);
        assert_eq!(piece("1 0x2 0x3"), None);
        assert_eq!(piece("0x1 0xffffffffffffffff 0x2"), None);
    }
}
