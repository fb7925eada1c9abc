//! What the bytes of an instruction say: whether it changes translations (MOV to CR3 and CR4, INVLPG, INVPCID), whether it is locked.

/// What an instruction does to translations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// Loads CR3.
    Root,
    /// Loads CR4.
    Control4,
    /// INVLPG of the address in a general register, plus a number.
    Page { base: u8, plus: i32 },
    /// Something whose operand is not told: taken for all that it could be.
    All,
}

/// Prefixes without a meaning here.
const PREFIXES: [u8; 11] = [0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65];

/// Whether an instruction is atomic: it has the prefix, or is XCHG, which with memory needs none.
pub(crate) fn is_locked(bytes: &[u8]) -> bool {
    let prefixes = bytes.iter().take_while(|byte| PREFIXES.contains(byte)).count();
    let (prefixes, rest) = bytes.split_at(prefixes);
    let rest = match rest {
        [0x40..=0x4f, rest @ ..] | rest => rest,
    };
    prefixes.contains(&0xf0) || matches!(rest, [0x86 | 0x87, operands, ..] if operands >> 6 != 3)
}

impl Control {
    /// What the bytes of a 64-bit instruction do.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let prefixes = bytes.iter().take_while(|byte| PREFIXES.contains(byte)).count();
        let bytes = bytes.get(prefixes..)?;
        let rex = bytes.first().copied().filter(|byte| byte & 0xf0 == 0x40);
        let bytes = bytes.get(usize::from(rex.is_some())..)?;
        let rex = rex.unwrap_or(0);
        match *bytes {
            [0x0f, 0x22, operands, ..] => match (operands >> 3 & 7) | (rex & 4) << 1 {
                3 => Some(Self::Root),
                4 => Some(Self::Control4),
                _ => None,
            },
            [0x0f, 0x01, operands, ref rest @ ..] if operands >> 3 & 7 == 7 && operands >> 6 != 3 => {
                Some(page(operands, rest, rex).unwrap_or(Self::All))
            }
            [0x0f, 0x38, 0x82, ..] => Some(Self::All),
            _ => None,
        }
    }

    /// As a word that QEMU hands back.
    pub(crate) fn word(self) -> usize {
        match self {
            Self::Root => 0,
            Self::Control4 => 1,
            Self::All => 2,
            Self::Page { base, plus } => 3 | usize::from(base) << 8 | (plus as u32 as usize) << 32,
        }
    }

    pub(crate) fn of_word(word: usize) -> Self {
        match word & 0xff {
            0 => Self::Root,
            1 => Self::Control4,
            3 => Self::Page { base: (word >> 8) as u8, plus: (word >> 32) as u32 as i32 },
            _ => Self::All,
        }
    }
}

/// An operand of one register and a number.
fn page(operands: u8, rest: &[u8], rex: u8) -> Option<Control> {
    let (how, mut base) = (operands >> 6, operands & 7);
    let mut rest = rest;
    if base == 4 {
        let (scaled, more) = rest.split_first()?;
        // An index, which is there unless it is 4 without its bit.
        if scaled >> 3 & 7 != 4 || rex & 2 != 0 {
            return None;
        }
        (base, rest) = (scaled & 7, more);
    }
    if how == 0 && base == 5 {
        return None;
    }
    let plus = match how {
        1 => i32::from(*rest.first()? as i8),
        2 => i32::from_le_bytes(rest.get(..4)?.try_into().ok()?),
        _ => 0,
    };
    Some(Control::Page { base: base | (rex & 1) << 3, plus })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_told_as_assemblers_write_them() {
        let page = |base, plus| Some(Control::Page { base, plus });
        for (bytes, expected) in [
            (&[0x0f, 0x22, 0xd8][..], Some(Control::Root)),   // mov cr3, rax
            (&[0x41, 0x0f, 0x22, 0xdc], Some(Control::Root)), // mov cr3, r12
            (&[0x0f, 0x22, 0xe0], Some(Control::Control4)),   // mov cr4, rax
            (&[0x0f, 0x22, 0xc0], None),                      // mov cr0, rax
            (&[0x44, 0x0f, 0x22, 0xc0], None),                // mov cr8, rax
            (&[0x0f, 0x20, 0xd8], None),                      // mov rax, cr3
            (&[0x0f, 0x01, 0x38], page(0, 0)),                // invlpg [rax]
            (&[0x41, 0x0f, 0x01, 0x3f], page(15, 0)),         // invlpg [r15]
            (&[0x0f, 0x01, 0x7b, 0xf8], page(3, -8)),         // invlpg [rbx-8]
            (&[0x0f, 0x01, 0xba, 0, 1, 0, 0], page(2, 256)),  // invlpg [rdx+256]
            (&[0x0f, 0x01, 0x3c, 0x24], page(4, 0)),          // invlpg [rsp]
            (&[0x0f, 0x01, 0x3c, 0x48], Some(Control::All)),  // invlpg [rax+2*rcx]
            (&[0x0f, 0x01, 0x3d, 0, 0, 0, 0], Some(Control::All)), // invlpg [rip]
            (&[0x0f, 0x01, 0xf8], None),                      // swapgs
            (&[0x66, 0x0f, 0x38, 0x82, 0x08], Some(Control::All)), // invpcid rcx, [rax]
            (&[0x90], None),
            (&[], None),
        ] {
            assert_eq!(Control::of(bytes), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn atomic_instructions_are_told() {
        for (bytes, expected) in [
            (&[0xf0, 0x48, 0x0f, 0xb1, 0x0f][..], true), // lock cmpxchg [rdi], rcx
            (&[0x87, 0x07], true),                       // xchg [rdi], eax
            (&[0x48, 0x87, 0x07], true),                 // xchg [rdi], rax
            (&[0x48, 0x87, 0xc7], false),                // xchg rdi, rax
            (&[0x48, 0x01, 0x07], false),                // add [rdi], rax
            (&[0x48], false),
            (&[], false),
        ] {
            assert_eq!(is_locked(bytes), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn a_word_keeps_all() {
        for control in
            [Control::Root, Control::Control4, Control::All, Control::Page { base: 15, plus: -4096 }]
        {
            assert_eq!(Control::of_word(control.word()), control);
        }
    }
}
