//! SplitMix64: the generator of the published address streams, kept to the bit.

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct SplitMix(u64);

impl SplitMix {
    /// The generator that starts at `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`: the high half of the product, without rejection.
    pub const fn below(&mut self, n: u64) -> u64 {
        ((self.draw() as u128 * n as u128) >> 64) as u64
    }

    /// A number in 0..1 with 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// The numbers below `n` in an order that is one cycle through all of them (Sattolo), by successor: from any number,
    /// following the successors visits every other before it comes back.
    #[must_use]
    pub fn cycle(&mut self, n: u32) -> Vec<u32> {
        let mut next: Vec<u32> = (0..n).collect();
        for at in (1..n as usize).rev() {
            next.swap(at, self.below(at as u64) as usize);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_sequence_of_seed_1234567() {
        // From the reference implementation of Sebastiano Vigna.
        let mut rng = SplitMix::new(1_234_567);
        let first = [(); 3].map(|()| rng.draw());
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn a_cycle_visits_all_before_it_comes_back() {
        for n in [1, 2, 3, 100] {
            let next = SplitMix::new(7).cycle(n);
            let mut at = 0;
            let mut seen = vec![false; n as usize];
            for _ in 0..n {
                assert!(!std::mem::replace(&mut seen[at as usize], true), "{n}: {at} twice");
                at = next[at as usize];
            }
            assert_eq!(at, 0);
        }
    }
}
