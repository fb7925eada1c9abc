//! The fs_dax and iomap events.

use daxsim_types::{VirtAddr, VmFault};

use super::event::{DaxPmd, DaxPmdHole, DaxPte, DaxWritebackRange, Event};
use super::flags::{Dev, FaultFlags, IomapFlags, IomapType, RESULT_NAMES};
use super::scan::{Scan, bits};

/// `259:0`
fn dev(s: &mut Scan<'_>) -> Option<Dev> {
    let major = s.dec_as()?;
    s.lit(b":")?;
    Some(Dev { major, minor: s.dec_as()? })
}

/// `dev 259:0 ino 0xc`
fn inode(s: &mut Scan<'_>) -> Option<(Dev, u64)> {
    s.lit(b"dev ")?;
    let dev = dev(s)?;
    Some((dev, named(s, b" ino ")?))
}

/// A blank, a name, a blank, a hexadecimal number.
#[inline]
fn named(s: &mut Scan<'_>, name: &[u8]) -> Option<u64> {
    s.lit(name)?;
    s.hex()
}

fn shared(s: &mut Scan<'_>) -> Option<bool> {
    if s.lit(b" shared").is_some() {
        return Some(true);
    }
    s.lit(b" private").map(|()| false)
}

/// ` MAJOR|NOPAGE` or ` `, to the end of the line.
fn result(s: &mut Scan<'_>) -> Option<VmFault> {
    bits(s.0.trim_ascii(), &RESULT_NAMES).map(VmFault)
}

/// `dev 259:0 ino 0xc shared WRITE|USER address 0x1000`
fn fault(s: &mut Scan<'_>) -> Option<DaxPte> {
    let (dev, ino) = inode(s)?;
    let shared = shared(s)?;
    s.lit(b" ")?;
    let flags = FaultFlags(bits(s.until(b' ')?, &FaultFlags::NAMES)?);
    let address = VirtAddr(named(s, b"address ")?);
    Some(DaxPte { dev, ino, shared, flags, address, ..DaxPte::default() })
}

pub(super) fn pte(s: &mut Scan<'_>) -> Option<DaxPte> {
    let mut fault = fault(s)?;
    fault.pgoff = named(s, b" pgoff ")?;
    fault.result = result(s)?;
    Some(fault)
}

pub(super) fn pmd(s: &mut Scan<'_>) -> Option<DaxPmd> {
    let mut fault = fault(s)?;
    let vm_start = VirtAddr(named(s, b" vm_start ")?);
    let vm_end = VirtAddr(named(s, b" vm_end ")?);
    fault.pgoff = named(s, b" pgoff ")?;
    let max_pgoff = named(s, b" max_pgoff ")?;
    fault.result = result(s)?;
    Some(DaxPmd { fault, vm_start, vm_end, max_pgoff })
}

pub(super) fn pmd_hole(s: &mut Scan<'_>) -> Option<DaxPmdHole> {
    let (dev, ino) = inode(s)?;
    let shared = shared(s)?;
    let address = VirtAddr(named(s, b" address ")?);
    // The pointer is hashed, and `(null)` or `____ptrval____` early after boot.
    s.lit(b" zero_folio ").or_else(|| s.lit(b" zero_page "))?;
    s.until(b' ')?;
    let radix_entry = named(s, b"radix_entry ")?;
    s.at_end().then_some(DaxPmdHole { dev, ino, shared, address, radix_entry })
}

pub(super) fn writeback_range(s: &mut Scan<'_>) -> Option<DaxWritebackRange> {
    let (dev, ino) = inode(s)?;
    let start = named(s, b" pgoff ")?;
    s.lit(b"-")?;
    let end = s.hex()?;
    s.at_end().then_some(DaxWritebackRange { dev, ino, start, end })
}

pub(super) fn writeback_one(s: &mut Scan<'_>) -> Option<Event> {
    let (dev, ino) = inode(s)?;
    let pgoff = named(s, b" pgoff ")?;
    let pglen = named(s, b" pglen ")?;
    s.at_end().then_some(Event::DaxWritebackOne { dev, ino, pgoff, pglen })
}

/// 6.12 prints names only, 7.2 the numbers behind them: `type MAPPED (0x2) flags NEW|DIRTY (0x3)`.
pub(super) fn iomap(s: &mut Scan<'_>) -> Option<Event> {
    let (inode_dev, ino) = inode(s)?;
    s.lit(b" bdev ")?;
    let bdev = dev(s)?;
    let addr = named(s, b" addr ")?;
    let offset = named(s, b" offset ")?;
    let length = named(s, b" length ")?;
    s.lit(b" type ")?;
    let kind = IomapType::from_name(s.until(b' ')?);
    if s.lit(b"(").is_some() {
        s.hex()?;
        s.lit(b") ")?;
    }
    s.lit(b"flags ")?;
    let flags = match memchr::memchr(b'(', s.0) {
        Some(open) => {
            s.0 = s.0.get(open + 1..)?;
            let flags = s.hex32()?;
            s.lit(b")")?;
            s.at_end().then_some(flags)?
        }
        None => bits(s.0.trim_ascii(), &IomapFlags::NAMES)?,
    };
    let flags = IomapFlags(flags);
    Some(Event::IomapIterDstmap { dev: inode_dev, ino, bdev, addr, offset, length, kind, flags })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pte_fault_with_all_its_fields() {
        let text = b"dev 259:0 ino 0xc shared WRITE|ALLOW_RETRY|KILLABLE|USER|INTERRUPTIBLE|0x800 \
                     address 0x7f1c40001000 pgoff 0x1 MAJOR|NOPAGE";
        let f = pte(&mut Scan(text)).unwrap();
        assert_eq!((f.dev, f.ino, f.shared), (Dev { major: 259, minor: 0 }, 12, true));
        assert_eq!(f.flags, FaultFlags(0xa55));
        assert_eq!((f.address, f.pgoff), (VirtAddr(0x7f1c_4000_1000), 1));
        assert_eq!(f.result, VmFault::MAJOR | VmFault::NOPAGE);
        let empty = b"dev 259:0 ino 0xc private  address 0x1000 pgoff 0x1 ";
        let f = pte(&mut Scan(empty)).unwrap();
        assert_eq!((f.shared, f.flags, f.result), (false, FaultFlags(0), VmFault(0)));
    }

    #[test]
    fn other_results_and_flags_are_refused() {
        assert_eq!(pte(&mut Scan(b"dev 259:0 ino 0xc shared ODD address 0x1000 pgoff 0x1 ")), None);
        assert_eq!(pte(&mut Scan(b"dev 259:0 ino 0xc shared USER address 0x1000 pgoff 0x1 NOP")), None);
        assert_eq!(pte(&mut Scan(b"dev 259:0 ino 0xc other USER address 0x1000 pgoff 0x1 ")), None);
    }

    #[test]
    fn pmd_events() {
        let text = b"dev 259:0 ino 0xc shared USER|VMA_LOCK address 0x1000 vm_start 0x1000 vm_end 0x2000 \
                     pgoff 0x3 max_pgoff 0x40 FALLBACK";
        let p = pmd(&mut Scan(text)).unwrap();
        assert_eq!((p.vm_end, p.fault.pgoff, p.max_pgoff), (VirtAddr(0x2000), 3, 0x40));
        assert!(p.fault.flags.contains(FaultFlags::VMA_LOCK) && p.fault.result == VmFault::FALLBACK);
        let text =
            b"dev 259:0 ino 0xc shared address 0x1000 zero_folio 000000006b8cba9a radix_entry 0x226c00d";
        assert_eq!(pmd_hole(&mut Scan(text)).unwrap().radix_entry, 0x226_c00d);
        let text = b"dev 259:0 ino 0xc shared address 0x1000 zero_folio (null) radix_entry 0x0";
        assert!(pmd_hole(&mut Scan(text)).is_some());
    }

    #[test]
    fn writeback_events() {
        let r = writeback_range(&mut Scan(b"dev 259:0 ino 0xd pgoff 0x1000-0x7ffffffffffff")).unwrap();
        assert_eq!((r.start, r.end), (0x1000, 0x7_ffff_ffff_ffff));
        assert!(writeback_one(&mut Scan(b"dev 259:0 ino 0xd pgoff 0x0 pglen 0x200")).is_some());
        assert!(writeback_one(&mut Scan(b"dev 259:0 ino 0xd pgoff 0x0 pglen 0x200 x")).is_none());
    }

    #[test]
    fn both_kernels_print_the_same_extent() {
        let head = "dev 259:0 ino 0xc bdev 259:0 addr 0x80c0000 offset 0x0 length 0x40000 ";
        for (old, new) in [
            ("type MAPPED flags NEW|DIRTY", "type MAPPED (0x2) flags NEW|DIRTY (0x3)"),
            ("type HOLE flags ", "type HOLE (0x0) flags  (0x0)"),
        ] {
            let old = iomap(&mut Scan(format!("{head}{old}").as_bytes())).unwrap();
            assert_eq!(Some(old), iomap(&mut Scan(format!("{head}{new}").as_bytes())));
        }
    }
}
