//! The memory of a traced program: the files that it maps, and anonymous memory everywhere else.

use std::collections::BTreeMap;

use daxsim_types::{CpuId, FileSystem, PageSize};

use super::{PAGE, TraceError};
use crate::kernel::filemap::{CacheId, CacheOps};
use crate::kernel::vma::{Backing, Vma};
use crate::kernel::{Advice, FileId, MapRequest, MmId, NewFile};
use crate::program::{Action, Step};
use crate::simulation::Simulation;

/// The lowest address that a program may map (`vm.mmap_min_addr` of distributions).
const LOWEST: u64 = 0x1_0000;

/// Where the pages of a file lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Medium {
    /// On persistent memory: DAX.
    #[default]
    Pmem,
    /// In the page cache, all of them there already.
    Dram,
}

/// A part of a file, mapped shared for loads and stores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileMap {
    /// Name of the file. Maps of the same name share it.
    pub file: String,
    /// Where in the file it begins: whole pages.
    pub offset: u64,
    /// First address: that of a page.
    pub start: u64,
    /// Bytes: whole pages.
    pub len: u64,
    /// File system of the file, if it is not that of all others.
    pub fs: Option<FileSystem>,
    /// Pages that it is to be mapped in; if it is not said, as large ones as kernel and addresses allow.
    pub page: Option<PageSize>,
    /// Where its pages lie.
    pub medium: Medium,
}

impl FileMap {
    /// The file system of its file, where `fs` is that of all others.
    fn fs(&self, fs: FileSystem) -> FileSystem {
        self.fs.unwrap_or(fs)
    }

    /// Whether file and addresses are aligned so that a page of a size can map them.
    fn can_have(&self, size: PageSize) -> bool {
        let skew = self.start.wrapping_sub(self.offset);
        skew.is_multiple_of(size.bytes())
            && self.start.next_multiple_of(size.bytes()) + size.bytes() <= self.start + self.len
    }
}

/// The maps by address, if every one can be made. `alignment` is that of device-dax.
pub(super) fn check(
    maps: &[FileMap],
    fs: FileSystem,
    alignment: PageSize,
    limit: u64,
) -> Result<Vec<FileMap>, TraceError> {
    let mut maps = maps.to_vec();
    maps.sort_by_key(|map| map.start);
    for map in &maps {
        check_range(map, limit)?;
        check_page(map, map.fs(fs), alignment)?;
    }
    for pair in maps.windows(2) {
        if let [first, second] = pair
            && second.start - first.start < first.len
        {
            let at = second.start;
            return Err(TraceError::Overlap { first: first.file.clone(), second: second.file.clone(), at });
        }
    }
    check_files(&maps, fs)?;
    Ok(maps)
}

fn check_range(map: &FileMap, limit: u64) -> Result<(), TraceError> {
    let file = map.file.clone();
    for (what, value) in [("address", map.start), ("length", map.len), ("offset", map.offset)] {
        if !value.is_multiple_of(PAGE) || (what == "length" && value == 0) {
            return Err(TraceError::Unaligned { file, what, value });
        }
    }
    let end = map.start.checked_add(map.len).filter(|end| *end <= limit);
    if map.start < LOWEST || end.is_none() || map.offset.checked_add(map.len).is_none() {
        return Err(TraceError::Outside { file, start: map.start, len: map.len, lowest: LOWEST, limit });
    }
    Ok(())
}

/// Whether a map can have the pages that are asked for.
fn check_page(map: &FileMap, fs: FileSystem, alignment: PageSize) -> Result<(), TraceError> {
    let Some(page) = map.page else { return Ok(()) };
    let why = match (map.medium, fs) {
        (Medium::Dram, _) if page != PageSize::Size4K => "the page cache is mapped in pages of 4 KiB here",
        (Medium::Pmem, FileSystem::Devdax) if page != alignment => {
            "a device has the pages of its alignment (pmem.devdax_alignment)"
        }
        (Medium::Pmem, FileSystem::Ext4 | FileSystem::Xfs) if page == PageSize::Size1G => {
            "file systems have pages of 4 KiB and 2 MiB"
        }
        (Medium::Pmem, _) if !map.can_have(page) => "address and offset leave no room for an aligned one",
        _ => return Ok(()),
    };
    Err(TraceError::NoSuchPage { file: map.file.clone(), page, why })
}

/// Whether the maps of a file agree on what it is. A device is all of persistent memory: nothing else can be there.
fn check_files(maps: &[FileMap], fs: FileSystem) -> Result<(), TraceError> {
    let mut known: BTreeMap<&str, (Medium, FileSystem)> = BTreeMap::new();
    for map in maps {
        let is = (map.medium, map.fs(fs));
        if *known.entry(&map.file).or_insert(is) != is {
            return Err(TraceError::TwoKinds { file: map.file.clone() });
        }
    }
    let on_pmem = |wanted: bool| {
        let mut files = known
            .iter()
            .filter(|(_, (medium, fs))| *medium == Medium::Pmem && (*fs == FileSystem::Devdax) == wanted);
        files.next().map(|(name, _)| (*name).to_owned())
    };
    match (on_pmem(true), on_pmem(false)) {
        (Some(device), Some(file)) => Err(TraceError::DeviceAndFile { device, file }),
        _ => Ok(()),
    }
}

/// All memory outside the maps, in 4 KiB pages: where the program had its mappings, so that huge pages could lie there, is not
/// known.
pub(super) fn map_anonymous(sim: &Simulation, mm: MmId, maps: &[FileMap], limit: u64) {
    let mut start = LOWEST;
    let ends = maps.iter().map(|map| (map.start, map.start + map.len)).chain([(limit, limit)]);
    for (end, next) in ends {
        if start < end {
            sim.with(|m| {
                let lock = m.new_vma_lock();
                let vma = Vma {
                    start,
                    end,
                    backing: Backing::Anonymous,
                    read: true,
                    write: true,
                    exec: true,
                    grows_down: false,
                    shared: false,
                    sync: false,
                    no_huge: true,
                    has_copies: false,
                    lock,
                };
                m.insert_vma(mm, vma);
            });
        }
        start = next;
    }
}

/// A file of the program.
#[derive(Clone, Copy)]
enum Made {
    Dax(FileId),
    Cached(CacheId),
}

/// Makes the files, and maps them: those of DAX by the calls that a program makes.
pub(super) fn map_files(
    sim: &mut Simulation,
    fs: FileSystem,
    mm: MmId,
    maps: &[FileMap],
) -> Result<(), TraceError> {
    let files = make_files(sim, fs, maps)?;
    for map in maps {
        match files.get(map.file.as_str()) {
            Some(Made::Dax(file)) => map_dax(sim, mm, map, *file)?,
            Some(Made::Cached(file)) => {
                let backing = Backing::Cached { file: *file, pgoff: map.offset / PAGE };
                sim.with(|m| {
                    m.map_ordinary(mm, (map.start, map.start + map.len), backing, |vma| {
                        (vma.read, vma.write, vma.shared) = (true, true, true);
                    });
                });
            }
            None => {}
        }
    }
    Ok(())
}

fn make_files<'m>(
    sim: &Simulation,
    fs: FileSystem,
    maps: &'m [FileMap],
) -> Result<BTreeMap<&'m str, Made>, TraceError> {
    let mut wanted: BTreeMap<&str, (&FileMap, u64)> = BTreeMap::new();
    for map in maps {
        let (_, size) = wanted.entry(&map.file).or_insert((map, 0));
        *size = (*size).max(map.offset + map.len);
    }
    let mut files = BTreeMap::new();
    for (name, (map, size)) in wanted {
        let made = match map.medium {
            Medium::Dram => Made::Cached(sim.with(|m| m.new_cached_file(CacheOps::Filemap))),
            Medium::Pmem => {
                let (size, new) = match map.fs(fs) {
                    FileSystem::Devdax => (sim.with(|m| m.device_size()), NewFile::Device),
                    FileSystem::Ext4 | FileSystem::Xfs => (size, NewFile::Filled),
                };
                let refused = |why| TraceError::File { file: name.to_owned(), why };
                let id = sim.new_file(map.fs(fs), size, &new).map_err(refused)?;
                sim.with(|m| m.file_mut(id).name = name.to_owned());
                Made::Dax(id)
            }
        };
        files.insert(name, made);
    }
    Ok(files)
}

fn map_dax(sim: &mut Simulation, mm: MmId, map: &FileMap, file: FileId) -> Result<(), TraceError> {
    let (start, len, pgoff) = (map.start, map.len, map.offset / PAGE);
    let (read, write, shared) = (true, true, true);
    let request = MapRequest { file, start, len, pgoff, read, write, shared, sync: false, populate: false };
    let small = map.page == Some(PageSize::Size4K);
    let advise = small.then_some(Action::Advise { start, len, advice: Advice::HugePage { allowed: false } });
    for action in [Some(Action::Map(request)), advise].into_iter().flatten() {
        let outcome = sim.step(Step { line: 0, thread: 0, cpu: CpuId(0), mm: Some(mm), action })?;
        if let Some(why) = outcome.error {
            return Err(TraceError::Refused { file: map.file.clone(), why });
        }
    }
    Ok(())
}
