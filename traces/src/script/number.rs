//! Numbers of the language: decimal or 0x.., with suffix k or m.

/// Reads a number; on failure says what is wrong with it.
///
/// # Errors
///
/// A phrase that completes "expected a number ..".
pub fn parse_number(text: &str) -> Result<u64, &'static str> {
    const FORM: &str = "like 4096, 0x1000, 4k or 2m";
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k') => (text.get(..text.len() - 1).unwrap_or_default(), 10),
        Some(b'm') => (text.get(..text.len() - 1).unwrap_or_default(), 20),
        _ => (text, 0),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None => (digits, 10),
    };
    if digits.is_empty() || !digits.bytes().all(|b| (b as char).is_digit(radix)) {
        return Err(FORM);
    }
    if radix == 10 && digits.len() > 1 && digits.starts_with('0') {
        return Err("without a leading 0 (decimal, or hexadecimal with 0x)");
    }
    let value = u64::from_str_radix(digits, radix).map_err(|_| "below 2^64")?;
    if value.leading_zeros() < shift {
        return Err("below 2^64");
    }
    Ok(value << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_form() {
        for (text, value) in [
            ("0", 0),
            ("4096", 4096),
            ("64k", 65536),
            ("2m", 2 << 20),
            ("0x10", 16),
            ("0xFFk", 255 << 10),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_number(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_says_so() {
        for text in ["", "k", "0x", "-1", "1g", "1_000", "1.5k", "ten", "+4", "0x1x"] {
            assert_eq!(parse_number(text), Err("like 4096, 0x1000, 4k or 2m"), "{text}");
        }
        for text in ["18446744073709551616", "18014398509481984k", "0x1ffffffffffffm0"] {
            assert!(parse_number(text).is_err(), "{text}");
        }
        assert_eq!(parse_number("18014398509481984k"), Err("below 2^64"));
        assert!(parse_number("010").unwrap_err().contains("leading 0"));
    }
}
