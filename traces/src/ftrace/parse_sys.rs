//! System calls: `sys_x(name: value, ..)` and `sys_x -> value`.
//!
//! 6.12 prints every argument in hexadecimal without 0x; 7.2 prints 0x.., values below 10 in
//! decimal, and may print the text of a buffer behind its address. All are read as hexadecimal.

use super::fields::Fields;
use super::scan::Scan;
use super::syscall::{SysCall, SysEnter};

/// Reads the arguments behind `sys_x(`, and the parenthesis behind them.
pub(super) fn enter(call: SysCall, text: &[u8]) -> Option<SysEnter> {
    let mut s = Scan(text);
    let entered = arguments(call, &mut s)?;
    if matches!(call, SysCall::Clone | SysCall::Clone3) {
        // Arguments that nobody needs.
        s.until(b')')?;
        return Some(entered);
    }
    s.lit(b")")?;
    s.at_end().then_some(entered)
}

/// Reads the arguments.
pub(super) fn arguments<F: Fields>(call: SysCall, f: &mut F) -> Option<SysEnter> {
    Some(match call {
        SysCall::Mmap => SysEnter::Mmap {
            addr: f.hex(b"addr: ", b"addr")?,
            len: f.hex(b", len: ", b"len")?,
            prot: f.hex(b", prot: ", b"prot")? as u32,
            flags: f.hex(b", flags: ", b"flags")? as u32,
            fd: f.hex(b", fd: ", b"fd")? as i32,
            off: f.hex(b", off: ", b"off")?,
        },
        SysCall::Munmap => {
            SysEnter::Munmap { addr: f.hex(b"addr: ", b"addr")?, len: f.hex(b", len: ", b"len")? }
        }
        SysCall::Mremap => SysEnter::Mremap {
            addr: f.hex(b"addr: ", b"addr")?,
            old_len: f.hex(b", old_len: ", b"old_len")?,
            new_len: f.hex(b", new_len: ", b"new_len")?,
            flags: f.hex(b", flags: ", b"flags")?,
            new_addr: f.hex(b", new_addr: ", b"new_addr")?,
        },
        SysCall::Mprotect => SysEnter::Mprotect {
            start: f.hex(b"start: ", b"start")?,
            len: f.hex(b", len: ", b"len")?,
            prot: f.hex(b", prot: ", b"prot")? as u32,
        },
        SysCall::Msync => SysEnter::Msync {
            start: f.hex(b"start: ", b"start")?,
            len: f.hex(b", len: ", b"len")?,
            flags: f.hex(b", flags: ", b"flags")? as u32,
        },
        SysCall::Fsync => SysEnter::Fsync { fd: descriptor(f)? },
        SysCall::Fdatasync => SysEnter::Fdatasync { fd: descriptor(f)? },
        SysCall::Ftruncate => {
            SysEnter::Ftruncate { fd: descriptor(f)?, length: f.hex(b", length: ", b"length")? }
        }
        SysCall::Fallocate => SysEnter::Fallocate {
            fd: descriptor(f)?,
            mode: f.hex(b", mode: ", b"mode")? as u32,
            offset: f.hex(b", offset: ", b"offset")?,
            len: f.hex(b", len: ", b"len")?,
        },
        SysCall::Madvise => SysEnter::Madvise {
            start: f.hex(b"start: ", b"start")?,
            len: f.hex(b", len_in: ", b"len_in")?,
            behavior: f.hex(b", behavior: ", b"behavior")? as u32,
        },
        SysCall::Clone => SysEnter::Clone { flags: f.hex(b"clone_flags: ", b"clone_flags")? },
        SysCall::Clone3 => SysEnter::Clone3,
        SysCall::Fork => SysEnter::Fork,
        SysCall::Vfork => SysEnter::Vfork,
        SysCall::Pread64 => {
            let (fd, buf, count, pos) = buffered(f)?;
            SysEnter::Pread64 { fd, buf, count, pos }
        }
        SysCall::Pwrite64 => {
            let (fd, buf, count, pos) = buffered(f)?;
            SysEnter::Pwrite64 { fd, buf, count, pos }
        }
    })
}

/// Reads the value behind `sys_x -> `.
pub(super) fn exit(text: &[u8]) -> Option<i64> {
    let mut s = Scan(text);
    let ret = s.hex_number()?;
    s.at_end().then_some(ret as i64)
}

fn descriptor<F: Fields>(f: &mut F) -> Option<i32> {
    Some(f.hex(b"fd: ", b"fd")? as i32)
}

fn buffered<F: Fields>(f: &mut F) -> Option<(i32, u64, u64, u64)> {
    let fd = descriptor(f)?;
    let buf = f.hex(b", buf: ", b"buf")?;
    // The buffer's text may hold anything: the arguments behind it are the last of their name.
    f.skip_to_last(b", count: ")?;
    Some((fd, buf, f.hex(b", count: ", b"count")?, f.hex(b", pos: ", b"pos")?))
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
