//! Sizes as typed on the command line: `4096`, `4K`, `64KiB`, `1M`, `2G`.

/// Bytes.
///
/// # Errors
///
/// What was expected.
pub fn parse(text: &str) -> Result<u64, String> {
    let expected =
        || format!("`{text}` is no size: expected bytes with or without a unit, such as 4096, 64K or 1GiB");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        _ => return Err(expected()),
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(expected)
}

/// The largest unit that gives a whole number.
pub fn show(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let whole = units.into_iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    whole.map_or_else(|| format!("{bytes} B"), |(unit, factor)| format!("{} {unit}", bytes / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1024() {
        for (text, bytes) in
            [("4096", 4096), ("4K", 4096), ("64KiB", 65_536), ("3M", 3 << 20), ("1GiB", 1 << 30)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for bad in ["", "K", "-1", "1.5K", "4kb", "4T", "99999999999999999999", "18014398509481984M"] {
            assert!(parse(bad).unwrap_err().contains("expected bytes"), "{bad}");
        }
        assert_eq!([4096, 1 << 21, 100].map(show), ["4 KiB", "2 MiB", "100 B"]);
    }
}
