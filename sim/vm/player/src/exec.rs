//! What each operation does.

use std::fmt;

use daxsim_traces::script::{Fence, Line, LineFlush, MapShare, Op, RemapTo, WaitMode};
use daxsim_types::AccessKind;

use crate::access::{self, Access};
use crate::play::Run;
use crate::sys;

/// Most extents that one `fiemap` line logs.
pub const MOST_EXTENTS: usize = 512;
/// A line of the caches.
const LINE: u64 = 64;

/// What a line did.
pub struct Outcome {
    /// What the system call returned.
    pub result: sys::Result,
    /// Accesses.
    pub acc: u64,
    /// Those of them that got a signal.
    pub sig: u64,
    /// Sum of the bytes loaded.
    pub sum: u64,
    /// What the log has more.
    pub extra: Extra,
}

/// More fields of an entry of the log.
pub enum Extra {
    /// None.
    None,
    /// Where `map` mapped.
    Address(u64),
    /// What `wait` was told.
    Status(i32),
}

impl fmt::Display for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Address(at) => write!(f, " addr={at:#x}"),
            Self::Status(status) => write!(f, " status={status}"),
        }
    }
}

impl From<sys::Result> for Outcome {
    fn from(result: sys::Result) -> Self {
        Self { result, acc: 0, sig: 0, sum: 0, extra: Extra::None }
    }
}

impl Outcome {
    /// Makes accesses one after another.
    fn of(accesses: impl Iterator<Item = (Access, u64)>) -> Self {
        let mut outcome = Self::from(Ok(0));
        for (access, at) in accesses {
            outcome.acc += 1;
            match access.at(at) {
                Some(byte) => outcome.sum += u64::from(byte),
                None => outcome.sig += 1,
            }
        }
        outcome
    }
}

/// Each `stride`-th address of a range.
fn strides(at: u64, len: u64, stride: u64) -> impl Iterator<Item = u64> {
    (0..len.div_ceil(stride)).map(move |n| at.wrapping_add(n * stride))
}

/// Each line of the caches that a range touches.
fn lines(at: u64, len: u64) -> impl Iterator<Item = u64> {
    let first = at / LINE;
    let end = if len == 0 { first } else { (at + len).div_ceil(LINE) };
    (first..end).map(|line| line * LINE)
}

impl Run<'_> {
    /// Executes a line.
    pub fn execute(&self, line: &Line, how: WaitMode) -> Outcome {
        let place = |map: u32, off: u64| self.files.address(map).wrapping_add(off);
        let fd = |file: u32| self.files.fd(file);
        // What this thread stores tells which line stored it.
        let byte = line.index as u8;
        match line.op {
            Op::File { file, ref name, size, make } => {
                self.files.make(line.thread, file, name, size, make).into()
            }
            Op::Map { .. } => self.map(&line.op),
            Op::Unmap { map, off, len } => sys::unmap(place(map, off), len).into(),
            Op::Remap { map, len, new_len, to } => self.remap(map, len, new_len, to),
            Op::Protect { map, off, len, prot } => sys::protect(place(map, off), len, prot.bits()).into(),
            Op::Advise { map, off, len, advice } => sys::advise(place(map, off), len, advice.number()).into(),
            Op::Load { map, off } => Outcome::of([(Access::Load, place(map, off))].into_iter()),
            Op::Store { map, off } => Outcome::of([(Access::Store(byte), place(map, off))].into_iter()),
            Op::LoadRange { map, off, len, stride, .. } => {
                Outcome::of(strides(place(map, off), len, stride).map(|at| (Access::Load, at)))
            }
            Op::StoreRange { map, off, len, stride } => {
                Outcome::of(strides(place(map, off), len, stride).map(|at| (Access::Store(byte), at)))
            }
            Op::Acc { map, ref accesses } => Outcome::of(accesses.iter().map(|listed| match listed.kind {
                AccessKind::Write => (Access::Store(byte), place(map, listed.off)),
                _ => (Access::Load, place(map, listed.off)),
            })),
            Op::NtStore { map, off, len } => {
                let words = strides(
                    place(map, off) & !(LINE - 1),
                    lines(place(map, off), len).count() as u64 * LINE,
                    8,
                );
                Outcome::of(words.map(|at| (Access::NonTemporal(byte.into()), at)))
            }
            Op::Flush { how, map, off, len } => {
                let access = match how {
                    LineFlush::Clwb => Access::Clwb,
                    LineFlush::ClflushOpt => Access::ClflushOpt,
                    LineFlush::Clflush => Access::Clflush,
                };
                Outcome::of(lines(place(map, off), len).map(|at| (access, at)))
            }
            Op::Fence(fence) => {
                match fence {
                    Fence::Store => access::store_fence(),
                    Fence::Full => access::full_fence(),
                }
                Ok(0).into()
            }
            Op::Msync { map, off, len, asynchronous } => {
                sys::sync_range(place(map, off), len, asynchronous).into()
            }
            Op::Fsync { file } => sys::sync(fd(file), false).into(),
            Op::Fdatasync { file } => sys::sync(fd(file), true).into(),
            Op::Truncate { file, size } => sys::truncate(fd(file), size).into(),
            Op::Fallocate { file, mode, off, len } => sys::allocate(fd(file), mode.bits(), off, len).into(),
            Op::Clone { to, from, to_off, from_off, len } => {
                sys::clone_range(fd(to), fd(from), to_off, from_off, len).into()
            }
            Op::Pread { file, off, len } => self.file_io(line.thread, file, off, len, None).into(),
            Op::Pwrite { file, off, len } => self.file_io(line.thread, file, off, len, Some(byte)).into(),
            Op::KernelRead { map, off, len } => self.kernel_read(line.thread, place(map, off), len).into(),
            Op::KernelWrite { map, off, len } => sys::read_into(self.zero, place(map, off), len).into(),
            Op::Fork { child } => self.fork(line, child, how).into(),
            Op::Wait { child } => {
                let (result, status) = sys::wait(self.files.child(child));
                Outcome { extra: Extra::Status(status), ..result.into() }
            }
            Op::Cpu { cpu } => sys::pin(cpu).into(),
            Op::Usleep { micros } => sys::sleep(micros).into(),
            Op::Fiemap { file } => self.extents(line.index, file).into(),
            // A script with these is refused before it runs.
            Op::Pin { .. } | Op::Unpin { .. } => Err(libc::ENOSYS).into(),
            Op::Exit | Op::Nop => Ok(0).into(),
        }
    }

    fn map(&self, op: &Op) -> Outcome {
        let &Op::Map { map, file, offset, len, prot, share, populate, addr } = op else {
            return Err(libc::EINVAL).into();
        };
        // MAP_SHARED_VALIDATE, which MAP_SYNC needs, knows no MAP_FIXED_NOREPLACE.
        let flags = match share {
            MapShare::Shared => libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE,
            MapShare::Private => libc::MAP_PRIVATE | libc::MAP_FIXED_NOREPLACE,
            MapShare::Sync => libc::MAP_SHARED_VALIDATE | libc::MAP_SYNC | libc::MAP_FIXED,
        };
        let flags = if populate { flags | libc::MAP_POPULATE } else { flags };
        match sys::map(addr, len, prot.bits(), flags, self.files.fd(file), offset) {
            Ok(at) => {
                self.files.mapped(map, at as u64);
                Outcome { extra: Extra::Address(at as u64), ..Ok(0).into() }
            }
            Err(errno) => Err(errno).into(),
        }
    }

    fn remap(&self, map: u32, len: u64, new_len: u64, to: Option<RemapTo>) -> Outcome {
        let (flags, addr) = match to {
            None => (0, 0),
            Some(RemapTo { addr, dont_unmap: false }) => (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, addr),
            Some(RemapTo { addr, dont_unmap: true }) => {
                (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED | libc::MREMAP_DONTUNMAP, addr)
            }
        };
        match sys::remap(self.files.address(map), len, new_len, flags, addr) {
            Ok(at) => {
                self.files.mapped(map, at as u64);
                Outcome { extra: Extra::Address(at as u64), ..Ok(0).into() }
            }
            Err(errno) => Err(errno).into(),
        }
    }

    /// pread or, with a byte, pwrite.
    fn file_io(&self, thread: u16, file: u32, off: u64, len: u64, write: Option<u8>) -> sys::Result {
        let Some(mut buffer) = self.files.buffer(thread) else { return Err(libc::ENOMEM) };
        let Some(part) = buffer.get_mut(..len as usize) else { return Err(libc::EINVAL) };
        match write {
            Some(byte) => {
                part.fill(byte);
                sys::write_at(self.files.fd(file), part, off)
            }
            None => sys::read_at(self.files.fd(file), part, off),
        }
    }

    /// The kernel loads from the map into a pipe, which is emptied then.
    fn kernel_read(&self, thread: u16, at: u64, len: u64) -> sys::Result {
        let (read, write) = self.pipe;
        let written = sys::write_from(write, at, len)?;
        if let (1.., Some(mut buffer)) = (written, self.files.buffer(thread)) {
            sys::read_into(read, buffer.as_mut_ptr() as u64, written.min(buffer.len() as i64) as u64)?;
        }
        Ok(written)
    }

    /// The child goes on with its own lines below this one, and ends.
    fn fork(&self, line: &Line, child: u16, how: WaitMode) -> sys::Result {
        let pid = sys::fork()?;
        if pid == 0 {
            self.run_lines(child, line.index as usize + 1, how);
            sys::exit_child();
        }
        self.files.forked(child, pid as i32);
        Ok(pid)
    }

    /// Logs where the file's extents are; how many.
    fn extents(&self, line: u32, file: u32) -> sys::Result {
        let extents = crate::fiemap::extents(self.files.fd(file))?;
        for extent in &extents {
            self.shared.log(format_args!("# fiemap line={line} F{file} {extent}\n"));
        }
        Ok(extents.len() as i64)
    }
}
