//! Pages with a Zipf distribution, by the method of Gray et al. (SIGMOD 1994) that YCSB uses.
//!
//! Powers are those of the crate `libm`, which makes them of additions, multiplications and divisions alone. These are rounded
//! correctly wherever there is IEEE 754, so that every host draws the same pages. (The `pow` of the host's C library would not do: its
//! last bit differs.)

use super::SplitMix;

/// The exponent of YCSB and of the published counts, in thousandths.
pub(super) const THETA: u32 = 990;
/// Pages of the published counts: 4 GiB.
pub(super) const PAGES: u64 = 1 << 20;

/// Draws pages, a few of them often.
#[derive(Clone, Debug)]
pub(super) struct Zipf {
    pages: u64,
    zeta: f64,
    zeta_two: f64,
    alpha: f64,
    eta: f64,
}

impl Zipf {
    /// `pages`: a power of two. `theta`: the exponent in thousandths, above 0 and below 1000.
    pub(super) fn new(pages: u64, theta: u32) -> Self {
        let theta = f64::from(theta) / 1000.0;
        let zeta: f64 = (1..=pages).map(|rank| 1.0 / libm::pow(rank as f64, theta)).sum();
        let zeta_two = 1.0 + libm::pow(0.5, theta);
        let eta = (1.0 - libm::pow(2.0 / pages as f64, 1.0 - theta)) / (1.0 - zeta_two / zeta);
        Self { pages, zeta, zeta_two, alpha: 1.0 / (1.0 - theta), eta }
    }

    /// The number of a page. The most wanted ones are scattered over all.
    pub(super) fn page(&self, rng: &mut SplitMix) -> u64 {
        let u = rng.unit();
        let last = self.pages - 1;
        let rank = match u * self.zeta {
            uz if uz < 1.0 => 0,
            uz if uz < self.zeta_two => 1,
            _ => {
                let share = libm::pow(self.eta * u - self.eta + 1.0, self.alpha);
                ((self.pages as f64 * share) as u64).min(last)
            }
        };
        // A bijection on the numbers below a power of two: odd factors, and a shift to the right.
        let page = rank.wrapping_mul(0x9_e375).wrapping_add(0x3_c6ef) & last;
        (page ^ page >> 10).wrapping_mul(0xb_5297) & last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_as_likely_as_the_law_says() {
        // Of 1024 pages with an exponent of one half, the first is asked for in one of zeta = 62.5 cases.
        let zipf = Zipf::new(1024, 500);
        let mut rng = SplitMix::new(1);
        let mut counts = std::collections::BTreeMap::<u64, u64>::new();
        (0..100_000).for_each(|_| *counts.entry(zipf.page(&mut rng)).or_default() += 1);
        assert!(counts.keys().all(|page| *page < 1024) && counts.len() > 1000);
        let mut counts: Vec<u64> = counts.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        assert!((1500..1700).contains(&counts[0]), "{}", counts[0]);
        assert!((1060..1200).contains(&counts[1]), "{}", counts[1]);
    }
}
