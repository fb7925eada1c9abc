//! Where files lie on the device: the output of `filefrag -v`.

use std::io::BufRead;
use std::path::Path;

use crate::TraceError;
use crate::error::quote;
use crate::lines::Lines;

/// `FIEMAP_EXTENT_*` flags of an extent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ExtentFlags(pub u32);

impl ExtentFlags {
    /// The last extent of the file.
    pub const LAST: u32 = 0x1;
    /// Allocated and not written: reads as zero.
    pub const UNWRITTEN: u32 = 0x800;
    /// Shared with other files.
    pub const SHARED: u32 = 0x2000;

    const NAMES: [(&'static str, u32); 11] = [
        ("last", Self::LAST),
        ("unknown_loc", 0x2),
        ("delalloc", 0x4),
        ("encoded", 0x8),
        ("encrypted", 0x80),
        ("not_aligned", 0x100),
        ("inline", 0x200),
        ("tail_packed", 0x400),
        ("unwritten", Self::UNWRITTEN),
        ("merged", 0x1000),
        ("shared", Self::SHARED),
    ];

    /// Whether the extent is allocated and not written.
    #[must_use]
    pub const fn is_unwritten(self) -> bool {
        self.0 & Self::UNWRITTEN != 0
    }

    /// Whether it is the last of its file.
    #[must_use]
    pub const fn is_last(self) -> bool {
        self.0 & Self::LAST != 0
    }
}

/// A run of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First block in the file.
    pub logical: u64,
    /// First block on the device.
    pub physical: u64,
    /// Blocks.
    pub length: u64,
    /// Its flags.
    pub flags: ExtentFlags,
}

/// The extents of a file, in file order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLayout {
    /// The file's path as printed.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Bytes in a block.
    pub block_size: u64,
    /// The extents.
    pub extents: Vec<Extent>,
}

impl FileLayout {
    /// The last part of the path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The block on the device of a block in the file, and its extent.
    #[must_use]
    pub fn find(&self, block: u64) -> Option<(u64, &Extent)> {
        let index = self.extents.partition_point(|e| e.logical <= block).checked_sub(1)?;
        let extent = self.extents.get(index)?;
        let inside = block - extent.logical;
        (inside < extent.length).then(|| (extent.physical + inside, extent))
    }
}

/// Reads the output of `filefrag -v` for any number of files; `file` is the name for messages.
///
/// # Errors
///
/// [`TraceError::Table`] for a line of another form, and what the reader raises.
pub fn read<R: BufRead>(input: R, file: &Path) -> Result<Vec<FileLayout>, TraceError> {
    let mut lines = Lines::new(input, file);
    let mut layouts: Vec<FileLayout> = Vec::new();
    while let Some((number, text)) = lines.next()? {
        let line = text.trim();
        let error = |expected: &str| TraceError::Table {
            file: file.to_owned(),
            line: number,
            found: quote(line.as_bytes()),
            expected: expected.into(),
        };
        let is_note = line.starts_with("Filesystem type is:") || line.starts_with("ext:");
        if line.is_empty() || is_note || line.ends_with(" extents found") || line.ends_with(" extent found") {
            continue;
        }
        if let Some(rest) = line.strip_prefix("File size of ") {
            let layout = size_line(rest)
                .ok_or_else(|| error("`File size of <path> is <n> (<n> blocks of <n> bytes)`"))?;
            layouts.push(layout);
            continue;
        }
        let extent = extent_line(line)
            .ok_or_else(|| error("an extent like `0: 0.. 63: 520.. 583: 64: last,eof`, of `filefrag -v`"))?;
        let Some(layout) = layouts.last_mut() else {
            return Err(error("`File size of ..` before the first extent"));
        };
        if layout.extents.last().is_some_and(|e| e.logical + e.length > extent.logical) {
            return Err(error("extents in file order that do not overlap"));
        }
        layout.extents.push(extent);
    }
    Ok(layouts)
}

/// Opens (see [`mod@crate::open`]) and reads the output of `filefrag -v`.
///
/// # Errors
///
/// As [`read`], and what [`crate::open::open`] raises.
pub fn open<P: AsRef<Path>>(path: P) -> Result<Vec<FileLayout>, TraceError> {
    let path = path.as_ref();
    read(crate::open::open(path)?, path)
}

/// `/mnt/f1 is 131072 (32 blocks of 4096 bytes)`
fn size_line(text: &str) -> Option<FileLayout> {
    let (head, blocks) = text.strip_suffix(" bytes)")?.rsplit_once(" (")?;
    let (path, size) = head.rsplit_once(" is ")?;
    let (_, block_size) = blocks.split_once(" of ")?;
    let block_size = block_size.parse().ok().filter(|&b| b > 0)?;
    Some(FileLayout { path: path.into(), size: size.parse().ok()?, block_size, extents: Vec::new() })
}

/// `1:       64..     511:        584..      1031:    448:       1032: last,unwritten,eof`
fn extent_line(text: &str) -> Option<Extent> {
    let mut columns = text.split(':').map(str::trim);
    columns.next()?.parse::<u64>().ok()?;
    let range = |text: &str| -> Option<(u64, u64)> {
        let (first, last) = text.split_once("..")?;
        Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
    };
    let (logical, logical_last) = range(columns.next()?)?;
    let (physical, physical_last) = range(columns.next()?)?;
    let length: u64 = columns.next()?.parse().ok()?;
    let ends = |first: u64, last| first.checked_add(length).and_then(|n| n.checked_sub(1)) == Some(last);
    if length == 0 || !ends(logical, logical_last) || !ends(physical, physical_last) {
        return None;
    }
    // The column `expected` is there only if the extent does not follow the one before.
    let mut names = columns.next()?;
    if let Some(last) = columns.next() {
        names.parse::<u64>().ok()?;
        names = last;
    }
    let mut flags = 0;
    for name in names.split(',').filter(|n| !n.is_empty() && *n != "eof") {
        flags |= ExtentFlags::NAMES.iter().find(|(n, _)| *n == name)?.1;
    }
    Some(Extent { logical, physical, length, flags: ExtentFlags(flags) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Filesystem type is: ef53
File size of /mnt/a b is 1048576 (256 blocks of 4096 bytes)
 ext:     logical_offset:        physical_offset: length:   expected: flags:
   0:        0..      63:        520..       583:     64:            ,eof
   1:       64..     511:        584..      1031:    448:             unwritten
   2:      600..     600:      33283..     33283:      1:       1032: last,unwritten,eof
/mnt/a b: 3 extents found
File size of /mnt/e is 0 (0 blocks of 4096 bytes)
/mnt/e: 0 extents found
";

    fn parse(text: &str) -> Result<Vec<FileLayout>, String> {
        read(text.as_bytes(), "ff".as_ref()).map_err(|e| e.to_string())
    }

    #[test]
    fn extents_are_read_for_each_file() {
        let files = parse(TEXT).unwrap();
        assert_eq!(files.len(), 2);
        assert_eq!((files[0].name(), files[0].size, files[0].block_size), ("a b", 1 << 20, 4096));
        assert_eq!(files[0].extents.len(), 3);
        assert!(!files[0].extents[0].flags.is_unwritten());
        assert!(files[0].extents[2].flags.is_unwritten() && files[0].extents[2].flags.is_last());
        assert_eq!(files[0].find(65).map(|(b, e)| (b, e.logical)), Some((585, 64)));
        assert_eq!(files[0].find(512), None);
        assert!(files[1].extents.is_empty() && files[1].find(0).is_none());
    }

    #[test]
    fn lines_of_another_form_are_placed() {
        assert!(parse("hello\n").unwrap_err().starts_with("ff:1: found `hello`: expected an extent"));
        assert!(parse("0: 0..0: 1..1: 1: last\n").unwrap_err().contains("before the first extent"));
        assert!(
            parse("File size of x is y (1 blocks of 4096 bytes)\n")
                .unwrap_err()
                .contains("File size of <path>")
        );
        let file = "File size of x is 1 (1 blocks of 4096 bytes)\n";
        for bad in [
            "0: 0..1: 1..1: 1: last",
            "0: 0..0: 1..1: 0: last",
            "0: 0..0: 1..1: 1: odd",
            "0: 0..18446744073709551615: 1..1: 18446744073709551615: last",
        ] {
            assert!(parse(&format!("{file}{bad}\n")).unwrap_err().starts_with("ff:2:"), "{bad}");
        }
        let overlap = "0: 0..1: 1..2: 2: \n1: 1..1: 9..9: 1: 3: last\n";
        assert!(parse(&format!("{file}{overlap}")).unwrap_err().starts_with("ff:3:"));
    }
}
