//! The Pareto front.

/// Which of some points no other beats: another is at least as good in everything and better in something. What is smaller is better.
pub(super) fn front(points: &[Vec<f64>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    let of = |at: usize| points.get(at).map(Vec::as_slice).unwrap_or_default();
    // Who beats a point comes before it in this order.
    order.sort_by(|a, b| {
        let pairs = of(*a).iter().zip(of(*b)).map(|(a, b)| a.total_cmp(b));
        pairs.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    });
    let mut front: Vec<usize> = Vec::new();
    for at in order {
        if !front.iter().any(|other| beats(of(*other), of(at))) {
            front.push(at);
        }
    }
    front.sort_unstable();
    front
}

/// Whether `a` is at least as good in everything and better in something.
fn beats(a: &[f64], b: &[f64]) -> bool {
    let pairs = || a.iter().zip(b);
    pairs().all(|(a, b)| a <= b) && pairs().any(|(a, b)| a < b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_is_what_no_other_beats() {
        let points = [[1.0, 9.0], [2.0, 5.0], [2.0, 6.0], [3.0, 5.0], [4.0, 1.0], [4.0, 1.0], [9.0, 9.0]];
        assert_eq!(front(&points.map(Vec::from)), [0, 1, 4, 5]);
        assert_eq!(front(&[]), Vec::<usize>::new());
    }

    #[test]
    fn it_is_that_of_the_definition() {
        // A drawn set of points in three dimensions, with ties.
        let mut state = 12_345_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 60) as f64
        };
        for _ in 0..20 {
            let points: Vec<Vec<f64>> = (0..80).map(|_| vec![next(), next(), next()]).collect();
            let unbeaten = |at: &usize| !points.iter().any(|other| beats(other, &points[*at]));
            assert_eq!(front(&points), (0..80).filter(unbeaten).collect::<Vec<_>>());
        }
    }
}
