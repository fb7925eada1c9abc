//! The fields of an event from its record, as the kernel wrote it.

use super::fields::Fields;
use super::flags::{CpuMask, Dev, IomapFlags, IomapType};
use super::format::{Field, Format, Place};
use super::symbols::Symbols;
use super::text::{Comm, Name};

/// The order of bytes and the size of pointers of a machine that was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Whether the most significant byte comes first.
    pub big_endian: bool,
    /// Bytes of a `long`.
    pub long: usize,
}

impl Layout {
    /// An unsigned number of up to 8 bytes.
    pub fn number(self, bytes: &[u8]) -> Option<u64> {
        if bytes.is_empty() || bytes.len() > 8 {
            return None;
        }
        let join = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
        Some(if self.big_endian { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) })
    }
}

/// A record and its description.
#[derive(Clone, Copy)]
pub(crate) struct Raw<'a> {
    pub format: &'a Format,
    /// From the common fields on.
    pub bytes: &'a [u8],
    pub layout: Layout,
    pub symbols: &'a Symbols,
}

/// `VM_SHARED` of `vm_flags` (Linux `include/linux/mm.h`).
const VM_SHARED: u64 = 0x8;
/// Bits of a device number that are the minor number (Linux `include/linux/kdev_t.h`).
const MINOR_BITS: u32 = 20;
/// Letters of the states of a task, from bit 0 on (Linux `include/trace/events/sched.h`).
const STATES: &[u8; 8] = b"SDTtXZPI";
/// Bit of a task's state that says that it was preempted.
const PREEMPTED: u64 = 0x100;
/// First address of the kernel's half.
pub(super) const KERNEL_HALF: u64 = 1 << 63;

impl<'a> Raw<'a> {
    /// The bytes of a field.
    fn bytes_of(&self, field: &Field) -> Option<&'a [u8]> {
        let here = self.bytes.get(field.offset..)?;
        let (start, len) = match field.place {
            // An array without bounds takes the rest.
            Place::Here if field.size == 0 => return Some(here),
            Place::Here => return here.get(..field.size),
            Place::Dynamic | Place::Relative => {
                let word = self.layout.number(here.get(..4)?)? as usize;
                (word & 0xffff, word >> 16 & 0xffff)
            }
        };
        let base = if field.place == Place::Relative { field.offset + 4 } else { 0 };
        self.bytes.get(base + start..)?.get(..len)
    }

    /// The bytes of the field of a name.
    fn find(&self, name: &[u8]) -> Option<(&'a Field, &'a [u8])> {
        let field = self.format.field(name)?;
        Some((field, self.bytes_of(field)?))
    }

    /// A number, with its sign if it has one.
    pub fn number(&self, name: &[u8]) -> Option<u64> {
        let (field, bytes) = self.find(name)?;
        let value = self.layout.number(bytes)?;
        let unused = 64 - 8 * bytes.len() as u32;
        Some(if field.signed { ((value << unused) as i64 >> unused) as u64 } else { value })
    }

    /// Text up to its end.
    pub fn text(&self, name: &[u8]) -> Option<&'a [u8]> {
        let (_, bytes) = self.find(name)?;
        bytes.get(..memchr::memchr(0, bytes).unwrap_or(bytes.len()))
    }
}

impl Fields for Raw<'_> {
    fn hex(&mut self, _: &[u8], name: &[u8]) -> Option<u64> {
        self.number(name)
    }

    fn int(&mut self, _: &[u8], name: &[u8]) -> Option<i64> {
        self.number(name).map(|v| v as i64)
    }

    fn arg(&mut self, key: &[u8]) -> Option<u64> {
        self.number(key.trim_ascii_start().strip_suffix(b"=")?)
    }

    fn dev(&mut self, _: &[u8], name: &[u8]) -> Option<Dev> {
        let dev = u32::try_from(self.number(name)?).ok()?;
        Some(Dev { major: dev >> MINOR_BITS, minor: dev & ((1 << MINOR_BITS) - 1) })
    }

    fn shared(&mut self) -> Option<bool> {
        Some(self.number(b"vm_flags")? & VM_SHARED != 0)
    }

    fn flags(&mut self, _: &[u8], name: &[u8], _: &[(&[u8], u32)]) -> Option<u32> {
        Some(self.number(name)? as u32)
    }

    fn iomap_type(&mut self) -> Option<IomapType> {
        self.number(b"type").map(IomapType::from_number)
    }

    fn iomap_flags(&mut self) -> Option<IomapFlags> {
        Some(IomapFlags(self.number(b"flags")? as u32))
    }

    fn instruction(&mut self) -> Option<Option<u64>> {
        let ip = self.number(b"ip")?;
        Some((ip < KERNEL_HALF).then_some(ip))
    }

    fn reason(&mut self) -> Option<u8> {
        u8::try_from(self.number(b"reason")?).ok()
    }

    fn comm(&mut self, _: &[u8], name: &[u8], _: &[u8]) -> Option<Comm> {
        self.text(name).map(Comm::new)
    }

    fn task_state(&mut self) -> Option<(u8, bool)> {
        let state = self.number(b"prev_state")?;
        let letter = STATES.get((state & 0xff).trailing_zeros() as usize).copied();
        Some((letter.unwrap_or(b'R'), state & PREEMPTED != 0))
    }

    fn cpu_mask(&mut self) -> Option<CpuMask> {
        let (_, bytes) = self.find(b"cpumask")?;
        let mut mask = CpuMask::default();
        for (i, word) in bytes.chunks_exact(self.layout.long).enumerate() {
            let word = self.layout.number(word)?;
            match i * self.layout.long {
                at @ 0..8 => mask.low |= word << (8 * at),
                _ => mask.beyond |= word != 0,
            }
        }
        Some(mask)
    }

    fn call_site(&mut self) -> Option<Name> {
        Some(self.symbols.name(self.number(b"callsite")?))
    }

    fn marker(&self) -> &[u8] {
        let text = self.text(b"buf").unwrap_or_default();
        text.strip_suffix(b"\n").unwrap_or(text)
    }

    fn skip_to(&mut self, _: &[u8]) -> Option<()> {
        Some(())
    }

    fn skip_to_last(&mut self, _: &[u8]) -> Option<()> {
        Some(())
    }

    fn at_end(&self) -> bool {
        true
    }
}
