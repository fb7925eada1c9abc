//! The guest's memory, where QEMU shares it: a file or memory without a name, mapped shared.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use daxsim_sim::bare::GuestMemory;

use super::map::{Memory, Piece};

/// A piece of the guest's memory in a file.
#[derive(Debug)]
struct Shared {
    guest: u64,
    bytes: u64,
    file: File,
    at: u64,
}

/// All memory of a guest that can be read.
#[derive(Debug)]
pub struct SharedMemory(Vec<Shared>);

impl SharedMemory {
    /// Of a QEMU that runs. `None` if it shares nothing that is no NVDIMM: page tables cannot be read then.
    pub fn of(pid: u32, memory: &Memory) -> Option<Self> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let maps = fs::read_to_string(process.join("maps")).ok()?;
        let mappings: Vec<Mapping> = maps.lines().filter_map(Mapping::of).collect();
        let shared = |piece: &Piece| {
            let mapping = mappings.iter().find(|one| one.is_shared && one.holds(piece.host))?;
            let file = open(&process.join("fd"), mapping.inode)?;
            let at = mapping.offset + (piece.host - mapping.start);
            Some(Shared { guest: piece.guest, bytes: piece.bytes, file, at })
        };
        let pieces: Vec<Shared> =
            memory.pieces.iter().filter(|piece| !piece.persistent).filter_map(shared).collect();
        (!pieces.is_empty()).then_some(Self(pieces))
    }
}

impl GuestMemory for SharedMemory {
    fn read(&mut self, pa: u64) -> Option<u64> {
        let piece = self.0.iter().find(|piece| (piece.guest..piece.guest + piece.bytes).contains(&pa))?;
        let mut bytes = [0; 8];
        piece.file.read_exact_at(&mut bytes, piece.at + (pa - piece.guest)).ok()?;
        Some(u64::from_le_bytes(bytes))
    }
}

/// A line of `/proc/PID/maps`.
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    start: u64,
    end: u64,
    is_shared: bool,
    offset: u64,
    inode: u64,
}

impl Mapping {
    fn of(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let rights = words.next()?;
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        let offset = number(words.next()?)?;
        let inode = words.nth(1)?.parse().ok()?;
        Some(Self {
            start: number(start)?,
            end: number(end)?,
            is_shared: rights.ends_with('s'),
            offset,
            inode,
        })
    }

    fn holds(&self, host: u64) -> bool {
        (self.start..self.end).contains(&host)
    }
}

/// The open file of a process with that number.
fn open(folder: &Path, inode: u64) -> Option<File> {
    let entries = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let is_it = |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.ino() == inode);
    entries.into_iter().find(is_it).and_then(|path| File::open(path).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_is_read() {
        let line =
            "7f2a00000000-7f2b00000000 rw-s 00001000 00:01 4711                       /memfd:ram (deleted)";
        let expected = Mapping {
            start: 0x7f2a_0000_0000,
            end: 0x7f2b_0000_0000,
            is_shared: true,
            offset: 0x1000,
            inode: 4711,
        };
        assert_eq!(Mapping::of(line), Some(expected));
        assert!(!Mapping::of("400000-401000 r--p 00000000 08:01 12 /usr/bin/x").unwrap().is_shared);
        assert_eq!(Mapping::of("nothing"), None);
    }

    #[test]
    fn memory_is_read_where_it_lies_in_its_file() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(
            &mut file,
            &[&[0; 8][..], &7_u64.to_le_bytes(), &9_u64.to_le_bytes()].concat(),
        )
        .unwrap();
        let mut memory = SharedMemory(vec![Shared { guest: 0x10_0000, bytes: 16, file, at: 8 }]);
        assert_eq!(
            [0x0f_fff8, 0x10_0000, 0x10_0008, 0x10_0010].map(|pa| memory.read(pa)),
            [None, Some(7), Some(9), None]
        );
    }
}
