//! Spreading addresses over channels or DIMMs.

/// Division by a fixed number: a shift, or a multiplication by the reciprocal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Divisor {
    by: u64,
    shift: Option<u32>,
    /// `floor(2^64 / by) + 1`, for numbers that are no power of two.
    reciprocal: u64,
    /// The reciprocal is exact below this: its error is at most `by / 2^64`, and `n * by < 2^64`.
    exact_below: u64,
}

impl Divisor {
    /// Division by `by`; zero counts as one.
    pub fn new(by: u64) -> Self {
        let by = by.max(1);
        let quotient = u64::MAX / by;
        Self {
            by,
            shift: by.is_power_of_two().then(|| by.trailing_zeros()),
            reciprocal: quotient.wrapping_add(1),
            exact_below: quotient,
        }
    }

    /// Quotient and remainder.
    #[inline]
    pub const fn div_rem(self, n: u64) -> (u64, u64) {
        match self.shift {
            Some(shift) => (n >> shift, n & (self.by - 1)),
            None if n < self.exact_below => {
                let quotient = ((n as u128 * self.reciprocal as u128) >> 64) as u64;
                (quotient, n - quotient * self.by)
            }
            None => (n / self.by, n % self.by),
        }
    }
}

/// Round-robin interleaving: chunks of `granule` units of address go to members in turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interleave {
    granule: Divisor,
    members: Divisor,
}

impl Interleave {
    /// Chunks of `granule` over `members`.
    pub fn new(granule: u64, members: u32) -> Self {
        Self { granule: Divisor::new(granule), members: Divisor::new(u64::from(members)) }
    }

    /// The member that holds `address`, and the address inside that member, which is dense.
    #[inline]
    pub const fn locate(self, address: u64) -> (usize, u64) {
        let (chunk, offset) = self.granule.div_rem(address);
        let (row, member) = self.members.div_rem(chunk);
        (member as usize, row * self.granule.by + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn division_is_exact(n in any::<u64>(), n_bits in 0u32..64, by in 1u64.., by_bits in 0u32..64) {
            let (n, by) = (n >> n_bits, (by >> by_bits).max(1));
            for n in [n, n / by * by, (n / by * by).wrapping_sub(1), u64::MAX / by, u64::MAX / by - 1] {
                prop_assert_eq!(Divisor::new(by).div_rem(n), (n / by, n % by));
            }
        }
    }

    #[test]
    fn six_dimms_take_pages_in_turn() {
        let i = Interleave::new(4096, 6);
        assert_eq!(i.locate(0), (0, 0));
        assert_eq!(i.locate(4095), (0, 4095));
        assert_eq!(i.locate(4096), (1, 0));
        assert_eq!(i.locate(6 * 4096 + 5), (0, 4096 + 5));
    }

    #[test]
    fn local_addresses_are_dense() {
        for (granule, members) in [(1, 1), (64, 3), (256, 4), (192, 5)] {
            let i = Interleave::new(granule, members);
            let mut seen = vec![0u64; members as usize];
            for address in 0..granule * u64::from(members) * 3 {
                let (member, local) = i.locate(address);
                assert_eq!(local, seen[member]);
                seen[member] += 1;
            }
        }
    }
}
