//! A cursor over the bytes of a line. Nothing here allocates or panics.

/// The rest of a line.
#[derive(Clone, Copy)]
pub(super) struct Scan<'a>(pub &'a [u8]);

/// Value of a hexadecimal digit, 0xff for other bytes.
const HEX: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = match i as u8 {
            b @ b'0'..=b'9' => b - b'0',
            b @ b'a'..=b'f' => b - b'a' + 10,
            b @ b'A'..=b'F' => b - b'A' + 10,
            _ => 0xff,
        };
        i += 1;
    }
    table
};

impl<'a> Scan<'a> {
    /// Takes exact text.
    #[inline]
    pub fn lit(&mut self, text: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// Takes one byte if it is there.
    #[inline]
    fn optional(&mut self, byte: u8) -> bool {
        match self.0.split_first() {
            Some((&b, rest)) if b == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    /// Takes a hexadecimal number, with or without 0x, of at most 64 bits.
    #[inline]
    pub fn hex_number(&mut self) -> Option<u64> {
        if let Some(rest) = self.0.strip_prefix(b"0x") {
            self.0 = rest;
        }
        let mut value = 0_u64;
        let mut digits = 0;
        for &b in self.0 {
            let digit = HEX[usize::from(b)];
            if digit > 15 {
                break;
            }
            if value >> 60 != 0 {
                return None;
            }
            value = value << 4 | u64::from(digit);
            digits += 1;
        }
        self.0 = self.0.get(digits..)?;
        (digits > 0).then_some(value)
    }

    /// Takes an unsigned decimal number.
    #[inline]
    pub fn dec(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        let mut digits = 0;
        for &b in self.0 {
            let digit = b.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
            digits += 1;
        }
        self.0 = self.0.get(digits..)?;
        (digits > 0).then_some(value)
    }

    /// Takes a decimal number that fits `T`.
    #[inline]
    pub fn dec_as<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(self.dec()?).ok()
    }

    /// Takes a signed decimal number.
    #[inline]
    pub fn signed(&mut self) -> Option<i64> {
        let negative = self.optional(b'-');
        let value = self.dec()?;
        if negative { 0_i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
    }

    /// Takes everything before `byte`, and `byte`.
    #[inline]
    pub fn until(&mut self, byte: u8) -> Option<&'a [u8]> {
        let at = memchr::memchr(byte, self.0)?;
        let (before, rest) = self.0.split_at_checked(at)?;
        self.0 = rest.get(1..)?;
        Some(before)
    }

    /// Takes everything before `text`, and `text`.
    pub fn until_text(&mut self, text: &[u8]) -> Option<&'a [u8]> {
        let at = memchr::memmem::find(self.0, text)?;
        let (before, rest) = self.0.split_at_checked(at)?;
        self.0 = rest.get(text.len()..)?;
        Some(before)
    }
}

/// `A|B|0x800` as bits; an empty text is 0.
pub(super) fn bits(text: &[u8], names: &[(&[u8], u32)]) -> Option<u32> {
    let mut value = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (word, behind) = match memchr::memchr(b'|', rest) {
            Some(at) => (rest.get(..at)?, rest.get(at + 1..)?),
            None => (rest, &b""[..]),
        };
        rest = behind;
        value |= match names.iter().find(|(name, _)| *name == word) {
            Some(&(_, bit)) => bit,
            None => {
                let mut number = Scan(word.strip_prefix(b"0x")?);
                let bits = u32::try_from(number.hex_number()?).ok()?;
                number.0.is_empty().then_some(bits)?
            }
        };
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_to_their_end() {
        let mut s = Scan(b"0x1f 2a -5 007x");
        assert_eq!(s.hex_number(), Some(0x1f));
        assert_eq!(s.lit(b" "), Some(()));
        assert_eq!(s.hex_number(), Some(0x2a));
        assert_eq!(s.lit(b" "), Some(()));
        assert_eq!(s.signed(), Some(-5));
        assert_eq!(s.lit(b" "), Some(()));
        assert_eq!(s.dec(), Some(7));
        assert_eq!(s.0, b"x");
        assert_eq!(s.dec(), None);
    }

    #[test]
    fn numbers_that_overflow_are_none() {
        assert_eq!(Scan(b"0xffffffffffffffff").hex_number(), Some(u64::MAX));
        assert_eq!(Scan(b"0x10000000000000000").hex_number(), None);
        assert_eq!(Scan(b"18446744073709551616").dec(), None);
        assert_eq!(Scan(b"-9223372036854775808").signed(), Some(i64::MIN));
        assert_eq!(Scan(b"-9223372036854775809").signed(), None);
        assert_eq!(Scan(b"9223372036854775808").signed(), None);
        assert_eq!(Scan(b"0x").hex_number(), None);
    }

    #[test]
    fn flag_words_are_read_by_name_and_number() {
        let names: [(&[u8], u32); 2] = [(b"A", 1), (b"B", 2)];
        assert_eq!(bits(b"A|B|0x800", &names), Some(0x803));
        assert_eq!(bits(b"", &names), Some(0));
        assert_eq!(bits(b"A|C", &names), None);
        assert_eq!(bits(b"0xg", &names), None);
    }
}
