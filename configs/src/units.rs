//! Quantities with a unit: `"14 cycles"`, `"32 KiB"`, `"2.2 GHz"`, `"21.3 GB/s"`.
//!
//! Conversion is exact decimal arithmetic in integers, rounded once to the target's resolution.

use daxsim_types::{CpuClock, Time};

/// Longest time that a configuration may state.
pub(crate) const MAX_TIME: Time = Time(1_000_000_000_000);

/// Units of time other than cycles, in picoseconds.
const TIMES: &[(&str, u64)] =
    &[("ps", 1), ("ns", 1_000), ("us", 1_000_000), ("µs", 1_000_000), ("ms", 1_000_000_000)];
/// Units of size, in bytes.
const SIZES: &[(&str, u64)] =
    &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
/// Units of frequency, in hertz.
const FREQUENCIES: &[(&str, u64)] = &[("GHz", 1_000_000_000), ("MHz", 1_000_000), ("kHz", 1_000), ("Hz", 1)];
/// Units of bandwidth, in bytes per second.
const BANDWIDTHS: &[(&str, u64)] =
    &[("GB/s", 1_000_000_000), ("MB/s", 1_000_000), ("GiB/s", 1 << 30), ("MiB/s", 1 << 20)];

/// A decimal number `digits / 10^scale` and the text after it.
struct Quantity<'a> {
    digits: u64,
    scale: u32,
    unit: &'a str,
}

fn split(text: &str) -> Option<Quantity<'_>> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || number.ends_with('.') {
        return None;
    }
    let digits = format!("{whole}{fraction}").parse().ok()?;
    let scale = u32::try_from(fraction.len()).ok().filter(|s| *s <= 18)?;
    Some(Quantity { digits, scale, unit: unit.trim() })
}

impl Quantity<'_> {
    fn factor(&self, units: &[(&str, u64)]) -> Option<u64> {
        units.iter().find(|(name, _)| *name == self.unit).map(|(_, factor)| *factor)
    }

    /// `self * factor`, rounded to the nearest whole number.
    fn times(&self, factor: u64) -> Option<u64> {
        let divisor = 10u128.pow(self.scale);
        u64::try_from((u128::from(self.digits) * u128::from(factor) + divisor / 2) / divisor).ok()
    }

    fn is_whole(&self, factor: u64) -> bool {
        (u128::from(self.digits) * u128::from(factor)).is_multiple_of(10u128.pow(self.scale))
    }
}

/// A time; a cycle is `period_ps` picoseconds.
pub(crate) fn parse_time(text: &str, period_ps: u64) -> Option<Time> {
    let q = split(text)?;
    let factor = match q.unit {
        "cycles" | "cycle" => period_ps,
        _ => q.factor(TIMES)?,
    };
    q.times(factor).map(Time).filter(|t| *t <= MAX_TIME)
}

/// A size in whole bytes.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let q = split(text)?;
    let factor = q.factor(SIZES)?;
    q.is_whole(factor).then(|| q.times(factor)).flatten()
}

/// A frequency between 1 MHz and 10 GHz, as a clock.
pub(crate) fn parse_clock(text: &str) -> Option<CpuClock> {
    let q = split(text)?;
    let hertz = q.times(q.factor(FREQUENCIES)?)?;
    (1_000_000..=10_000_000_000).contains(&hertz).then(|| CpuClock::from_hertz(hertz)).flatten()
}

/// The time that `bytes` take at a bandwidth between 1 MB/s and 10 TB/s.
pub(crate) fn parse_bandwidth(text: &str, bytes: u64) -> Option<Time> {
    let q = split(text)?;
    let rate = q.times(q.factor(BANDWIDTHS)?)?;
    if !(1_000_000..=10_000_000_000_000).contains(&rate) {
        return None;
    }
    let ps = (u128::from(bytes) * 1_000_000_000_000 + u128::from(rate) / 2) / u128::from(rate);
    u64::try_from(ps).ok().filter(|ps| *ps > 0).map(Time)
}

/// Whole cycles where the time is that, else nanoseconds.
pub(crate) fn show_time(time: Time, period_ps: u64) -> String {
    if time.0 > 0 && period_ps > 0 && time.0.is_multiple_of(period_ps) {
        let n = time.0 / period_ps;
        return format!("{n} {}", if n == 1 { "cycle" } else { "cycles" });
    }
    let text = format!("{}.{:03}", time.0 / 1000, time.0 % 1000);
    format!("{} ns", text.trim_end_matches('0').trim_end_matches('.'))
}

/// The largest binary unit that gives a whole number.
pub(crate) fn show_size(bytes: u64) -> String {
    let (name, factor) =
        SIZES.iter().find(|(_, f)| bytes >= *f && bytes.is_multiple_of(*f)).unwrap_or(&("B", 1));
    format!("{} {name}", bytes / factor)
}

/// The shortest decimal that reads back as `clock`.
pub(crate) fn show_clock(clock: CpuClock) -> String {
    shortest(1000.0 / clock.period_ps() as f64, "GHz", |t| parse_clock(t) == Some(clock))
}

/// The shortest decimal whose occupancy for `bytes` reads back as `occupancy`.
pub(crate) fn show_bandwidth(occupancy: Time, bytes: u64) -> String {
    let rate = bytes as f64 * 1000.0 / occupancy.0.max(1) as f64;
    shortest(rate, "GB/s", |t| parse_bandwidth(t, bytes) == Some(occupancy))
}

fn shortest(value: f64, unit: &str, reads_back: impl Fn(&str) -> bool) -> String {
    let texts = (0..=12).map(|digits| format!("{value:.digits$} {unit}"));
    let mut last = String::new();
    for text in texts {
        if reads_back(&text) {
            return text;
        }
        last = text;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> CpuClock {
        CpuClock::from_hertz(2_000_000_000).unwrap()
    }

    #[test]
    fn times_are_exact() {
        let t = |s| parse_time(s, 500);
        assert_eq!(t("14 cycles"), Some(Time(7000)));
        assert_eq!(t("1 cycle"), Some(Time(500)));
        assert_eq!(t("0.5 cycles"), Some(Time(250)));
        assert_eq!(t("81.4 ns"), Some(Time(81_400)));
        assert_eq!(t(" 81.4ns "), Some(Time(81_400)));
        assert_eq!(t("52 us"), Some(Time(52_000_000)));
        assert_eq!(t("0 ns"), Some(Time(0)));
        assert_eq!(t("0.0004 ns"), Some(Time(0)));
        assert_eq!(t("1000 ms"), Some(MAX_TIME));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "14",
            "cycles",
            "-1 ns",
            "1. ns",
            ".5 ns",
            "1.2.3 ns",
            "14 KiB",
            "1 s",
            "1 NS",
            "1000.001 ms",
            "99999999999999999999 ns",
            "18446744073709551615 cycles",
            "0.0000000000000000001 ns",
            "1e3 ns",
            "٣ ns",
        ] {
            assert_eq!(parse_time(bad, 500), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_binary_and_whole() {
        assert_eq!(parse_size("32 KiB"), Some(32 << 10));
        assert_eq!(parse_size("1.25 MiB"), Some(1280 << 10));
        assert_eq!(parse_size("256 B"), Some(256));
        assert_eq!(parse_size("16777215 TiB"), Some(16_777_215 << 40));
        for bad in ["33 MB", "0.3 KiB", "0.5 B", "16777216 TiB", "32", "32 kib"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn bandwidths_become_occupancies() {
        assert_eq!(parse_bandwidth("21.3 GB/s", 64), Some(Time(3005)));
        assert_eq!(parse_bandwidth("64 GB/s", 64), Some(Time(1000)));
        assert_eq!(parse_bandwidth("1 GiB/s", 256), Some(Time(238_419)));
        assert_eq!(parse_bandwidth("0 GB/s", 64), None);
        assert_eq!(parse_bandwidth("100000 GB/s", 64), None);
        assert_eq!(parse_bandwidth("2.2 GHz", 64), None);
    }

    #[test]
    fn frequencies_have_bounds() {
        assert_eq!(parse_clock("2 GHz"), Some(clock()));
        assert_eq!(parse_clock("2000 MHz"), Some(clock()));
        for bad in ["0 GHz", "999 kHz", "10.1 GHz", "2", "2 ghz"] {
            assert_eq!(parse_clock(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        assert_eq!(show_time(Time(7000), 500), "14 cycles");
        assert_eq!(show_time(Time(81_400), 455), "81.4 ns");
        assert_eq!(show_time(Time(0), 500), "0 ns");
        assert_eq!(show_size(33 << 20), "33 MiB");
        assert_eq!(show_size(0), "0 B");
        assert_eq!(show_clock(CpuClock::from_hertz(2_200_000_000).unwrap()), "2.2 GHz");
        assert_eq!(show_bandwidth(Time(3005), 64), "21.3 GB/s");
        assert_eq!(show_bandwidth(Time(39_385), 256), "6.5 GB/s");
    }
}
