//! Names of kernel addresses, from the text of `/proc/kallsyms`.

use std::fmt::Write;

use super::scan::Scan;
use super::text::Name;

/// Kernel functions by address.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    /// Address and place of the name in `names`, sorted by address; of the same address in the order of the text.
    at: Vec<(u64, u32)>,
    names: Vec<u8>,
}

impl Symbols {
    /// Reads `ffffffff81000000 T _text\t[module]` lines; others are left out.
    pub fn parse(text: &[u8]) -> Self {
        let mut symbols = Self::default();
        for line in text.split(|&b| b == b'\n') {
            let mut s = Scan(line);
            let Some((address, name)) = s.hex_number().and_then(|a| Some((a, s.0.get(3..)?))) else {
                continue;
            };
            let end = name.iter().position(u8::is_ascii_whitespace).unwrap_or(name.len());
            let Ok(place) = u32::try_from(symbols.names.len()) else { break };
            let Some(name) = name.get(..end).filter(|n| !n.is_empty() && n.len() < 512) else { continue };
            if address == 0 {
                continue;
            }
            symbols.at.push((address, place));
            symbols.names.extend_from_slice(name);
            symbols.names.push(b'\n');
        }
        symbols.at.sort_by_key(|&(address, _)| address);
        symbols
    }

    /// `symbol+0x1f/0x40` for an address, as the kernel prints it; the number if no symbol is known.
    pub fn name(&self, address: u64) -> Name {
        let mut text = String::new();
        let behind = self.at.partition_point(|&(a, _)| a <= address);
        let found =
            behind.checked_sub(1).and_then(|i| self.at.get(i)).filter(|(a, _)| address - a < MOST_OFFSET);
        // Writing to a string cannot fail.
        let _ = match found {
            Some(&(start, _)) => {
                // Of several names of an address the kernel takes the first.
                let first = self.at.partition_point(|&(a, _)| a < start);
                let name = self.at.get(first).map_or(&b""[..], |&(_, place)| self.text(place));
                let end = self.at.get(behind).map_or(start, |&(a, _)| a);
                let name = String::from_utf8_lossy(name);
                write!(text, "{name}+{:#x}/{:#x}", address - start, end.saturating_sub(start))
            }
            None => write!(text, "{address:#x}"),
        };
        Name::new(text.as_bytes())
    }

    fn text(&self, place: u32) -> &[u8] {
        let rest = self.names.get(place as usize..).unwrap_or_default();
        rest.get(..memchr::memchr(b'\n', rest).unwrap_or(rest.len())).unwrap_or_default()
    }
}

/// No function is longer: an address further behind a symbol is none of it.
const MOST_OFFSET: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_named_with_offset_and_size() {
        let text = b"0000000000000000 A fixed\nffff0040 T last\nffff0000 T first\nffff0000 t alias\nffff0020 T next\tf [ext4]\nbad\n";
        let symbols = Symbols::parse(text);
        assert_eq!(symbols.name(0xffff_0004), "first+0x4/0x20");
        assert_eq!(symbols.name(0xffff_0020), "next+0x0/0x20");
        assert_eq!(symbols.name(0xffff_0050), "last+0x10/0x0");
        assert_eq!(symbols.name(0x1000), "0x1000");
        assert_eq!(Symbols::default().name(0x1000), "0x1000");
    }
}
