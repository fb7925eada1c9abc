//! Columns that blocks of accesses may have beside those that a simulation needs: weights, physical addresses, who made the access.
//! Who does not ask for them does not decompress them.

use std::collections::HashMap;

use super::columns::Unpacker;
use super::varint::{put, take, unzigzag, zigzag};
use crate::access::{AccessRecord, Extras, NO_ADDRESS};

/// Columns by id; those before are of `accesses`.
pub(super) mod id {
    /// A number for each access.
    pub const WEIGHT: u8 = 7;
    /// Which page of memory each access went to.
    pub const PHYSICAL: u8 = 8;
    /// Lengths of runs of one side, the program's first.
    pub const SIDE: u8 = 9;
    /// The first of them.
    pub const FIRST: u8 = WEIGHT;
}

/// Bits of an address within its page.
const PAGE_BITS: u32 = 12;
const IN_PAGE: u64 = (1 << PAGE_BITS) - 1;
/// Entries of the column of physical addresses: the page is where it was last seen, or it is not known. What is more is a distance.
const AS_BEFORE: u64 = 0;
const NONE: u64 = 1;
const DISTANCE: u64 = 2;

/// Makes columns; its buffers are used again.
#[derive(Default)]
pub(super) struct Encoder {
    pub weight: Vec<u8>,
    pub physical: Vec<u8>,
    pub side: Vec<u8>,
    /// The page of memory that each page was last seen at.
    seen: HashMap<u64, u64>,
}

impl Encoder {
    pub fn encode(&mut self, records: &[AccessRecord], extras: &Extras) {
        for column in [&mut self.weight, &mut self.physical, &mut self.side] {
            column.clear();
        }
        if extras.weights.len() == records.len() {
            extras.weights.iter().for_each(|weight| put(u64::from(*weight), &mut self.weight));
        }
        if extras.physical.len() == records.len() {
            self.put_pages(records, &extras.physical);
        }
        if extras.kernel.len() == records.len() {
            let mut side = false;
            let mut run = 0;
            for kernel in &extras.kernel {
                if *kernel != side {
                    put(run, &mut self.side);
                    (side, run) = (*kernel, 0);
                }
                run += 1;
            }
            put(run, &mut self.side);
        }
    }

    fn put_pages(&mut self, records: &[AccessRecord], physical: &[u64]) {
        self.seen.clear();
        let mut last = 0_u64;
        for (record, address) in records.iter().zip(physical) {
            // No page of memory is mapped so that addresses within it differ.
            if *address == NO_ADDRESS || (address ^ record.va.0) & IN_PAGE != 0 {
                put(NONE, &mut self.physical);
                continue;
            }
            let page = address >> PAGE_BITS;
            if self.seen.insert(record.va.0 >> PAGE_BITS, page) == Some(page) {
                put(AS_BEFORE, &mut self.physical);
            } else {
                put(DISTANCE + zigzag(page.wrapping_sub(last)), &mut self.physical);
                last = page;
            }
        }
    }
}

/// Replaces `extras` by those of unpacked columns, for accesses that were decoded. What is wrong, if anything is.
pub(super) fn decode(
    columns: &Unpacker,
    records: &[AccessRecord],
    extras: &mut Extras,
) -> Result<(), String> {
    extras.clear();
    let mut weight = columns.get(id::WEIGHT);
    while !weight.is_empty() && extras.weights.len() < records.len() {
        let number = take(&mut weight).and_then(|number| u32::try_from(number).ok());
        extras.weights.push(number.ok_or("a weight that is no number of 4 bytes")?);
    }
    let rest = (weight.len(), extras.weights.len());
    if rest != (0, records.len()) && !columns.get(id::WEIGHT).is_empty() {
        return Err(format!("{} weights of {} accesses", rest.1, records.len()));
    }
    pages(columns.get(id::PHYSICAL), records, &mut extras.physical)?;
    sides(columns.get(id::SIDE), records.len(), &mut extras.kernel)
}

fn pages(mut column: &[u8], records: &[AccessRecord], to: &mut Vec<u64>) -> Result<(), String> {
    if column.is_empty() {
        return Ok(());
    }
    let mut seen: HashMap<u64, u64> = HashMap::new();
    let mut last = 0_u64;
    for record in records {
        let entry = take(&mut column).ok_or("fewer physical addresses than accesses")?;
        let page = match entry {
            NONE => None,
            AS_BEFORE => {
                let page = seen.get(&(record.va.0 >> PAGE_BITS));
                Some(*page.ok_or("a page as before, where none was")?)
            }
            distance => {
                last = last.wrapping_add(unzigzag(distance - DISTANCE)) & (u64::MAX >> PAGE_BITS);
                seen.insert(record.va.0 >> PAGE_BITS, last);
                Some(last)
            }
        };
        to.push(page.map_or(NO_ADDRESS, |page| page << PAGE_BITS | record.va.0 & IN_PAGE));
    }
    if column.is_empty() { Ok(()) } else { Err("more physical addresses than accesses".into()) }
}

fn sides(mut column: &[u8], count: usize, to: &mut Vec<bool>) -> Result<(), String> {
    let mut side = false;
    if column.is_empty() {
        return Ok(());
    }
    while let Some(run) = take(&mut column) {
        let left = count - to.len();
        let run = usize::try_from(run).ok().filter(|run| *run <= left);
        let run = run.ok_or_else(|| format!("a longer run of one side than the {left} accesses left"))?;
        to.resize(to.len() + run, side);
        side = !side;
        if to.len() == count {
            break;
        }
    }
    match to.len() == count && column.is_empty() {
        true => Ok(()),
        false => Err(format!("sides of {} of {count} accesses", to.len())),
    }
}

#[cfg(test)]
mod tests {
    use daxsim_types::VirtAddr;
    use proptest::prelude::*;

    use super::super::columns::Packer;
    use super::*;

    fn unpacked(columns: &[(u8, &[u8])]) -> Unpacker {
        let payload = Packer::new().unwrap().pack(columns).unwrap();
        let mut unpacker = Unpacker::new().unwrap();
        unpacker.unpack(&payload.bytes, payload.columns, payload.raw, 0, u8::MAX).unwrap();
        unpacker
    }

    fn records(addresses: &[u64]) -> Vec<AccessRecord> {
        let record = |va: &u64| AccessRecord { va: VirtAddr(*va), ..AccessRecord::default() };
        addresses.iter().map(record).collect()
    }

    #[test]
    fn a_page_that_is_where_it_was_takes_a_zero() {
        let records = records(&[0x1008, 0x1010, 0x2000, 0x1000]);
        let physical = vec![0x7008, 0x7010, NO_ADDRESS, 0x8000];
        let mut encoder = Encoder::default();
        encoder.encode(&records, &Extras { physical, ..Extras::default() });
        assert_eq!(encoder.physical, [2 + 14, 0, 1, 2 + 2]);
        assert!(encoder.weight.is_empty() && encoder.side.is_empty());
    }

    #[test]
    fn columns_that_do_not_agree_are_refused() {
        let records = records(&[0, 0, 0]);
        let refused = |column: u8, bytes: &[u8]| {
            decode(&unpacked(&[(column, bytes)]), &records, &mut Extras::default()).unwrap_err()
        };
        assert_eq!(refused(7, &[1, 2]), "2 weights of 3 accesses");
        assert_eq!(refused(7, &[1, 2, 3, 4]), "3 weights of 3 accesses");
        assert_eq!(refused(7, &[0xff; 3]), "a weight that is no number of 4 bytes");
        assert_eq!(refused(8, &[0, 1, 1]), "a page as before, where none was");
        assert_eq!(refused(8, &[1]), "fewer physical addresses than accesses");
        assert_eq!(refused(8, &[1; 4]), "more physical addresses than accesses");
        assert_eq!(refused(9, &[1, 3]), "a longer run of one side than the 2 accesses left");
        assert_eq!(refused(9, &[1, 1]), "sides of 2 of 3 accesses");
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            all in prop::collection::vec((0_u64..1 << 20, prop::option::of(0_u64..1 << 40), any::<u32>(), any::<bool>()), 1..300)
        ) {
            let records = records(&all.iter().map(|one| one.0).collect::<Vec<_>>());
            let extras = Extras {
                weights: all.iter().map(|one| one.2).collect(),
                physical: all.iter().map(|one| one.1.map_or(NO_ADDRESS, |page| page << 12 | one.0 & 0xfff)).collect(),
                kernel: all.iter().map(|one| one.3).collect(),
            };
            let mut encoder = Encoder::default();
            encoder.encode(&records, &extras);
            let columns = [(id::WEIGHT, &encoder.weight[..]), (id::PHYSICAL, &encoder.physical), (id::SIDE, &encoder.side)];
            let mut decoded = Extras::default();
            decode(&unpacked(&columns), &records, &mut decoded).unwrap();
            prop_assert_eq!(decoded, extras);
        }

        #[test]
        fn no_bytes_make_more_than_there_are_accesses(column in 7_u8..10, bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let records = records(&[0x1000, 0x2000, 0x1000]);
            let mut extras = Extras::default();
            let _ = decode(&unpacked(&[(column, &bytes)]), &records, &mut extras);
            prop_assert!(extras.weights.len() <= 3 && extras.physical.len() <= 3 && extras.kernel.len() <= 3);
        }
    }
}
