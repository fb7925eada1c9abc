//! The files and maps of a script while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use daxsim_traces::script::{FileMake, Op, Script};

use crate::sys;

/// What pread, pwrite and filling use at most at once.
const PIECE: usize = 1 << 20;
/// The byte of a filled file.
const FILL: u8 = 0x5a;

/// What the numbers of a script's files, maps and children stand for. Each process has its own; all threads of one share it.
pub struct Files {
    dir: PathBuf,
    files: BTreeMap<u32, AtomicI32>,
    maps: BTreeMap<u32, AtomicU64>,
    children: BTreeMap<u16, AtomicI32>,
    /// Of each thread that reads or writes files.
    buffers: BTreeMap<u16, Mutex<Vec<u8>>>,
}

impl Files {
    /// Of a script, whose files are made in `dir`. Nothing is open or mapped yet.
    pub fn new(script: &Script, dir: &Path) -> Self {
        let (mut files, mut maps) = (BTreeMap::new(), BTreeMap::new());
        let mut buffered = BTreeSet::new();
        for line in script.lines() {
            match line.op {
                Op::File { file, .. } => _ = files.insert(file, AtomicI32::new(-1)),
                Op::Map { map, .. } => _ = maps.insert(map, AtomicU64::new(0)),
                _ => {}
            }
            if matches!(
                line.op,
                Op::Pread { .. }
                    | Op::Pwrite { .. }
                    | Op::KernelRead { .. }
                    | Op::File { make: FileMake::Fill, .. }
            ) {
                buffered.insert(line.thread);
            }
        }
        let children = script.children.iter().map(|child| (child.thread, AtomicI32::new(-1))).collect();
        let buffers = buffered.into_iter().map(|thread| (thread, Mutex::new(vec![0; PIECE]))).collect();
        Self { dir: dir.to_owned(), files, maps, children, buffers }
    }

    /// The descriptor of a file, -1 if it is not open.
    pub fn fd(&self, file: u32) -> i32 {
        self.files.get(&file).map_or(-1, |fd| fd.load(Ordering::SeqCst))
    }

    /// Where a map is, 0 if it was never mapped.
    pub fn address(&self, map: u32) -> u64 {
        self.maps.get(&map).map_or(0, |at| at.load(Ordering::SeqCst))
    }

    /// A map is there now.
    pub fn mapped(&self, map: u32, addr: u64) {
        if let Some(at) = self.maps.get(&map) {
            at.store(addr, Ordering::SeqCst);
        }
    }

    /// The process of a child, -1 before it is forked.
    pub fn child(&self, thread: u16) -> i32 {
        self.children.get(&thread).map_or(-1, |pid| pid.load(Ordering::SeqCst))
    }

    /// A child was forked.
    pub fn forked(&self, thread: u16, pid: i32) {
        if let Some(child) = self.children.get(&thread) {
            child.store(pid, Ordering::SeqCst);
        }
    }

    /// The buffer of a thread, if its lines need one.
    pub fn buffer(&self, thread: u16) -> Option<MutexGuard<'_, Vec<u8>>> {
        self.buffers.get(&thread).map(|buffer| buffer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes or opens a file; the descriptor.
    pub fn make(&self, thread: u16, file: u32, name: &str, size: u64, make: FileMake) -> sys::Result {
        let path = if make == FileMake::Dev { PathBuf::from(name) } else { self.dir.join(name) };
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| libc::EINVAL)?;
        let create = if make == FileMake::Dev { 0 } else { libc::O_CREAT };
        // SAFETY: the path ends with a zero byte and lives longer than the call.
        let fd = sys::result(unsafe { libc::open(path.as_ptr(), libc::O_RDWR | create, 0o644) })?;
        let fd = i32::try_from(fd).map_err(|_| libc::EBADF)?;
        if let Some(place) = self.files.get(&file) {
            place.store(fd, Ordering::SeqCst);
        }
        match make {
            FileMake::Dev => {}
            FileMake::Fill => self.fill(thread, fd, size)?,
            FileMake::Falloc => _ = sys::allocate(fd, 0, 0, size)?,
            FileMake::Sparse => _ = sys::truncate(fd, size)?,
        }
        if make != FileMake::Dev {
            sys::sync(fd, false)?;
        }
        Ok(fd.into())
    }

    /// Truncates, allocates, and writes piece by piece.
    fn fill(&self, thread: u16, fd: i32, size: u64) -> Result<(), i32> {
        sys::truncate(fd, 0)?;
        // What cannot allocate ahead writes all the same.
        let _ = sys::allocate(fd, 0, 0, size);
        let Some(mut buffer) = self.buffer(thread) else { return Err(libc::ENOMEM) };
        buffer.fill(FILL);
        let mut at = 0;
        while at < size {
            let len = (size - at).min(PIECE as u64) as usize;
            let piece = buffer.get(..len).unwrap_or_default();
            if sys::write_at(fd, piece, at)? != len as i64 {
                return Err(libc::ENOSPC);
            }
            at += len as u64;
        }
        Ok(())
    }
}
