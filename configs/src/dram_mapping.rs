//! Which part of an address is the row, the bank, the channel of a line.

use std::fmt;

use crate::dram::DramGeometry;
use crate::schema::{Field, Parsed};

/// A coordinate of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DramField {
    /// Channel, or subchannel.
    Channel,
    /// Rank of the channel.
    Rank,
    /// Bank group of the rank.
    Group,
    /// Bank of the group.
    Bank,
    /// Row of the bank.
    Row,
    /// Line of the row.
    Column,
}

impl DramField {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Channel, Self::Rank, Self::Group, Self::Bank, Self::Row, Self::Column];

    /// As a mapping names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Channel => "channel",
            Self::Rank => "rank",
            Self::Group => "group",
            Self::Bank => "bank",
            Self::Row => "row",
            Self::Column => "column",
        }
    }

    const fn count(self, geometry: &DramGeometry) -> u64 {
        match self {
            Self::Channel => geometry.channels as u64,
            Self::Rank => geometry.ranks as u64,
            Self::Group => geometry.groups as u64,
            Self::Bank => geometry.banks as u64,
            Self::Row => geometry.rows,
            Self::Column => geometry.columns,
        }
    }
}

/// The parts of a line's number, the most significant first. A part is a field, or so many bits of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DramMapping {
    parts: Vec<(DramField, Option<u32>)>,
}

/// A part of an address: a digit of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DramDigit {
    /// Of which field.
    pub field: DramField,
    /// Values that it takes.
    pub count: u64,
    /// What one of it counts in its field.
    pub weight: u64,
}

pub(crate) const EXPECTED: &str = "the words row, rank, group, bank, column and channel, the most significant first, each perhaps \
                                   with :N for N bits of it, such as \"row rank bank column group channel\"";

impl DramMapping {
    /// From text such as `row rank bank column group channel`; `column:3` are three bits of the column.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let part = |word: &str| {
            let (name, bits) = match word.split_once(':') {
                Some((name, bits)) => (name, Some(bits.parse().ok().filter(|bits| (1..=48).contains(bits))?)),
                None => (word, None),
            };
            Some((DramField::ALL.into_iter().find(|field| field.name() == name)?, bits))
        };
        let parts = text.split_ascii_whitespace().map(part).collect::<Option<Vec<_>>>()?;
        (!parts.is_empty()).then_some(Self { parts })
    }

    /// The digits of a line's number, the least significant first, if they make up every field of `geometry`; otherwise what is
    /// wrong, and what would be right.
    ///
    /// # Errors
    ///
    /// A field that is missing, that has more or fewer bits than `geometry` gives it, or that is cut though it is no power of two.
    pub fn digits(&self, geometry: &DramGeometry) -> Result<Vec<DramDigit>, (String, String)> {
        let mut digits = Vec::with_capacity(self.parts.len());
        let mut weights = [1u64; 6];
        for &(field, bits) in self.parts.iter().rev() {
            let count = self.count(field, bits, geometry)?;
            if let Some(weight) = weights.get_mut(field as usize) {
                digits.push(DramDigit { field, count, weight: *weight });
                *weight = weight.saturating_mul(count);
            }
        }
        for (field, made) in DramField::ALL.into_iter().zip(weights) {
            let count = field.count(geometry);
            if made != count {
                let (name, found) =
                    (field.name(), if made == 1 { "no".to_owned() } else { made.to_string() });
                return Err((
                    format!("{found} values of {name}"),
                    format!("{count} values of {name}, as the machine has"),
                ));
            }
        }
        Ok(digits)
    }

    /// Values of a part: those of its bits, or what the other parts of the field leave.
    fn count(
        &self,
        field: DramField,
        bits: Option<u32>,
        geometry: &DramGeometry,
    ) -> Result<u64, (String, String)> {
        let all = field.count(geometry);
        let name = field.name();
        let parts = self.parts.iter().filter(|(other, _)| *other == field);
        let given: u32 = parts.clone().filter_map(|(_, bits)| *bits).sum();
        if parts.filter(|(_, bits)| bits.is_none()).count() > 1 {
            return Err((format!("{name} twice"), format!("{name} once without :N")));
        }
        if given > 0 && !all.is_power_of_two() {
            return Err((format!("{given} bits of {name}"), format!("{name} in one piece: there are {all}")));
        }
        if given > all.ilog2() && given > 0 {
            return Err((
                format!("{given} bits of {name}"),
                format!("at most {} bits: there are {all}", all.ilog2()),
            ));
        }
        Ok(bits.map_or(all >> given, |bits| 1 << bits))
    }
}

impl fmt::Display for DramMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (field, bits)) in self.parts.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { " " })?;
            f.write_str(field.name())?;
            if let Some(bits) = bits {
                write!(f, ":{bits}")?;
            }
        }
        Ok(())
    }
}

impl Field for DramMapping {
    fn from_parsed(parsed: &Parsed) -> Option<Self> {
        let Parsed::Text(text) = parsed else { return None };
        Self::parse(text)
    }

    fn to_parsed(&self) -> Parsed {
        Parsed::Text(self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GEOMETRY: DramGeometry =
        DramGeometry { channels: 6, ranks: 2, groups: 4, banks: 4, columns: 128, rows: 1 << 17 };

    type Digits = Vec<(&'static str, u64, u64)>;

    fn digits(text: &str) -> Result<Digits, (String, String)> {
        let digits = DramMapping::parse(text).unwrap().digits(&GEOMETRY)?;
        Ok(digits.into_iter().map(|d| (d.field.name(), d.count, d.weight)).collect())
    }

    #[test]
    fn digits_come_from_the_least_significant_on() {
        assert_eq!(
            digits("row rank bank column group channel").unwrap(),
            [
                ("channel", 6, 1),
                ("group", 4, 1),
                ("column", 128, 1),
                ("bank", 4, 1),
                ("rank", 2, 1),
                ("row", 1 << 17, 1)
            ]
        );
        let cut = digits("row rank bank column group column:2 channel").unwrap();
        assert_eq!(cut[1], ("column", 4, 1));
        assert_eq!(cut[3], ("column", 32, 4));
    }

    #[test]
    fn a_mapping_that_is_not_one_to_one_is_refused_with_what_is_wrong() {
        let wrong = |text| digits(text).unwrap_err().0;
        assert_eq!(wrong("row rank bank column channel"), "no values of group");
        assert_eq!(wrong("row rank row bank group column channel"), "row twice");
        assert_eq!(wrong("row rank bank group column channel:1"), "1 bits of channel");
        assert_eq!(wrong("row rank bank group column:9 channel"), "9 bits of column");
        assert_eq!(wrong("row rank bank group column:6 channel"), "64 values of column");
        for text in ["", "row lane", "row:0 rank", "row:x", "row::2"] {
            assert_eq!(DramMapping::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_text_of_a_mapping_reads_back() {
        let text = "row rank bank column group column:2 channel";
        assert_eq!(DramMapping::parse(text).unwrap().to_string(), text);
    }
}
