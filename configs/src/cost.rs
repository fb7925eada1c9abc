//! Costs with their provenance: how a figure came about and how far it can be trusted.
//!
//! The compute time of a building block is its instructions times the machine's `cpu.cpi`. Its loads and stores hit the
//! L1D, which that figure covers; the accesses to the lines that the simulation names are among them, and only what such an
//! access takes beyond an L1D hit is added.

use std::fmt;

use crate::kind::Parsed;
use crate::schema::Field;
use crate::value::Value;

/// How a figure came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Counted or timed as it stands.
    Measured,
    /// A difference, a slope or other arithmetic on measured figures.
    Derived,
    /// Chosen so that sums over whole faults equal measured totals.
    Fitted,
    /// Said by people who measured.
    Stated,
    /// Commonly known, no source at hand.
    Memory,
    /// Nothing measured pins it down.
    Assumed,
    /// Given by the user without a word on it.
    Given,
}

/// How far a figure can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// A raw measurement.
    A,
    /// Stated by those who measured, or arithmetic on measurements.
    B,
    /// A secondary source, or an assumption stated as such.
    C,
    /// From memory, unverified.
    M,
}

const BASES: [(&str, Basis); 7] = [
    ("measured", Basis::Measured),
    ("derived", Basis::Derived),
    ("fitted", Basis::Fitted),
    ("stated", Basis::Stated),
    ("memory", Basis::Memory),
    ("assumed", Basis::Assumed),
    ("given", Basis::Given),
];
const LETTERS: [(&str, Trust); 4] = [("A", Trust::A), ("B", Trust::B), ("C", Trust::C), ("M", Trust::M)];

fn by_name<T: Copy>(names: &[(&str, T)], name: &str) -> Option<T> {
    names.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
}

fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: &T) -> &'static str {
    names.iter().find(|(_, v)| v == value).map_or("", |(name, _)| name)
}

/// Where a cost comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// How it came about.
    pub basis: Basis,
    /// How far it can be trusted.
    pub trust: Trust,
}

impl Source {
    /// Of a value that the user gave.
    pub const GIVEN: Self = Self { basis: Basis::Given, trust: Trust::C };

    fn of(basis: &Value, trust: &Value) -> Option<Self> {
        let (Value::Text(basis), Value::Text(trust)) = (basis, trust) else { return None };
        Some(Self { basis: by_name(&BASES, basis)?, trust: by_name(&LETTERS, trust)? })
    }

    /// Takes `["stated", "B"]`.
    pub(crate) fn parse(value: &Value) -> Option<Self> {
        let Value::Array(items) = value else { return None };
        let [basis, trust] = items.as_slice() else { return None };
        Self::of(basis, trust)
    }

    /// Basis and trust as files spell them.
    pub(crate) fn names(&self) -> [&'static str; 2] {
        [name_of(&BASES, &self.basis), name_of(&LETTERS, &self.trust)]
    }

    /// As [`Source::parse`] takes it.
    pub(crate) fn show(&self) -> String {
        format!("[{self}]")
    }

    /// What a file may say.
    pub(crate) fn expected() -> String {
        "[basis, trust], such as [\"stated\", \"B\"]".to_owned()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [basis, trust] = self.names();
        write!(f, "{basis:?}, {trust:?}")
    }
}

/// What a building block of the kernel executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathLength {
    /// Instructions.
    pub instructions: u32,
    /// Loads among them. The loads of named lines count.
    pub loads: u32,
    /// Stores among them. The stores to named lines count; a locked operation is a load and a store.
    pub stores: u32,
    /// Where the figures come from.
    pub source: Source,
    /// Which key it is the value of: the number that [`kernel_key`](crate::kernel_key) takes; 0 of a block that none is.
    pub key: u16,
}

/// Largest figure.
const MOST: u32 = 10_000_000;

impl PathLength {
    /// Nothing at all.
    pub const NONE: Self = Self { instructions: 0, loads: 0, stores: 0, source: Source::GIVEN, key: 0 };

    /// Loads in a thousand instructions and stores in a thousand: the mean of the measured 4 KiB faults.
    const USUAL: (u64, u64) = (240, 160);

    /// A block of which only the instructions are known.
    #[must_use]
    pub fn of_instructions(instructions: u32) -> Self {
        let share = |milli: u64| (u64::from(instructions) * milli / 1000) as u32;
        let (loads, stores) = (share(Self::USUAL.0), share(Self::USUAL.1));
        Self { instructions, loads, stores, source: Source::GIVEN, key: 0 }
    }

    /// The share number `index` of `of` shares of the block, which sum to the whole.
    #[must_use]
    pub fn share(&self, index: u64, of: u64) -> Self {
        let cut = |n: u32| {
            let upto = |i: u64| u64::from(n) * i / of.max(1);
            (upto(index + 1) - upto(index)) as u32
        };
        Self {
            instructions: cut(self.instructions),
            loads: cut(self.loads),
            stores: cut(self.stores),
            source: self.source,
            key: self.key,
        }
    }

    /// Takes `[423, 97, 74, "fitted", "B"]`, the three figures alone, or the instructions alone.
    pub(crate) fn parse(value: &Value) -> Option<Self> {
        let figure = |value: &Value| match value {
            Value::Integer(n) => u32::try_from(*n).ok().filter(|n| *n <= MOST),
            _ => None,
        };
        let Value::Array(items) = value else { return figure(value).map(Self::of_instructions) };
        let (figures, source) = match items.as_slice() {
            [figures @ .., basis, trust] if figures.len() == 3 => (figures, Source::of(basis, trust)?),
            figures => (figures, Source::GIVEN),
        };
        let [instructions, loads, stores] = figures else { return None };
        let (instructions, loads, stores) = (figure(instructions)?, figure(loads)?, figure(stores)?);
        Some(Self { instructions, loads, stores, source, key: 0 })
    }

    /// As [`PathLength::parse`] takes it.
    pub(crate) fn show(&self) -> String {
        format!("[{}, {}, {}, {}]", self.instructions, self.loads, self.stores, self.source)
    }

    /// What a file may say.
    pub(crate) fn expected() -> String {
        format!(
            "[instructions, loads, stores, basis, trust] such as [423, 97, 74, \"fitted\", \"B\"], or the \
             instructions alone, in 0..={MOST}"
        )
    }
}

impl Field for PathLength {
    fn from_parsed(parsed: &Parsed) -> Option<Self> {
        let Parsed::Path(path) = parsed else { return None };
        Some(*path)
    }

    fn to_parsed(&self) -> Parsed {
        Parsed::Path(*self)
    }
}

impl Field for Source {
    fn from_parsed(parsed: &Parsed) -> Option<Self> {
        let Parsed::Source(source) = parsed else { return None };
        Some(*source)
    }

    fn to_parsed(&self) -> Parsed {
        Parsed::Source(*self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_sum_to_the_whole() {
        let whole = PathLength { instructions: 7262, loads: 589, stores: 3, ..PathLength::NONE };
        let sum = |f: fn(&PathLength) -> u32| (0..512).map(|i| f(&whole.share(i, 512))).sum::<u32>();
        assert_eq!((sum(|p| p.instructions), sum(|p| p.loads), sum(|p| p.stores)), (7262, 589, 3));
    }

    #[test]
    fn what_is_shown_is_read_back() {
        let source = Source { basis: Basis::Fitted, trust: Trust::B };
        let path = PathLength { instructions: 423, loads: 97, stores: 74, source, key: 0 };
        assert_eq!(path.show(), r#"[423, 97, 74, "fitted", "B"]"#);
        let text = |s: &str| Value::Text(s.to_owned());
        let mut items: Vec<Value> = [423, 97, 74].map(Value::Integer).into();
        assert_eq!(PathLength::parse(&Value::Array(items.clone())).map(|p| p.source), Some(Source::GIVEN));
        items.extend([text("fitted"), text("B")]);
        assert_eq!(PathLength::parse(&Value::Array(items.clone())), Some(path));
        items.pop();
        assert_eq!(PathLength::parse(&Value::Array(items.clone())), None);
        items.push(text("Z"));
        assert_eq!(PathLength::parse(&Value::Array(items)), None);
    }

    #[test]
    fn instructions_alone_get_the_usual_share_of_loads_and_stores() {
        let path = PathLength::parse(&Value::Integer(1000)).unwrap();
        assert_eq!((path.instructions, path.loads, path.stores), (1000, 240, 160));
        assert_eq!(PathLength::parse(&Value::Integer(i128::from(MOST) + 1)), None);
    }
}
