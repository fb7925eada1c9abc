//! Where the accesses of a block stand among those of all threads.
//!
//! Runs between which other threads have accesses, as pairs of numbers in 7 bits a byte: the accesses of others since the run
//! before (at first since the begin of the trace), and how many the run has.

use super::varint;
use crate::access::OrderRun;

/// The column of runs.
pub(super) fn encode(runs: &[OrderRun], column: &mut Vec<u8>) {
    let mut end = 0;
    for run in runs {
        varint::put(run.first.wrapping_sub(end), column);
        varint::put(run.count, column);
        end = run.first.wrapping_add(run.count);
    }
}

/// Replaces `runs` by those of a column, which has `records` accesses in all. What is wrong, if anything is.
pub(super) fn decode(mut column: &[u8], records: u64, runs: &mut Vec<OrderRun>) -> Result<(), String> {
    runs.clear();
    let (mut end, mut left) = (0_u64, records);
    while !column.is_empty() {
        let (skipped, count) = match (varint::take(&mut column), varint::take(&mut column)) {
            (Some(skipped), Some(count)) => (skipped, count),
            _ => return Err("a run without an end".into()),
        };
        if count == 0 || count > left {
            return Err(format!("a run of {count} accesses, where {left} are left"));
        }
        let first = end.checked_add(skipped);
        let Some((first, next)) = first.and_then(|first| Some((first, first.checked_add(count)?))) else {
            return Err("a run beyond all numbers".into());
        };
        runs.push(OrderRun { first, count });
        (end, left) = (next, left - count);
    }
    if left > 0 {
        return Err(format!("{left} accesses without a run"));
    }
    Ok(())
}

/// Appends accesses that follow the runs so far.
pub(super) fn append(runs: &mut Vec<OrderRun>, more: OrderRun) {
    match runs.last_mut() {
        Some(last) if last.first + last.count == more.first => last.count += more.count,
        _ => runs.push(more),
    }
}

/// The part of runs that has the accesses `from..from + count`.
pub(super) fn part(runs: &[OrderRun], mut from: u64, mut count: u64) -> impl Iterator<Item = OrderRun> + '_ {
    runs.iter().filter_map(move |run| {
        let skipped = from.min(run.count);
        from -= skipped;
        let taken = (run.count - skipped).min(count);
        count -= taken;
        (taken > 0).then_some(OrderRun { first: run.first + skipped, count: taken })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(first: u64, count: u64) -> OrderRun {
        OrderRun { first, count }
    }

    #[test]
    fn runs_are_stored_as_what_lies_between_them() {
        let mut column = Vec::new();
        encode(&[run(5, 2), run(8, 200)], &mut column);
        assert_eq!(column, [5, 2, 1, 0xc8, 1]);
    }

    #[test]
    fn runs_that_do_not_agree_are_refused() {
        let refused = |column: &[u8]| decode(column, 3, &mut Vec::new()).unwrap_err();
        assert_eq!(refused(&[0, 2]), "1 accesses without a run");
        assert_eq!(refused(&[0, 4]), "a run of 4 accesses, where 3 are left");
        assert_eq!(refused(&[0, 0]), "a run of 0 accesses, where 3 are left");
        assert_eq!(refused(&[0]), "a run without an end");
        let far = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 3];
        assert_eq!(refused(&far), "a run beyond all numbers");
    }

    #[test]
    fn a_part_of_runs_is_that_of_its_accesses() {
        let runs = [run(0, 4), run(10, 2), run(20, 5)];
        assert_eq!(part(&runs, 3, 4).collect::<Vec<_>>(), [run(3, 1), run(10, 2), run(20, 1)]);
        assert_eq!(part(&runs, 6, 9).collect::<Vec<_>>(), [run(20, 5)]);
        assert_eq!(part(&runs, 0, 0).count(), 0);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(gaps in prop::collection::vec((1_u64..1 << 40, 1_u64..300), 0..50)) {
            let mut end = 0;
            let runs: Vec<OrderRun> = gaps.iter().map(|(skipped, count)| {
                let first = end + skipped;
                end = first + count;
                run(first, *count)
            }).collect();
            let (mut column, mut decoded) = (Vec::new(), Vec::new());
            encode(&runs, &mut column);
            decode(&column, runs.iter().map(|run| run.count).sum(), &mut decoded).unwrap();
            prop_assert_eq!(decoded, runs);
        }
    }
}
