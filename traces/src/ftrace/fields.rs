//! Where the fields of an event are read from: the text that the kernel prints, or the record that it wrote.
//!
//! Each event is described once, as the sequence of its fields. A field has the text before its value and its name in
//! the tracefs format; the two notations use one or the other.

use super::flags::{CpuMask, Dev, IomapFlags, IomapType};
use super::scan::Scan;
use super::text::{Comm, Name};

use super::raw::Raw;

/// A way to write events.
pub(super) trait Notation {
    /// The fields of one event.
    type Fields<'a>: Fields;
}

/// Printed text.
pub(super) struct Text;

impl Notation for Text {
    type Fields<'a> = Scan<'a>;
}

/// Records as the kernel writes them.
pub(super) struct Binary;

impl Notation for Binary {
    type Fields<'a> = Raw<'a>;
}

/// Fields of an event, read in the order in which they are printed.
///
/// `text` is what stands before the value, `name` the field's name in the format.
pub(super) trait Fields {
    /// A number printed in hexadecimal.
    fn hex(&mut self, text: &[u8], name: &[u8]) -> Option<u64>;

    /// A number printed in decimal with its sign.
    fn int(&mut self, text: &[u8], name: &[u8]) -> Option<i64>;

    /// An argument of a kernel probe; `key` is its name between a blank and `=`.
    fn arg(&mut self, key: &[u8]) -> Option<u64>;

    /// The device number of a block device.
    fn dev(&mut self, text: &[u8], name: &[u8]) -> Option<Dev>;

    /// Whether the mapping is shared: a word in text, a bit of `vm_flags` in a record.
    fn shared(&mut self) -> Option<bool>;

    /// Flags that are printed by `names`.
    fn flags(&mut self, text: &[u8], name: &[u8], names: &[(&[u8], u32)]) -> Option<u32>;

    /// What an extent is.
    fn iomap_type(&mut self) -> Option<IomapType>;

    /// Flags of an extent.
    fn iomap_flags(&mut self) -> Option<IomapFlags>;

    /// An instruction's address, if it is one of user mode: those of the kernel are printed as symbols.
    fn instruction(&mut self) -> Option<Option<u64>>;

    /// The number of a flush's reason.
    fn reason(&mut self) -> Option<u8>;

    /// A task's name; `before` is the text behind it.
    fn comm(&mut self, text: &[u8], name: &[u8], before: &[u8]) -> Option<Comm>;

    /// First letter of the state of the task that stops running, and whether it was preempted.
    fn task_state(&mut self) -> Option<(u8, bool)>;

    /// A set of CPUs.
    fn cpu_mask(&mut self) -> Option<CpuMask>;

    /// Who sends an IPI, as `symbol+offset/size`.
    fn call_site(&mut self) -> Option<Name>;

    /// The text of a marker.
    fn marker(&self) -> &[u8];

    /// Skips fields up to the next of a name: text up to its first place.
    fn skip_to(&mut self, text: &[u8]) -> Option<()>;

    /// As [`Self::skip_to`], to the last place: what is skipped may hold anything.
    fn skip_to_last(&mut self, text: &[u8]) -> Option<()>;

    /// Whether nothing is left that should have been read.
    fn at_end(&self) -> bool;

    /// A number printed in decimal that fits `T`.
    fn dec_as<T: TryFrom<i64>>(&mut self, text: &[u8], name: &[u8]) -> Option<T> {
        T::try_from(self.int(text, name)?).ok()
    }

    /// As [`Self::hex`], of 32 bits.
    fn hex32(&mut self, text: &[u8], name: &[u8]) -> Option<u32> {
        u32::try_from(self.hex(text, name)?).ok()
    }

    /// As [`Self::arg`], of 32 bits.
    fn arg32(&mut self, key: &[u8]) -> Option<u32> {
        u32::try_from(self.arg(key)?).ok()
    }

    /// As [`Self::arg`], a signed number of 32 bits.
    fn arg_int(&mut self, key: &[u8]) -> Option<i32> {
        i32::try_from(self.arg(key)? as i64).ok()
    }

    /// As [`Self::arg`], whether it is not 0.
    fn arg_bool(&mut self, key: &[u8]) -> Option<bool> {
        Some(self.arg(key)? != 0)
    }
}
