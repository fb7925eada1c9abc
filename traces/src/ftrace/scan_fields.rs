//! The fields of an event from its text.

use super::fields::Fields;
use super::flags::{CpuMask, Dev, IomapFlags, IomapType};
use super::raw::KERNEL_HALF;
use super::scan::{Scan, bits};
use super::text::{Comm, Name};

impl Fields for Scan<'_> {
    #[inline]
    fn hex(&mut self, text: &[u8], _: &[u8]) -> Option<u64> {
        self.lit(text)?;
        self.hex_number()
    }

    #[inline]
    fn int(&mut self, text: &[u8], _: &[u8]) -> Option<i64> {
        self.lit(text)?;
        self.signed()
    }

    /// Hexadecimal with 0x, or signed decimal.
    #[inline]
    fn arg(&mut self, key: &[u8]) -> Option<u64> {
        self.lit(key)?;
        match self.0 {
            [b'0', b'x', ..] => self.hex_number(),
            [b'-', ..] => self.signed().map(|v| v as u64),
            _ => self.dec(),
        }
    }

    /// `259:0`
    fn dev(&mut self, text: &[u8], _: &[u8]) -> Option<Dev> {
        self.lit(text)?;
        let major = u32::try_from(self.dec()?).ok()?;
        self.lit(b":")?;
        Some(Dev { major, minor: u32::try_from(self.dec()?).ok()? })
    }

    fn shared(&mut self) -> Option<bool> {
        if self.lit(b" shared").is_some() {
            return Some(true);
        }
        self.lit(b" private").map(|()| false)
    }

    /// ` MAJOR|NOPAGE`, up to a blank; without flags nothing stands behind the blank, and that may be cut off.
    fn flags(&mut self, text: &[u8], _: &[u8], names: &[(&[u8], u32)]) -> Option<u32> {
        if self.0.is_empty() {
            return Some(0);
        }
        self.lit(text)?;
        let end = self.0.iter().position(|&b| matches!(b, b' ' | b'\r')).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        bits(word, names)
    }

    /// 6.12 prints names only, 7.2 the numbers behind them: `type MAPPED (0x2) flags NEW|DIRTY (0x3)`.
    fn iomap_type(&mut self) -> Option<IomapType> {
        self.lit(b" type ")?;
        let kind = IomapType::from_name(self.until(b' ')?);
        if self.lit(b"(").is_some() {
            self.hex_number()?;
            self.lit(b") ")?;
        }
        Some(kind)
    }

    fn iomap_flags(&mut self) -> Option<IomapFlags> {
        self.lit(b"flags ")?;
        let flags = match memchr::memchr(b'(', self.0) {
            Some(open) => {
                self.0 = self.0.get(open + 1..)?;
                let flags = u32::try_from(self.hex_number()?).ok()?;
                self.lit(b")")?;
                flags
            }
            None => bits(std::mem::take(&mut self.0).trim_ascii(), &IomapFlags::NAMES)?,
        };
        Some(IomapFlags(flags))
    }

    fn instruction(&mut self) -> Option<Option<u64>> {
        self.lit(b" ip=")?;
        let end = memchr::memmem::find(self.0, b" error_code=")?;
        let (ip, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        let number = if ip.starts_with(b"0x") { Some(Scan(ip).hex_number()?) } else { None };
        Some(number.filter(|&ip| ip < KERNEL_HALF))
    }

    /// ` reason:local mm shootdown (3)`; the text differs between kernels, the number does not.
    fn reason(&mut self) -> Option<u8> {
        self.lit(b" reason:")?;
        self.until(b'(')?;
        let reason = u8::try_from(self.dec()?).ok()?;
        self.lit(b")")?;
        Some(reason)
    }

    fn comm(&mut self, text: &[u8], _: &[u8], before: &[u8]) -> Option<Comm> {
        self.lit(text)?;
        let (comm, rest) = self.0.split_at_checked(memchr::memmem::find(self.0, before)?)?;
        self.0 = rest;
        Some(Comm::new(comm))
    }

    fn task_state(&mut self) -> Option<(u8, bool)> {
        self.until_text(b" prev_state=")?;
        let (state, rest) = self.0.split_at_checked(memchr::memmem::find(self.0, b" ==> next_comm=")?)?;
        self.0 = rest;
        Some((*state.first()?, state.ends_with(b"+")))
    }

    /// `cpumask=00000000,0000000e`: words of 32 bits, the highest CPUs first.
    fn cpu_mask(&mut self) -> Option<CpuMask> {
        self.lit(b"cpumask=")?;
        let mut mask = CpuMask::default();
        loop {
            mask.beyond |= mask.low >> 32 != 0;
            mask.low = mask.low << 32 | u64::from(u32::try_from(self.hex_number()?).ok()?);
            if self.lit(b",").is_none() {
                return Some(mask);
            }
        }
    }

    fn call_site(&mut self) -> Option<Name> {
        self.lit(b" callsite=")?;
        let callsite = self.until(b' ')?;
        self.lit(b"callback=")?;
        Some(Name::new(callsite))
    }

    fn marker(&self) -> &[u8] {
        self.0
    }

    fn skip_to(&mut self, text: &[u8]) -> Option<()> {
        self.0 = self.0.get(memchr::memmem::find(self.0, text)?..)?;
        Some(())
    }

    fn skip_to_last(&mut self, text: &[u8]) -> Option<()> {
        self.0 = self.0.get(memchr::memmem::rfind(self.0, text)?..)?;
        Some(())
    }

    #[inline]
    fn at_end(&self) -> bool {
        self.0.iter().all(|&b| matches!(b, b' ' | b'\r'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_hexadecimal_or_decimal() {
        assert_eq!(Scan(b" a=0x10").arg(b" a="), Some(16));
        assert_eq!(Scan(b" a=10").arg(b" a="), Some(10));
        assert_eq!(Scan(b" a=-1").arg_int(b" a="), Some(-1));
        assert_eq!(Scan(b" b=1").arg(b" a="), None);
        assert_eq!(Scan(b" a=(fault)").arg(b" a="), None);
        assert_eq!(Scan(b" a=0x100000000").arg32(b" a="), None);
    }
}
