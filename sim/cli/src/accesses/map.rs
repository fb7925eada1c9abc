//! `--map FILE[:OFFSET]@ADDRESS+LENGTH`.

use daxsim_sim::program::trace::FileMap;

use crate::size;

/// A map as typed.
///
/// # Errors
///
/// What was expected.
pub fn parse(text: &str) -> Result<FileMap, String> {
    let expected = || {
        format!(
            "`{text}`: expected FILE@ADDRESS+LENGTH or FILE:OFFSET@ADDRESS+LENGTH, as in db@0x4a00000+64M"
        )
    };
    let (file, range) = text.rsplit_once('@').ok_or_else(expected)?;
    let (start, len) = range.split_once('+').ok_or_else(expected)?;
    let (start, len) = (number(start).ok_or_else(expected)?, number(len).ok_or_else(expected)?);
    let (file, offset) = match file.rsplit_once(':').map(|(file, offset)| (file, number(offset))) {
        Some((file, Some(offset))) => (file, offset),
        _ => (file, 0),
    };
    if file.is_empty() {
        return Err(expected());
    }
    Ok(FileMap { file: file.to_owned(), offset, start, len, ..FileMap::default() })
}

/// A number in hexadecimal with 0x, or a size.
pub(super) fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => size::parse(text).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read_as_typed() {
        let map = |file: &str, offset, start, len| {
            Ok(FileMap { file: file.into(), offset, start, len, ..FileMap::default() })
        };
        assert_eq!(parse("db@0x4a00000+64M"), map("db", 0, 0x4a0_0000, 64 << 20));
        assert_eq!(parse("a/b:2M@0x1000+0x2000"), map("a/b", 2 << 20, 0x1000, 0x2000));
        assert_eq!(parse("user@host:x@4096+4K"), map("user@host:x", 0, 4096, 4096));
        for bad in ["", "db", "db@", "db@0x10", "@0x1000+4K", "db@zz+4K", "db@0x1000+4Q", ":4K@0x1000+4K"] {
            assert!(parse(bad).unwrap_err().contains("expected FILE@ADDRESS+LENGTH"), "{bad}");
        }
    }
}
