//! An archive of the form "newc" (Documentation/driver-api/early-userspace/buffer-format.rst), which the kernel unpacks as its first
//! file system.

use std::collections::BTreeSet;
use std::io::{self, Write};

/// File types of the mode (stat(2)).
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;

/// An archive that is being written.
pub struct Archive<W> {
    out: W,
    inode: u32,
    folders: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    /// An empty one.
    pub fn new(out: W) -> Self {
        Self { out, inode: 0, folders: BTreeSet::new() }
    }

    /// A file that may be executed, or not; the folders above it come first. `path` is absolute.
    ///
    /// # Errors
    ///
    /// What the writer raises; a file of 4 GiB or more does not fit the form.
    pub fn file(&mut self, path: &str, content: &[u8], executable: bool) -> io::Result<()> {
        self.folders_of(path)?;
        self.entry(path, REGULAR | if executable { 0o755 } else { 0o644 }, content)
    }

    /// A symbolic link.
    ///
    /// # Errors
    ///
    /// What the writer raises.
    pub fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.folders_of(path)?;
        self.entry(path, SYMLINK | 0o777, target.as_bytes())
    }

    /// A folder, with those above it.
    ///
    /// # Errors
    ///
    /// What the writer raises.
    pub fn folder(&mut self, path: &str) -> io::Result<()> {
        self.folders_of(path)?;
        if self.folders.insert(path.to_owned()) { self.entry(path, DIRECTORY | 0o755, b"") } else { Ok(()) }
    }

    /// Writes the end.
    ///
    /// # Errors
    ///
    /// What the writer raises.
    pub fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.entry("TRAILER!!!", 0, b"")?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn folders_of(&mut self, path: &str) -> io::Result<()> {
        for (at, _) in path.match_indices('/').skip(1) {
            let folder = path.get(..at).unwrap_or_default();
            if self.folders.insert(folder.to_owned()) {
                self.entry(folder, DIRECTORY | 0o755, b"")?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let name = path.trim_start_matches('/');
        let size = u32::try_from(content.len()).map_err(|_| {
            io::Error::other(format!("{path}: {} bytes do not fit an archive", content.len()))
        })?;
        self.inode += 1;
        let links = 1 + u32::from(mode & DIRECTORY != 0 && mode & REGULAR == 0);
        // Inode, mode, owner, group, links, time, size, device (2), device of a special file (2), length of the name, sum.
        let fields = [self.inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        write!(self.out, "070701")?;
        for field in fields {
            write!(self.out, "{field:08x}")?;
        }
        write!(self.out, "{name}\0")?;
        self.pad(110 + name.len() + 1)?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    /// Names and contents end at a multiple of four.
    fn pad(&mut self, len: usize) -> io::Result<()> {
        let rest = len.next_multiple_of(4) - len;
        self.out.write_all([0; 3].get(..rest).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn sample() -> Vec<u8> {
        let mut archive = Archive::new(Vec::new());
        archive.file("/init", b"#!/bin/sh\n", true).unwrap();
        archive.file("/a/b/c", b"12345", false).unwrap();
        archive.file("/a/b/d", b"", false).unwrap();
        archive.link("/a/l", "b/c").unwrap();
        archive.folder("/a/b").unwrap();
        archive.folder("/e").unwrap();
        archive.finish().unwrap()
    }

    #[test]
    fn entries_are_aligned_and_folders_come_once_and_first() {
        let bytes = sample();
        assert_eq!(bytes.len() % 4, 0);
        let (mut at, mut names) = (0, Vec::new());
        while at < bytes.len() {
            let field = |n: usize| {
                let hex = &bytes[at + 6 + 8 * n..at + 14 + 8 * n];
                usize::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap()
            };
            assert_eq!(&bytes[at..at + 6], b"070701", "at {at}");
            let (size, name) = (field(6), field(11));
            names.push(String::from_utf8(bytes[at + 110..at + 110 + name - 1].to_vec()).unwrap());
            at = (at + 110 + name).next_multiple_of(4) + size.next_multiple_of(4);
        }
        assert_eq!(names, ["init", "a", "a/b", "a/b/c", "a/b/d", "a/l", "e", "TRAILER!!!"]);
    }

    #[test]
    fn the_program_cpio_reads_it() {
        let Ok(mut cpio) = Command::new("cpio")
            .args(["-itv", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
        else {
            println!("skipped: there is no program cpio");
            return;
        };
        cpio.stdin.take().unwrap().write_all(&sample()).unwrap();
        let list = String::from_utf8(cpio.wait_with_output().unwrap().stdout).unwrap();
        for part in ["-rwxr-xr-x", "init", "a/b/c", "a/l -> b/c", "drwxr-xr-x"] {
            assert!(list.contains(part), "{part} is not in\n{list}");
        }
    }
}
