//! What some traces say of each access beside what it is: what it cost, where in memory it went, and who made it.

/// A physical address that is not known.
pub const NO_ADDRESS: u64 = u64::MAX;

/// Columns beside the records of a batch: each has an entry for every record, or none at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// What the recorder measured of the access: of `perf mem`, its latency in cycles.
    pub weights: Vec<u32>,
    /// Physical addresses, [`NO_ADDRESS`] where one is not known. Within a page they are as the access's address.
    pub physical: Vec<u64>,
    /// Whether the kernel made the access.
    pub kernel: Vec<bool>,
}

impl Extras {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.weights.clear();
        self.physical.clear();
        self.kernel.clear();
    }

    /// Appends those of `count` records from `from` on of others, behind `before` records. A column that not all records have is dropped.
    pub(crate) fn append(&mut self, before: usize, other: &Self, from: usize, count: usize) {
        append(&mut self.weights, before, &other.weights, from, count);
        append(&mut self.physical, before, &other.physical, from, count);
        append(&mut self.kernel, before, &other.kernel, from, count);
    }
}

fn append<T: Copy>(to: &mut Vec<T>, before: usize, other: &[T], from: usize, count: usize) {
    match other.get(from..from + count).filter(|_| to.len() == before) {
        Some(more) => to.extend_from_slice(more),
        None => to.clear(),
    }
}

/// Sums of what batches say beside accesses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtraCounts {
    /// Accesses with a weight.
    pub weighed: u64,
    /// The sum of the weights.
    pub weight: u64,
    /// Accesses whose physical address is known.
    pub physical: u64,
    /// Accesses of which it is known who made them.
    pub sided: u64,
    /// Those of the kernel.
    pub kernel: u64,
}

impl ExtraCounts {
    /// Counts a batch.
    pub fn add(&mut self, extras: &Extras) {
        self.weighed += extras.weights.len() as u64;
        self.weight += extras.weights.iter().map(|weight| u64::from(*weight)).sum::<u64>();
        self.physical += extras.physical.iter().filter(|address| **address != NO_ADDRESS).count() as u64;
        self.sided += extras.kernel.len() as u64;
        self.kernel += extras.kernel.iter().filter(|kernel| **kernel).count() as u64;
    }

    /// The mean weight, if any access has one.
    #[must_use]
    pub fn mean_weight(&self) -> Option<f64> {
        (self.weighed > 0).then(|| self.weight as f64 / self.weighed as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_of_all_records_or_of_none() {
        let mut all = Extras::default();
        let first = Extras { weights: vec![1, 2, 3], kernel: vec![true; 3], ..Extras::default() };
        all.append(0, &first, 1, 2);
        assert_eq!((&all.weights[..], all.kernel.len()), (&[2, 3][..], 2));
        let second = Extras { weights: vec![4], physical: vec![7], ..Extras::default() };
        all.append(2, &second, 0, 1);
        assert_eq!(all, Extras { weights: vec![2, 3, 4], ..Extras::default() });
    }
}
