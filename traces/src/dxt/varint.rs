//! Numbers of any length in few bytes.

/// A distance as an unsigned number that is small if the distance is, in either direction.
pub(super) const fn zigzag(distance: u64) -> u64 {
    (distance << 1) ^ ((distance as i64 >> 63) as u64)
}

pub(super) const fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

/// Appends a number in 7 bits a byte, the low ones first; the high bit says that more follow.
pub(super) fn put(mut number: u64, column: &mut Vec<u8>) {
    while number > 0x7f {
        column.push(number as u8 | 0x80);
        number >>= 7;
    }
    column.push(number as u8);
}

/// Takes a number off the front; `None` if the bytes end before it does.
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_is_short_in_both_directions() {
        for (distance, number) in [(0, 0), (-1, 1), (1, 2), (i64::MIN, u64::MAX)] {
            assert_eq!(zigzag(distance as u64), number);
            assert_eq!(unzigzag(number), distance as u64);
        }
    }

    #[test]
    fn a_number_takes_a_byte_for_each_seven_bits() {
        for (number, len) in [(0, 1), (127, 1), (128, 2), (u64::MAX, 10)] {
            let mut bytes = Vec::new();
            put(number, &mut bytes);
            assert_eq!(bytes.len(), len);
            assert_eq!(take(&mut bytes.as_slice()), Some(number));
            assert_eq!(take(&mut &bytes[..len - 1]), None);
        }
    }
}
