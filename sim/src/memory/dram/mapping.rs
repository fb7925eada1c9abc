//! From the number of a line to its channel, rank, bank and row.

use daxsim_configs::machine::{DramField, DramGeometry, DramMapping};
use daxsim_types::CacheLine;

use crate::memory::interleave::Divisor;

/// Where a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub channel: usize,
    pub rank: usize,
    /// Bank group, numbered through the ranks of the channel.
    pub group: usize,
    /// Bank, numbered through the channel.
    pub bank: usize,
    pub row: u64,
}

/// A digit of a line's number, or bits of one.
struct Digit {
    field: DramField,
    /// Where it begins above what the divisions before it have left, and what to keep of it.
    shift: u32,
    mask: u64,
    weight: u64,
}

/// Digits that are powers of two, and then one that is not.
#[derive(Default)]
struct Step {
    bits: Vec<Digit>,
    /// Bits of all of them.
    shift: u32,
    divided: Option<(Divisor, Digit)>,
}

/// `dram.mapping` on a geometry.
pub(super) struct Mapper {
    /// The least significant first.
    steps: Vec<Step>,
    groups: u64,
    by_groups: Divisor,
    banks: u64,
    rows: u64,
    xor: bool,
}

impl Mapper {
    /// A mapping that the loader has checked against the geometry.
    pub fn new(mapping: &DramMapping, geometry: &DramGeometry, xor: bool) -> Self {
        let mut steps = vec![Step::default()];
        for digit in mapping.digits(geometry).unwrap_or_default() {
            let Some(step) = steps.last_mut() else { break };
            let (field, weight, shift) = (digit.field, digit.weight, step.shift);
            if digit.count.is_power_of_two() {
                step.shift += digit.count.trailing_zeros();
                // Which column it is makes no difference.
                if field != DramField::Column {
                    step.bits.push(Digit { field, shift, mask: digit.count - 1, weight });
                }
            } else {
                let all = Digit { field, shift: 0, mask: u64::MAX, weight };
                step.divided = Some((Divisor::new(digit.count), all));
                steps.push(Step::default());
            }
        }
        Self {
            steps,
            groups: u64::from(geometry.groups),
            by_groups: Divisor::new(u64::from(geometry.groups)),
            banks: u64::from(geometry.banks),
            rows: geometry.rows,
            xor,
        }
    }

    /// Lines above the last one that there is have rows above the last one.
    #[inline]
    pub fn locate(&self, line: CacheLine) -> Place {
        let mut fields = [0u64; 6];
        let mut rest = line.0;
        for step in &self.steps {
            for digit in &step.bits {
                fields[digit.field as usize] += (rest >> digit.shift & digit.mask) * digit.weight;
            }
            rest >>= step.shift;
            if let Some((by, digit)) = &step.divided {
                let (above, value) = by.div_rem(rest);
                fields[digit.field as usize] += value * digit.weight;
                rest = above;
            }
        }
        let [channel, rank, mut group, mut bank, row, _] = fields;
        let row = row + rest * self.rows;
        if self.xor {
            group ^= row & (self.groups - 1);
            bank ^= self.by_groups.div_rem(row).0 & (self.banks - 1);
        }
        let group = rank * self.groups + group;
        Place {
            channel: channel as usize,
            rank: rank as usize,
            group: group as usize,
            bank: (group * self.banks + bank) as usize,
            row,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    const GEOMETRY: DramGeometry =
        DramGeometry { channels: 3, ranks: 2, groups: 2, banks: 4, columns: 8, rows: 16 };

    fn mapper(text: &str, xor: bool) -> Mapper {
        Mapper::new(&DramMapping::parse(text).unwrap(), &GEOMETRY, xor)
    }

    #[test]
    fn consecutive_lines_go_through_the_least_significant_fields_first() {
        let m = mapper("row rank bank column group channel", false);
        let places: Vec<_> =
            (0..8).map(|n| m.locate(CacheLine(n))).map(|p| (p.channel, p.group, p.row)).collect();
        assert_eq!(
            places,
            [(0, 0, 0), (1, 0, 0), (2, 0, 0), (0, 1, 0), (1, 1, 0), (2, 1, 0), (0, 0, 0), (1, 0, 0)]
        );
        let row = 3 * 2 * 8 * 4 * 2;
        assert_eq!(m.locate(CacheLine(row)), Place { channel: 0, rank: 0, group: 0, bank: 0, row: 1 });
        assert_eq!(m.locate(CacheLine(row / 2)).rank, 1);
        assert_eq!(m.locate(CacheLine(row * 16)).row, 16, "beyond the end");
    }

    /// Takes the number apart, digit by digit.
    fn locate_slowly(text: &str, geometry: &DramGeometry, xor: bool, line: u64) -> Place {
        let (mut fields, mut rest) = ([0; 6], line);
        for digit in DramMapping::parse(text).unwrap().digits(geometry).unwrap() {
            fields[digit.field as usize] += rest % digit.count * digit.weight;
            rest /= digit.count;
        }
        let [channel, rank, mut group, mut bank, row, _] = fields;
        let (groups, banks) = (u64::from(geometry.groups), u64::from(geometry.banks));
        let row = row + rest * geometry.rows;
        if xor {
            group ^= row % groups;
            bank ^= row / groups % banks;
        }
        let group = rank * groups + group;
        let [channel, rank, bank] = [channel, rank, group * banks + bank].map(|n| n as usize);
        Place { channel, rank, group: group as usize, bank, row }
    }

    proptest! {
        #[test]
        fn a_place_is_found_digit_by_digit(
            order in Just(vec!["row", "rank", "bank:1", "bank", "column", "column:2", "group", "channel"]).prop_shuffle(),
            xor in any::<bool>(),
            channels in 1u32..8,
            rows in 1u64..40,
            lines in prop::collection::vec(0u64..1 << 40, 20),
        ) {
            let geometry = DramGeometry { channels, rows, ..GEOMETRY };
            let text = order.join(" ");
            let m = Mapper::new(&DramMapping::parse(&text).unwrap(), &geometry, xor);
            for line in lines {
                let expected = locate_slowly(&text, &geometry, xor, line);
                prop_assert_eq!(m.locate(CacheLine(line)), expected);
            }
        }

        #[test]
        fn every_mapping_fills_every_row_evenly(
            order in Just(vec!["row", "rank:1", "bank:1", "bank", "column", "column:2", "group", "channel"]).prop_shuffle(),
            xor in any::<bool>(),
        ) {
            let m = mapper(&order.join(" "), xor);
            let mut rows = std::collections::BTreeMap::<_, u64>::new();
            for n in 0..GEOMETRY.bytes() / 64 {
                let p = m.locate(CacheLine(n));
                prop_assert_eq!(p.group, p.bank / 4);
                prop_assert_eq!(p.rank, p.group / 2);
                *rows.entry((p.channel, p.bank, p.row)).or_default() += 1;
            }
            prop_assert_eq!(rows.len(), 3 * 16 * 16);
            prop_assert_eq!(rows.values().copied().collect::<BTreeSet<_>>(), BTreeSet::from([8]));
        }
    }
}
