//! Floats that print the same on every machine: three decimals, always finite.

use serde::Serializer;

/// Above this, a `f64` has no third decimal left to round.
const EXACT: f64 = 9.0e12;

/// `value` to three decimals; what is not a finite number becomes 0.
#[must_use]
pub fn round3(value: f64) -> f64 {
    if !value.is_finite() {
        return 0.0;
    }
    if value.abs() >= EXACT {
        return value;
    }
    let rounded = (value * 1000.0).round() / 1000.0;
    // No negative zero: it would print a sign.
    if rounded == 0.0 { 0.0 } else { rounded }
}

/// Picoseconds in nanoseconds. Exact to the picosecond up to two hours.
#[must_use]
pub fn ps_to_ns(ps: u64) -> f64 {
    ps as f64 / 1000.0
}

/// `part / whole` to three decimals; 0 of nothing is 0.
pub(crate) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { round3(part as f64 / whole as f64) }
}

pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(round3(*value))
}

pub(crate) fn serialize_option<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.serialize_some(&round3(*value)),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_three_decimals_and_stays_finite() {
        assert_eq!(round3(1.234_56), 1.235);
        assert_eq!(round3(f64::NAN), 0.0);
        assert_eq!(round3(f64::INFINITY), 0.0);
        assert!(round3(-0.000_1).is_sign_positive());
        assert_eq!(round3(f64::MAX), f64::MAX);
    }

    #[test]
    fn shares_of_nothing_are_zero() {
        assert_eq!(share(0, 0), 0.0);
        assert_eq!(share(1, 3), 0.333);
    }
}
