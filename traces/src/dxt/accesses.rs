//! Accesses as columns.
//!
//! What an access is beside its address (its class: kind, size, instructions before it) is one byte: few combinations make up
//! nearly all of a program. The address is the distance from one of sixteen earlier ones: a program alternates between
//! its stack, its heap and its files, and within each the distances are short. The writer chooses which; a byte for each
//! access says so, and how many bytes the distance has.

use daxsim_types::VirtAddr;

use super::BLOCK_RECORDS;
use super::columns::{Packer, Payload, Unpacker};
use super::layout::Fields;
use super::varint::{unzigzag, zigzag};
use super::{extras, order};
use crate::access::{AccessOp, AccessRecord, Extras, OrderRun};

/// Columns by id.
mod id {
    /// A byte for each access: its class.
    pub const CLASS: u8 = 1;
    /// Eight bytes for each class.
    pub const CLASSES: u8 = 2;
    /// Eight bytes for each access of class 255.
    pub const OTHERS: u8 = 3;
    /// A byte for each access: the base, and how many bytes its distance from it has.
    pub const BASE: u8 = 4;
    /// The distances, of 0 to 8 bytes each.
    pub const DISTANCE: u8 = 5;
    /// Where the accesses stand among those of all threads.
    pub const ORDER: u8 = 6;
}

/// The class of accesses that have none: they stand in a column of their own.
const OTHER: u8 = 255;
/// Bytes of a class.
const CLASS: usize = 8;
/// Bases of a block; all are 0 at its begin.
const BASES: usize = 16;
/// Bases that this writer uses: more of them cost more than they gain.
const USED_BASES: usize = 4;
/// Distances of so many bits count as near.
const NEAR_BITS: u32 = 24;
/// Bit of a class's flags: the access is dependent.
const DEPENDENT: u8 = 1;

/// What an access is beside its address, as the file has it.
fn class_of(record: &AccessRecord) -> [u8; CLASS] {
    let mut class = [0; CLASS];
    class[0] = record.op as u8;
    class[1] = if record.dependent { DEPENDENT } else { 0 };
    class[2..4].copy_from_slice(&record.size.to_le_bytes());
    class[4..].copy_from_slice(&record.gap.to_le_bytes());
    class
}

/// The access of a class, its address aside.
fn record_of(class: &[u8]) -> Option<AccessRecord> {
    let mut fields = Fields::new(class);
    let (op, flags) = (AccessOp::from_number(fields.u8())?, fields.u8());
    let (size, gap) = (fields.u16(), fields.u32());
    let dependent = flags & DEPENDENT != 0;
    (flags & !DEPENDENT == 0).then_some(AccessRecord { va: VirtAddr(0), gap, size, op, dependent })
}

/// Makes columns of accesses; its buffers are used again.
#[derive(Default)]
pub(super) struct Encoder {
    class: Vec<u8>,
    classes: Vec<u8>,
    others: Vec<u8>,
    base: Vec<u8>,
    distance: Vec<u8>,
    order: Vec<u8>,
    extras: extras::Encoder,
    /// Number of each class, by its bytes.
    known: std::collections::BTreeMap<[u8; CLASS], u8>,
}

impl Encoder {
    /// The payload of at most [`BLOCK_RECORDS`] accesses, which stand among those of all threads as `runs` say, if there are any.
    pub(super) fn encode(
        &mut self,
        records: &[AccessRecord],
        runs: &[OrderRun],
        extras: &Extras,
        packer: &mut Packer,
    ) -> std::io::Result<Payload> {
        debug_assert!(records.len() <= BLOCK_RECORDS);
        for column in [
            &mut self.class,
            &mut self.classes,
            &mut self.others,
            &mut self.base,
            &mut self.distance,
            &mut self.order,
        ] {
            column.clear();
        }
        order::encode(runs, &mut self.order);
        self.known.clear();
        self.put_classes(records);
        self.put_addresses(records);
        self.extras.encode(records, extras);
        packer.pack(&[
            (id::CLASS, &self.class),
            (id::CLASSES, &self.classes),
            (id::OTHERS, &self.others),
            (id::BASE, &self.base),
            (id::DISTANCE, &self.distance),
            (id::ORDER, &self.order),
            (extras::id::WEIGHT, &self.extras.weight),
            (extras::id::PHYSICAL, &self.extras.physical),
            (extras::id::SIDE, &self.extras.side),
        ])
    }

    fn put_classes(&mut self, records: &[AccessRecord]) {
        let mut last = ([0xff; CLASS], OTHER);
        for record in records {
            let class = class_of(record);
            if last.0 != class {
                last = (class, self.number_of(class));
            }
            if last.1 == OTHER {
                self.others.extend(class);
            }
            self.class.push(last.1);
        }
    }

    /// The number of a class: a new one as long as there are any.
    fn number_of(&mut self, class: [u8; CLASS]) -> u8 {
        let next = (self.classes.len() / CLASS) as u8;
        let number = if next == OTHER {
            self.known.get(&class).copied().unwrap_or(OTHER)
        } else {
            *self.known.entry(class).or_insert(next)
        };
        if number == next && next != OTHER {
            self.classes.extend(class);
        }
        number
    }

    fn put_addresses(&mut self, records: &[AccessRecord]) {
        let mut bases = [0_u64; USED_BASES];
        let mut oldest = 0;
        for record in records {
            let va = record.va.0;
            let distances = bases.map(|base| zigzag(va.wrapping_sub(base)));
            let mut base = 0;
            for other in 1..USED_BASES {
                if distances[other] < distances[base] {
                    base = other;
                }
            }
            if distances[base] >> NEAR_BITS != 0 {
                base = oldest;
                oldest = (oldest + 1) % USED_BASES;
            }
            bases[base] = va;
            let distance = distances[base];
            let bytes = (64 - distance.leading_zeros()).div_ceil(8);
            self.base.push((base as u8) << 4 | bytes as u8);
            self.distance.extend_from_slice(distance.to_le_bytes().get(..bytes as usize).unwrap_or_default());
        }
    }
}

/// The low bytes of a word, by their number.
const LOW_BYTES: [u64; 16] = low_bytes();

const fn low_bytes() -> [u64; 16] {
    let mut masks = [u64::MAX; 16];
    let mut bytes = 0;
    while bytes < 8 {
        masks[bytes] = (1 << (8 * bytes)) - 1;
        bytes += 1;
    }
    masks
}

/// Replaces `runs` by where the accesses of unpacked columns stand among those of all threads.
pub(super) fn decode_order(columns: &Unpacker, count: usize, runs: &mut Vec<OrderRun>) -> Result<(), String> {
    order::decode(columns.get(id::ORDER), count as u64, runs)
}

/// Appends the accesses of unpacked columns. What is wrong, if anything is: nothing is appended then.
pub(super) fn decode(
    columns: &Unpacker,
    count: usize,
    records: &mut Vec<AccessRecord>,
) -> Result<(), String> {
    let (class, base) = (columns.get(id::CLASS), columns.get(id::BASE));
    if class.len() != count || base.len() != count {
        return Err(format!("{} classes and {} bases of {count} accesses", class.len(), base.len()));
    }
    let classes = classes(columns)?;
    let others = others(columns)?;
    let bytes: usize = base.iter().map(|b| usize::from(b & 15)).sum();
    let distance = columns.get(id::DISTANCE);
    if bytes != distance.len() || base.iter().any(|b| b & 15 > 8) {
        return Err(format!("{} bytes of distances, where {bytes} are told", distance.len()));
    }
    let wanted = class.iter().filter(|class| **class == OTHER).count();
    if wanted != others.len() {
        return Err(format!("{} accesses without a class, where {wanted} are told", others.len()));
    }
    let begin = records.len();
    join(class, &classes, &others, base, distance, records);
    if records.len() - begin != count {
        records.truncate(begin);
        return Err("an access of a class that is not in the block".into());
    }
    Ok(())
}

/// The classes; those that are not there have none.
fn classes(columns: &Unpacker) -> Result<[Option<AccessRecord>; 256], String> {
    let table = columns.get(id::CLASSES);
    if !table.len().is_multiple_of(CLASS) || table.len() > usize::from(OTHER) * CLASS {
        return Err(format!("{} bytes of classes", table.len()));
    }
    let mut classes = [None; 256];
    for (class, bytes) in classes.iter_mut().zip(table.chunks_exact(CLASS)) {
        *class = Some(record_of(bytes).ok_or_else(|| format!("class {bytes:02x?}"))?);
    }
    Ok(classes)
}

fn others(columns: &Unpacker) -> Result<Vec<AccessRecord>, String> {
    let table = columns.get(id::OTHERS);
    if !table.len().is_multiple_of(CLASS) {
        return Err(format!("{} bytes of accesses without a class", table.len()));
    }
    let record = |bytes| record_of(bytes).ok_or_else(|| format!("class {bytes:02x?}"));
    table.chunks_exact(CLASS).map(record).collect()
}

/// Joins columns whose lengths were checked. Stops at a class that is not there.
fn join(
    class: &[u8],
    classes: &[Option<AccessRecord>; 256],
    others: &[AccessRecord],
    base: &[u8],
    distance: &[u8],
    records: &mut Vec<AccessRecord>,
) {
    let mut bases = [0_u64; BASES];
    let mut others = others.iter().copied();
    let mut at = 0;
    // The last distances are taken from a copy with room behind, so that all are read as whole words.
    let tail = distance.len().saturating_sub(8);
    let mut last = [0; 16];
    last[..distance.len() - tail].copy_from_slice(&distance[tail..]);
    records.extend(class.iter().zip(base).map_while(|(class, base)| {
        let record = if *class == OTHER { others.next() } else { classes[usize::from(*class)] }?;
        let word = match distance.get(at..at + 8) {
            Some(word) => word.try_into().map_or(0, u64::from_le_bytes),
            None => last
                .get(at - tail..at - tail + 8)
                .and_then(|w| w.try_into().ok())
                .map_or(0, u64::from_le_bytes),
        };
        let bytes = usize::from(base & 15);
        at += bytes;
        let base = &mut bases[usize::from(base >> 4)];
        *base = base.wrapping_add(unzigzag(word & LOW_BYTES[bytes]));
        Some(AccessRecord { va: VirtAddr(*base), ..record })
    }));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_access() -> impl Strategy<Value = AccessRecord> {
        let near = (0_u64..4, 0_u64..3000).prop_map(|(region, offset)| (region << 40) + offset);
        let va = prop_oneof![8 => near, 1 => any::<u64>()];
        let gap = prop_oneof![20 => 0_u32..4, 1 => any::<u32>()];
        let size = prop_oneof![20 => Just(8), 1 => any::<u16>()];
        (va, gap, size, 0_u8..4, any::<bool>()).prop_map(|(va, gap, size, op, dependent)| AccessRecord {
            va: VirtAddr(va),
            gap,
            size,
            op: AccessOp::from_number(op).unwrap(),
            dependent,
        })
    }

    fn round_trip(records: &[AccessRecord]) -> Vec<AccessRecord> {
        let payload =
            Encoder::default().encode(records, &[], &Extras::default(), &mut Packer::new().unwrap()).unwrap();
        let mut columns = Unpacker::new().unwrap();
        columns.unpack(&payload.bytes, payload.columns, payload.raw, 0, u8::MAX).unwrap();
        let mut decoded = Vec::new();
        decode(&columns, records.len(), &mut decoded).unwrap();
        decoded
    }

    #[test]
    fn more_classes_than_there_are_numbers() {
        let of = |gap| AccessRecord { gap, ..AccessRecord::default() };
        let records: Vec<_> = (0..2000).map(|n| of(n % 700)).collect();
        assert_eq!(round_trip(&records), records);
    }

    #[test]
    fn a_class_that_is_not_there_is_refused() {
        let records = [AccessRecord::default(); 3];
        let mut encoder = Encoder::default();
        let mut packer = Packer::new().unwrap();
        encoder.encode(&records, &[], &Extras::default(), &mut packer).unwrap();
        let refused = |encoder: &Encoder, columns: &[(u8, &[u8])]| {
            let _ = encoder;
            let payload = Packer::new().unwrap().pack(columns).unwrap();
            let mut unpacked = Unpacker::new().unwrap();
            unpacked.unpack(&payload.bytes, payload.columns, payload.raw, 0, u8::MAX).unwrap();
            let mut decoded = Vec::new();
            let error = decode(&unpacked, 3, &mut decoded).unwrap_err();
            assert!(decoded.is_empty());
            error
        };
        let classes = encoder.classes.clone();
        let wrong_class: [(u8, &[u8]); 3] = [(1, &[0, 1, 0]), (2, &classes), (4, &[0; 3])];
        assert_eq!(refused(&encoder, &wrong_class), "an access of a class that is not in the block");
        let no_others: [(u8, &[u8]); 3] = [(1, &[0, 255, 0]), (2, &classes), (4, &[0; 3])];
        assert_eq!(refused(&encoder, &no_others), "0 accesses without a class, where 1 are told");
        let too_far: [(u8, &[u8]); 3] = [(1, &[0; 3]), (2, &classes), (4, &[0, 3, 0])];
        assert_eq!(refused(&encoder, &too_far), "0 bytes of distances, where 3 are told");
        let no_op: [(u8, &[u8]); 3] = [(1, &[0; 3]), (2, &[9, 0, 0, 0, 0, 0, 0, 0]), (4, &[0; 3])];
        assert!(refused(&encoder, &no_op).starts_with("class [09"));
        let few: [(u8, &[u8]); 3] = [(1, &[0; 2]), (2, &classes), (4, &[0; 3])];
        assert_eq!(refused(&encoder, &few), "2 classes and 3 bases of 3 accesses");
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(records in prop::collection::vec(any_access(), 0..600)) {
            prop_assert_eq!(round_trip(&records), records);
        }
    }
}
