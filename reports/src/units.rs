//! Numbers as people read them: with units, three significant digits, thousands separated.

use crate::model::round3;

/// `1234567` as `1,234,567`.
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A sum that stays at the greatest number there is: a report that was not made here may hold any.
#[must_use]
pub fn sum(amounts: impl IntoIterator<Item = u64>) -> u64 {
    amounts.into_iter().fold(0, u64::saturating_add)
}

/// A count with its noun: `1 fault`, `2 faults`.
#[must_use]
pub fn counted(n: u64, singular: &str, plural: &str) -> String {
    format!("{} {}", count(n), if n == 1 { singular } else { plural })
}

/// A count in few characters, for axes: `950`, `1.5k`, `20M`.
#[must_use]
pub fn short_count(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["", "k", "M", "G", "T", "P"] {
        if value < 999.5 {
            let digits = if unit.is_empty() || value >= 99.5 { 0 } else { 1 };
            let text = format!("{value:.digits$}");
            return format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text));
        }
        value /= 1000.0;
    }
    format!("{value:.0}E")
}

/// A number with as many decimals as say something: `14`, `86.0`, `1235`.
#[must_use]
pub fn number(value: f64) -> String {
    let value = round3(value);
    if value.fract() == 0.0 || value.abs() >= 1000.0 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// A length of time in the unit that suits it: `912 ns`, `2.31 us`, `14.0 ms`, `3.20 s`.
#[must_use]
pub fn time(ns: f64) -> String {
    let (value, unit) = scale(ns, &["ns", "us", "ms", "s"]);
    format!("{value} {unit}")
}

/// As [`time`], without the zeros at the end: `2 us`, for axes.
#[must_use]
pub fn short_time(ns: f64) -> String {
    let (value, unit) = scale(ns, &["ns", "us", "ms", "s"]);
    let value = if value.contains('.') { value.trim_end_matches('0').trim_end_matches('.') } else { &value };
    format!("{value} {unit}")
}

/// A share of 0 to 1 in per cent: `41.2 %`. What is not nothing or all is not written as such.
#[must_use]
pub fn percent(share: f64) -> String {
    let value = finite(share) * 100.0;
    if value > 0.0 && value < 0.05 {
        "< 0.1 %".to_owned()
    } else if (99.95..100.0).contains(&value) {
        "> 99.9 %".to_owned()
    } else {
        format!("{value:.1} %")
    }
}

/// `part` of `whole` in per cent; a dash if there is no whole.
#[must_use]
pub fn ratio(part: u64, whole: u64) -> String {
    if whole == 0 { "–".to_owned() } else { percent(part as f64 / whole as f64) }
}

/// `sum` over `n`: `1.17`, `36.0`, `5,400`; a dash if there is nothing to share it.
#[must_use]
pub fn average(sum: u64, n: u64) -> String {
    if n == 0 { "–".to_owned() } else { significant(sum as f64 / n as f64) }
}

/// Bytes in binary units: `512 B`, `12.0 KiB`.
#[must_use]
pub fn bytes(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] {
        if value < 1023.5 {
            return if unit == "B" { format!("{n} B") } else { format!("{} {unit}", significant(value)) };
        }
        value /= 1024.0;
    }
    format!("{} EiB", significant(value))
}

/// A clock rate: `2.10 GHz`.
#[must_use]
pub fn frequency(hz: u64) -> String {
    let (value, unit) = scale(hz as f64, &["Hz", "kHz", "MHz", "GHz"]);
    format!("{value} {unit}")
}

/// Divides by 1000 until the value has at most three digits before the point or the units run out.
fn scale<'u>(value: f64, units: &[&'u str]) -> (String, &'u str) {
    let mut value = finite(value);
    let mut unit = "";
    for (i, name) in units.iter().enumerate() {
        unit = name;
        if value.abs() < 999.5 || i + 1 == units.len() {
            break;
        }
        value /= 1000.0;
    }
    (significant(value), unit)
}

/// Three significant digits; more before the point if it takes them.
fn significant(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v < 9.995 => format!("{value:.2}"),
        v if v < 99.95 => format!("{value:.1}"),
        v if (999.5..999_999.5).contains(&v) => count(value.abs().round() as u64),
        v if v >= 999_999.5 => format!("{value:.2e}"),
        _ => format!("{value:.0}"),
    }
}

fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands() {
        assert_eq!(
            ["0", "999", "1,000", "18,446,744,073,709,551,615"],
            [count(0), count(999), count(1000), count(u64::MAX)]
        );
        assert_eq!(
            ["999", "1k", "1.5k", "250k", "18E"],
            [999, 1000, 1500, 250_000, u64::MAX].map(short_count)
        );
    }

    #[test]
    fn times_take_the_unit_that_suits() {
        let cases = [0.0, 0.476, 9.996, 912.4, 999.6, 2310.0, 14_000_000.0, 3.2e9, 7.2e12, f64::NAN];
        let want = [
            "0 ns", "0.48 ns", "10.0 ns", "912 ns", "1.00 us", "2.31 us", "14.0 ms", "3.20 s", "7,200 s",
            "0 ns",
        ];
        assert_eq!(want, cases.map(time));
        assert_eq!(["2 us", "500 ns", "1.5 ms"], [2000.0, 500.0, 1.5e6].map(short_time));
    }

    #[test]
    fn shares_do_not_round_to_all_or_nothing() {
        assert_eq!(
            ["0.0 %", "< 0.1 %", "41.2 %", "> 99.9 %", "100.0 %"],
            [0.0, 1e-6, 0.412, 0.999_99, 1.0].map(percent)
        );
        assert_eq!(ratio(1, 0), "–");
        assert_eq!(["–", "1.17", "5,400"], [average(1, 0), average(117, 100), average(54_000, 10)]);
    }

    #[test]
    fn sizes_and_rates() {
        assert_eq!(["0 B", "1023 B", "1.00 KiB", "16.0 EiB"], [0, 1023, 1024, u64::MAX].map(bytes));
        assert_eq!(frequency(2_100_000_000), "2.10 GHz");
    }
}
