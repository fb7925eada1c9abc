//! The fs_dax and iomap events.

use daxsim_types::{VirtAddr, VmFault};

use super::event::{DaxPmd, DaxPmdHole, DaxPte, DaxWritebackRange, Event};
use super::fields::Fields;
use super::flags::{Dev, FaultFlags, RESULT_NAMES};

/// `dev 259:0 ino 0xc`
fn inode<F: Fields>(f: &mut F) -> Option<(Dev, u64)> {
    Some((f.dev(b"dev ", b"dev")?, f.hex(b" ino ", b"ino")?))
}

/// ` MAJOR|NOPAGE` or ` `, to the end of the line.
fn result<F: Fields>(f: &mut F) -> Option<VmFault> {
    let result = f.flags(b" ", b"result", &RESULT_NAMES)?;
    f.at_end().then_some(VmFault(result))
}

/// `dev 259:0 ino 0xc shared WRITE|USER address 0x1000`
fn fault<F: Fields>(f: &mut F) -> Option<DaxPte> {
    let (dev, ino) = inode(f)?;
    let shared = f.shared()?;
    let flags = FaultFlags(f.flags(b" ", b"flags", &FaultFlags::NAMES)?);
    let address = VirtAddr(f.hex(b" address ", b"address")?);
    Some(DaxPte { dev, ino, shared, flags, address, ..DaxPte::default() })
}

pub(super) fn pte<F: Fields>(f: &mut F) -> Option<DaxPte> {
    let mut fault = fault(f)?;
    fault.pgoff = f.hex(b" pgoff ", b"pgoff")?;
    fault.result = result(f)?;
    Some(fault)
}

pub(super) fn pmd<F: Fields>(f: &mut F) -> Option<DaxPmd> {
    let mut fault = fault(f)?;
    let vm_start = VirtAddr(f.hex(b" vm_start ", b"vm_start")?);
    let vm_end = VirtAddr(f.hex(b" vm_end ", b"vm_end")?);
    fault.pgoff = f.hex(b" pgoff ", b"pgoff")?;
    let max_pgoff = f.hex(b" max_pgoff ", b"max_pgoff")?;
    fault.result = result(f)?;
    Some(DaxPmd { fault, vm_start, vm_end, max_pgoff })
}

pub(super) fn pmd_hole<F: Fields>(f: &mut F) -> Option<DaxPmdHole> {
    let (dev, ino) = inode(f)?;
    let shared = f.shared()?;
    let address = VirtAddr(f.hex(b" address ", b"address")?);
    // The pointer of the zero folio is hashed, and `(null)` or `____ptrval____` early after boot.
    f.skip_to(b" radix_entry ")?;
    let radix_entry = f.hex(b" radix_entry ", b"radix_entry")?;
    f.at_end().then_some(DaxPmdHole { dev, ino, shared, address, radix_entry })
}

pub(super) fn writeback_range<F: Fields>(f: &mut F) -> Option<DaxWritebackRange> {
    let (dev, ino) = inode(f)?;
    let start = f.hex(b" pgoff ", b"start_index")?;
    let end = f.hex(b"-", b"end_index")?;
    f.at_end().then_some(DaxWritebackRange { dev, ino, start, end })
}

pub(super) fn writeback_one<F: Fields>(f: &mut F) -> Option<Event> {
    let (dev, ino) = inode(f)?;
    let pgoff = f.hex(b" pgoff ", b"pgoff")?;
    let pglen = f.hex(b" pglen ", b"pglen")?;
    f.at_end().then_some(Event::DaxWritebackOne { dev, ino, pgoff, pglen })
}

pub(super) fn iomap<F: Fields>(f: &mut F) -> Option<Event> {
    let (inode_dev, ino) = inode(f)?;
    let bdev = f.dev(b" bdev ", b"bdev")?;
    let addr = f.hex(b" addr ", b"addr")?;
    let offset = f.hex(b" offset ", b"offset")?;
    let length = f.hex(b" length ", b"length")?;
    let kind = f.iomap_type()?;
    let flags = f.iomap_flags()?;
    f.at_end().then_some(Event::IomapIterDstmap {
        dev: inode_dev,
        ino,
        bdev,
        addr,
        offset,
        length,
        kind,
        flags,
    })
}

#[cfg(test)]
mod tests {
    use super::super::scan::Scan;
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
