//! What a comparison must not show: `latency.mkwrite.p99 > +5%`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::numbers::{Numbers, near};
use crate::ReportError;
use crate::model::round3;

/// Near names that an error offers.
const OFFERED: usize = 4;

/// How a value stands to the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// What is held against the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// The new value.
    Value,
    /// The new value less the old.
    Change,
    /// The change in per cent of the old value.
    Percent,
}

/// A limit on a number of a report, or on its change.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// As typed.
    text: String,
    path: String,
    relation: Relation,
    of: Of,
    bound: f64,
}

/// A limit, and what a comparison showed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// The limit as typed: what must not hold.
    pub fail_if: String,
    /// The number that it is about.
    pub path: String,
    /// Its value in the first report; `None` if that has none.
    pub base: Option<f64>,
    /// Its value in the second.
    pub new: Option<f64>,
    /// What was held against the bound: the new value, the change, or the change in per cent. `None` if the change in per cent is
    /// that of nothing to something.
    pub measured: Option<f64>,
    /// Whether what must not hold does.
    pub fails: bool,
}

impl FromStr for Limit {
    type Err = ReportError;

    fn from_str(text: &str) -> Result<Self, ReportError> {
        let wrong = |why: &str| ReportError::Limit { text: text.to_owned(), why: why.to_owned() };
        let (at, sign) = [">=", "<=", ">", "<"]
            .iter()
            .find_map(|sign| Some((text.find(sign)?, *sign)))
            .ok_or_else(|| wrong("there is no >, >=, < or <="))?;
        let (path, bound) = (text[..at].trim(), text[at + sign.len()..].trim());
        if path.is_empty() {
            return Err(wrong("the path before the sign is missing"));
        }
        let relation = match sign {
            ">=" => Relation::AtLeast,
            "<=" => Relation::AtMost,
            ">" => Relation::Above,
            _ => Relation::Below,
        };
        let signed = bound.starts_with(['+', '-']);
        let (number, scale, of) = match bound.strip_suffix('%') {
            Some(number) => (number, 1.0, Of::Percent),
            None => {
                let (number, scale) = with_unit(bound);
                (number, scale, if signed { Of::Change } else { Of::Value })
            }
        };
        let bound: f64 =
            number.trim().parse().ok().filter(|n: &f64| n.is_finite()).ok_or_else(|| {
                wrong("expected a number: +5%, +120, -3us or, of the new value itself, 4000")
            })?;
        Ok(Self { text: text.trim().to_owned(), path: path.to_owned(), relation, of, bound: bound * scale })
    }
}

/// Takes a unit of time off a bound: the times of reports are nanoseconds.
fn with_unit(bound: &str) -> (&str, f64) {
    for (unit, scale) in [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)] {
        if let Some(number) = bound.strip_suffix(unit) {
            return (number, scale);
        }
    }
    (bound, 1.0)
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Limit {
    /// The number that it is about.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether `one` is nearer to what must not hold, or further beyond it, than `other`.
    pub(super) fn is_worse(&self, one: &Check, other: &Check) -> bool {
        // A change in per cent without a number is that of nothing to something.
        let measured = |check: &Check| check.measured.unwrap_or(f64::INFINITY);
        match self.relation {
            Relation::Above | Relation::AtLeast => measured(one) > measured(other),
            Relation::Below | Relation::AtMost => measured(one) < measured(other),
        }
    }

    /// Holds the limit against the numbers of two documents. A number that one of them lacks, as of a kind of fault that did
    /// not happen, is 0 there.
    pub(super) fn check(&self, base: &Numbers, new: &Numbers) -> Result<Check, ReportError> {
        let (before, after) = (base.get(&self.path).copied(), new.get(&self.path).copied());
        if before.is_none() && after.is_none() {
            let paths = base.keys().chain(new.keys().filter(|path| !base.contains_key(*path)));
            let near = near(&self.path, paths.map(String::as_str), OFFERED);
            return Err(ReportError::UnknownPath { path: self.path.clone(), near });
        }
        let (from, to) = (before.unwrap_or(0.0), after.unwrap_or(0.0));
        let measured = match self.of {
            Of::Value => to,
            Of::Change => round3(to - from),
            Of::Percent => percent(from, to),
        };
        let fails = match self.relation {
            Relation::Above => measured > self.bound,
            Relation::AtLeast => measured >= self.bound,
            Relation::Below => measured < self.bound,
            Relation::AtMost => measured <= self.bound,
        };
        let measured = measured.is_finite().then(|| round3(measured));
        Ok(Check {
            fail_if: self.text.clone(),
            path: self.path.clone(),
            base: before,
            new: after,
            measured,
            fails,
        })
    }
}

/// The change in per cent of the old value; of nothing to something it is infinite.
fn percent(from: f64, to: f64) -> f64 {
    if from == to { 0.0 } else { (to - from) / from.abs() * 100.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, from: f64, to: f64) -> Check {
        let numbers = |value| Numbers::from([("latency.mkwrite.p99".to_owned(), value)]);
        text.parse::<Limit>().unwrap().check(&numbers(from), &numbers(to)).unwrap()
    }

    #[test]
    fn limits_are_of_the_change_in_per_cent_of_the_change_or_of_the_value() {
        let cases = [
            ("latency.mkwrite.p99 > +5%", 100.0, 105.0, false),
            ("latency.mkwrite.p99 >= +5%", 100.0, 105.0, true),
            ("latency.mkwrite.p99>5%", 100.0, 106.0, true),
            ("latency.mkwrite.p99 < -5%", 100.0, 94.0, true),
            ("latency.mkwrite.p99 <= -1us", 3000.0, 2000.0, true),
            ("latency.mkwrite.p99 > +1us", 3000.0, 4000.0, false),
            ("latency.mkwrite.p99 > +99", 100.0, 200.0, true),
            ("latency.mkwrite.p99 > 4us", 1.0, 4001.0, true),
            ("latency.mkwrite.p99 > 4000", 5000.0, 4000.0, false),
            ("latency.mkwrite.p99 > +5%", 0.0, 0.0, false),
            ("latency.mkwrite.p99 > +5%", 0.0, 1.0, true),
        ];
        for (text, from, to, fails) in cases {
            assert_eq!(check(text, from, to).fails, fails, "{text}: {from} to {to}");
        }
        assert_eq!(check("latency.mkwrite.p99 > +5%", 0.0, 1.0).measured, None);
    }

    #[test]
    fn what_is_no_limit_is_refused_with_the_reason() {
        for (text, why) in [
            ("latency.mkwrite.p99", "there is no >"),
            (" > 5", "the path before"),
            ("a > b", "expected a number"),
            ("a > +5 %x", "expected a number"),
            ("a > nan", "expected a number"),
        ] {
            let error = text.parse::<Limit>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_number_that_one_document_lacks_is_0_there_and_one_that_both_lack_is_refused() {
        let base = Numbers::from([("faults.cow".to_owned(), 3.0)]);
        let limit: Limit = "faults.cow > +0".parse().unwrap();
        let check = limit.check(&base, &Numbers::new()).unwrap();
        assert_eq!((check.new, check.measured, check.fails), (None, Some(-3.0), false));
        let limit: Limit = "fault.cow > +0".parse().unwrap();
        let error = limit.check(&base, &Numbers::new()).unwrap_err();
        assert_eq!(error.to_string(), "no report has a number `fault.cow`; near: faults.cow");
    }
}
