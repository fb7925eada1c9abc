//! Pages with a Zipf distribution, by the method of Gray et al. (SIGMOD 1994) that YCSB uses.

use super::SplitMix;

const THETA: f64 = 0.99;
const PAGES: u64 = 1 << 20;

/// Draws pages of 4 GiB, a few of them often.
#[derive(Clone, Debug)]
pub(super) struct Zipf {
    zeta: f64,
    zeta_two: f64,
    alpha: f64,
    eta: f64,
}

impl Zipf {
    pub(super) fn new() -> Self {
        let zeta: f64 = (1..=PAGES).map(|rank| 1.0 / (rank as f64).powf(THETA)).sum();
        let zeta_two = 1.0 + 0.5_f64.powf(THETA);
        let eta = (1.0 - (2.0 / PAGES as f64).powf(1.0 - THETA)) / (1.0 - zeta_two / zeta);
        Self { zeta, zeta_two, alpha: 1.0 / (1.0 - THETA), eta }
    }

    /// The number of a page. The most wanted ones are scattered over all.
    pub(super) fn page(&self, rng: &mut SplitMix) -> u64 {
        let u = rng.unit();
        let rank = match u * self.zeta {
            uz if uz < 1.0 => 0,
            uz if uz < self.zeta_two => 1,
            _ => {
                let share = (self.eta * u - self.eta + 1.0).powf(self.alpha);
                ((PAGES as f64 * share) as u64).min(PAGES - 1)
            }
        };
        // A bijection on 20 bits.
        let page = (rank * 0x9_e375 + 0x3_c6ef) & (PAGES - 1);
        ((page ^ page >> 10) * 0xb_5297) & (PAGES - 1)
    }
}
