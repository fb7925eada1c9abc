//! Which constants made the result, and how far they can be trusted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rounding;
use crate::units::sum;

/// A constant of the machine or of the kernel, with the cycles that were spent on it as it stands: how often it was due times what it
/// is. If it were a percent greater and nothing else changed, so many percent of these cycles would be added; what CPUs wait for each
/// other more or less because of it is not in that.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Constant {
    /// `machine` or `kernel`.
    pub of: String,
    /// Its key, dotted as in the config file.
    pub key: String,
    /// Its value, as the file takes it.
    pub value: String,
    /// How it came about: `measured`, `derived`, `fitted`, `stated`, `memory`, `assumed`, or `given` by the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basis: Option<String>,
    /// How far it can be trusted: A a raw measurement, B said by those who measured or arithmetic on that, C a secondary source or an
    /// assumption, M from memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<String>,
    /// Cycles of all CPUs.
    pub cycles: u64,
    /// Their share of the cycles in which CPUs were not idle, 0 to 1.
    #[serde(serialize_with = "rounding::serialize")]
    pub share: f64,
    /// Whether these cycles are those of other constants of the list too: the cycles of an instruction price every path length.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub prices_others: bool,
}

/// Cycles by the trust letter of the constant that they were spent on, `A` first; last those without one, under the name `none`: the
/// program's own, caches and memory, walks, and waits, which models give and no single constant.
#[must_use]
pub fn cycles_by_trust(constants: &[Constant], busy: u64) -> Vec<(String, u64)> {
    let letters = ["A", "B", "C", "M"].map(|letter| {
        let of = constants.iter().filter(|c| !c.prices_others && c.trust.as_deref() == Some(letter));
        (letter.to_owned(), sum(of.map(|c| c.cycles)))
    });
    let with = sum(letters.iter().map(|(_, cycles)| *cycles));
    let mut all = letters.to_vec();
    all.push(("none".to_owned(), busy.saturating_sub(with)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_without_a_letter_are_the_rest_and_none_is_counted_twice() {
        let constant = |trust: Option<&str>, cycles, prices_others| Constant {
            trust: trust.map(str::to_owned),
            cycles,
            prices_others,
            ..Constant::default()
        };
        let list = [
            constant(Some("B"), 30, false),
            constant(Some("C"), 10, false),
            constant(Some("B"), 5, false),
            constant(None, 20, false),
            constant(Some("A"), 40, true),
        ];
        let by = cycles_by_trust(&list, 100);
        let of: Vec<(&str, u64)> = by.iter().map(|(name, cycles)| (name.as_str(), *cycles)).collect();
        assert_eq!(of, [("A", 0), ("B", 35), ("C", 10), ("M", 0), ("none", 55)]);
    }
}
