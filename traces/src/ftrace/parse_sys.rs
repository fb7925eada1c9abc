//! System calls: `sys_x(name: value, ..)` and `sys_x -> value`.
//!
//! 6.12 prints every argument in hexadecimal without 0x; 7.2 prints 0x.., values below 10 in
//! decimal, and may print the text of a buffer behind its address. All are read as hexadecimal.

use super::scan::Scan;
use super::syscall::{SysCall, SysEnter};

/// Reads the arguments behind `sys_x(`.
pub(super) fn enter(call: SysCall, text: &[u8]) -> Option<SysEnter> {
    let s = &mut Scan(text);
    let entered = match call {
        SysCall::Mmap => SysEnter::Mmap {
            addr: arg(s, b"addr: ")?,
            len: arg(s, b", len: ")?,
            prot: arg(s, b", prot: ")? as u32,
            flags: arg(s, b", flags: ")? as u32,
            fd: arg(s, b", fd: ")? as i32,
            off: arg(s, b", off: ")?,
        },
        SysCall::Munmap => SysEnter::Munmap { addr: arg(s, b"addr: ")?, len: arg(s, b", len: ")? },
        SysCall::Mremap => SysEnter::Mremap {
            addr: arg(s, b"addr: ")?,
            old_len: arg(s, b", old_len: ")?,
            new_len: arg(s, b", new_len: ")?,
            flags: arg(s, b", flags: ")?,
            new_addr: arg(s, b", new_addr: ")?,
        },
        SysCall::Mprotect => SysEnter::Mprotect {
            start: arg(s, b"start: ")?,
            len: arg(s, b", len: ")?,
            prot: arg(s, b", prot: ")? as u32,
        },
        SysCall::Msync => SysEnter::Msync {
            start: arg(s, b"start: ")?,
            len: arg(s, b", len: ")?,
            flags: arg(s, b", flags: ")? as u32,
        },
        SysCall::Fsync => SysEnter::Fsync { fd: arg(s, b"fd: ")? as i32 },
        SysCall::Fdatasync => SysEnter::Fdatasync { fd: arg(s, b"fd: ")? as i32 },
        SysCall::Ftruncate => {
            SysEnter::Ftruncate { fd: arg(s, b"fd: ")? as i32, length: arg(s, b", length: ")? }
        }
        SysCall::Fallocate => SysEnter::Fallocate {
            fd: arg(s, b"fd: ")? as i32,
            mode: arg(s, b", mode: ")? as u32,
            offset: arg(s, b", offset: ")?,
            len: arg(s, b", len: ")?,
        },
        SysCall::Madvise => SysEnter::Madvise {
            start: arg(s, b"start: ")?,
            len: arg(s, b", len_in: ")?,
            behavior: arg(s, b", behavior: ")? as u32,
        },
        SysCall::Clone => {
            let flags = arg(s, b"clone_flags: ")?;
            s.until(b')')?;
            return Some(SysEnter::Clone { flags });
        }
        SysCall::Clone3 => {
            s.until(b')')?;
            return Some(SysEnter::Clone3);
        }
        SysCall::Fork => SysEnter::Fork,
        SysCall::Vfork => SysEnter::Vfork,
        SysCall::Pread64 => {
            let (fd, buf, count, pos) = buffered(s)?;
            SysEnter::Pread64 { fd, buf, count, pos }
        }
        SysCall::Pwrite64 => {
            let (fd, buf, count, pos) = buffered(s)?;
            SysEnter::Pwrite64 { fd, buf, count, pos }
        }
    };
    s.lit(b")")?;
    s.at_end().then_some(entered)
}

/// Reads the value behind `sys_x -> `.
pub(super) fn exit(text: &[u8]) -> Option<i64> {
    let mut s = Scan(text);
    let ret = s.hex()?;
    s.at_end().then_some(ret as i64)
}

fn arg(s: &mut Scan<'_>, name: &[u8]) -> Option<u64> {
    s.lit(name)?;
    s.hex()
}

fn buffered(s: &mut Scan<'_>) -> Option<(i32, u64, u64, u64)> {
    let fd = arg(s, b"fd: ")? as i32;
    let buf = arg(s, b", buf: ")?;
    // The buffer's text may hold anything: the arguments behind it are the last of their name.
    let at = memchr::memmem::rfind(s.0, b", count: ")?;
    s.0 = s.0.get(at..)?;
    Some((fd, buf, arg(s, b", count: ")?, arg(s, b", pos: ")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kernels_print_the_same_call() {
        let call = SysEnter::Fallocate { fd: 10, mode: 3, offset: 0, len: 0x40000 };
        for text in ["fd: a, mode: 3, offset: 0, len: 40000)", "fd: 0xa, mode: 3, offset: 0, len: 0x40000)"] {
            assert_eq!(enter(SysCall::Fallocate, text.as_bytes()), Some(call));
        }
        let text = b"addr: 100000000000, len: 40000, prot: 3, flags: 100022, fd: ffffffff, off: 0)";
        let Some(SysEnter::Mmap { fd, addr, .. }) = enter(SysCall::Mmap, text) else { panic!() };
        assert_eq!((fd, addr), (-1, 0x1000_0000_0000));
    }

    #[test]
    fn a_buffers_text_does_not_confuse() {
        let text =
            br#"fd: 8, buf: 0x5d (5a:5a, ...) "Z, count: 0x1, pos: 3)"..., count: 0x40000, pos: 0x20)"#;
        let call = SysEnter::Pwrite64 { fd: 8, buf: 0x5d, count: 0x40000, pos: 0x20 };
        assert_eq!(enter(SysCall::Pwrite64, text), Some(call));
        let call = SysEnter::Pread64 { fd: 3, buf: 0x7f, count: 0x310, pos: 0x40 };
        assert_eq!(enter(SysCall::Pread64, b"fd: 3, buf: 7f, count: 310, pos: 40)"), Some(call));
    }

    #[test]
    fn every_call_is_read_and_knows_its_name() {
        for (call, text) in [
            (SysCall::Munmap, "addr: 0x1, len: 2)"),
            (SysCall::Mremap, "addr: 0x1000, old_len: 1000, new_len: 2000, flags: 1, new_addr: 0)"),
            (SysCall::Mprotect, "start: 0x1, len: 2, prot: 1)"),
            (SysCall::Msync, "start: 0x1, len: 2, flags: 4)"),
            (SysCall::Fsync, "fd: 8)"),
            (SysCall::Fdatasync, "fd: 8)"),
            (SysCall::Ftruncate, "fd: 8, length: 0)"),
            (SysCall::Madvise, "start: 0x1, len_in: 2, behavior: 4)"),
            (
                SysCall::Clone,
                "clone_flags: 0x1200011, newsp: 0, parent_tidptr: 0, child_tidptr: 0x3, tls: 0)",
            ),
            (SysCall::Clone3, "uargs: 0x1, size: 0x58)"),
            (SysCall::Fork, ")"),
            (SysCall::Vfork, ")"),
        ] {
            assert_eq!(enter(call, text.as_bytes()).map(|e| e.call()), Some(call));
            let cut = &text[..text.len() - 1];
            assert_eq!(enter(call, cut.as_bytes()), None, "{cut}");
        }
    }

    #[test]
    fn returns_are_signed() {
        assert_eq!(exit(b"0xffffffffffffffea"), Some(-22));
        assert_eq!(exit(b"0x40000"), Some(0x40000));
        assert_eq!(exit(b"x"), None);
        assert_eq!(exit(b"0x1 y"), None);
    }
}
