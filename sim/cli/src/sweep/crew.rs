//! Workers that share what is left to be done, and hand pieces of it to each other.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

use anyhow::{Result, anyhow};

/// What is to be done.
struct Left<T> {
    pieces: VecDeque<Vec<T>>,
    /// Workers that do a piece.
    busy: usize,
    /// Workers that wait for one.
    idle: usize,
    /// A worker failed: nothing more is begun.
    failed: bool,
}

/// Workers and the pieces that are left.
pub struct Crew<T> {
    left: Mutex<Left<T>>,
    changed: Condvar,
}

impl<T> Crew<T> {
    /// So many pieces.
    pub fn new(pieces: Vec<Vec<T>>) -> Self {
        let left = Left { pieces: pieces.into(), busy: 0, idle: 0, failed: false };
        Self { left: Mutex::new(left), changed: Condvar::new() }
    }

    /// What one worker does: takes a piece, does some of it and puts back the rest, as long as there is anything.
    pub fn work(&self, does: impl Fn(Vec<T>) -> Result<Vec<T>>) -> Result<()> {
        while let Some(piece) = self.take()? {
            let rest = does(piece);
            let mut left = self.locked()?;
            left.busy -= 1;
            match rest {
                Ok(rest) => left.put(rest),
                Err(error) => {
                    left.failed = true;
                    self.changed.notify_all();
                    return Err(error);
                }
            }
            self.changed.notify_all();
        }
        Ok(())
    }

    fn locked(&self) -> Result<MutexGuard<'_, Left<T>>> {
        self.left.lock().map_err(|_| anyhow!("a worker broke off"))
    }

    /// The next piece, once there is one; `None` if there will be none.
    fn take(&self) -> Result<Option<Vec<T>>> {
        let mut left = self.locked()?;
        loop {
            if left.failed {
                return Ok(None);
            }
            if let Some(mut piece) = left.pieces.pop_front() {
                left.busy += 1;
                // Who waits gets half of the last piece.
                if left.pieces.is_empty() && left.idle > 0 {
                    let half = piece.split_off(piece.len().div_ceil(2));
                    left.put(half);
                    self.changed.notify_all();
                }
                return Ok(Some(piece));
            }
            if left.busy == 0 {
                return Ok(None);
            }
            left.idle += 1;
            left = self.changed.wait(left).map_err(|_| anyhow!("a worker broke off"))?;
            left.idle -= 1;
        }
    }
}

impl<T> Left<T> {
    /// Puts a piece in front: what has been begun is finished first.
    fn put(&mut self, piece: Vec<T>) {
        if !piece.is_empty() {
            self.pieces.push_front(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use anyhow::bail;

    use super::*;

    #[test]
    fn everything_is_done_once_by_however_many() {
        for workers in [1, 2, 7] {
            let crew = Crew::new(vec![(0..50).collect(), vec![50], (51..60).collect::<Vec<usize>>()]);
            let done = Mutex::new(Vec::new());
            let work = |mut piece: Vec<usize>| {
                // One in three stays.
                let now: Vec<usize> = piece.extract_if(.., |n| *n % 3 != 1).collect();
                let now = if now.is_empty() { std::mem::take(&mut piece) } else { now };
                done.lock().unwrap().extend(now);
                thread::yield_now();
                Ok(piece)
            };
            thread::scope(|scope| {
                (0..workers).for_each(|_| drop(scope.spawn(|| crew.work(work).unwrap())));
            });
            let mut done = done.into_inner().unwrap();
            done.sort_unstable();
            assert_eq!(done, (0..60).collect::<Vec<_>>());
        }
    }

    #[test]
    fn who_waits_gets_half_of_the_last_piece() {
        let of = |pieces: &[usize], idle: usize| {
            let crew = Crew::new(pieces.iter().map(|length| vec![0; *length]).collect());
            crew.locked().unwrap().idle = idle;
            let taken = crew.take().unwrap().unwrap().len();
            let left = crew.left.into_inner().unwrap();
            (taken, left.pieces.iter().map(Vec::len).collect::<Vec<_>>())
        };
        assert_eq!(of(&[8], 1), (4, vec![4]));
        assert_eq!(of(&[7], 2), (4, vec![3]));
        assert_eq!(of(&[1], 1), (1, vec![]), "a point is not divided");
        assert_eq!(of(&[8], 0), (8, vec![]), "nobody waits");
        assert_eq!(of(&[8, 2], 1), (8, vec![2]), "there is another piece for who waits");
    }

    #[test]
    fn nothing_is_begun_after_a_failure() {
        let crew = Crew::new(vec![vec![1], vec![2], vec![3]]);
        let begun = AtomicUsize::new(0);
        let failed = crew.work(|_| {
            begun.fetch_add(1, Ordering::Relaxed);
            bail!("no")
        });
        assert!(failed.is_err() && crew.work(|_| Ok(Vec::new())).is_ok());
        assert_eq!(begun.into_inner(), 1);
    }
}
