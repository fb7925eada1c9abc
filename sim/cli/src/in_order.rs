//! Work on several host threads, whose results come in the order in which it was asked for.

use anyhow::Result;
use rayon::prelude::*;

/// Does each of `jobs`, `threads` at a time, those of the largest `cost` first, so that no thread is left with one at the end.
pub fn in_order<J: Sync, R: Send>(
    jobs: &[J],
    threads: u16,
    cost: impl Fn(&J) -> u64,
    one: impl Fn(&J) -> R + Sync,
) -> Result<Vec<R>> {
    let mut queue: Vec<(usize, &J)> = jobs.iter().enumerate().collect();
    queue.sort_by_key(|(_, job)| std::cmp::Reverse(cost(job)));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(usize::from(threads)).build()?;
    let mut done: Vec<(usize, R)> =
        pool.install(|| queue.par_iter().with_max_len(1).map(|(at, job)| (*at, one(job))).collect());
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs_whatever_they_cost() {
        let jobs: Vec<u64> = (0..20).map(|n| n * 7 % 20).collect();
        for threads in [1, 3] {
            assert_eq!(
                in_order(&jobs, threads, |job| *job, |job| job + 1).unwrap(),
                jobs.iter().map(|n| n + 1).collect::<Vec<_>>()
            );
        }
    }
}
