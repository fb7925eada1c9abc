//! How long something took.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Repetitions; the best counts.
pub const REPETITIONS: u32 = 3;

/// CPU time of this process so far, all threads.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

/// CPU seconds that `run` took on what `prepare` made, the best of [`REPETITIONS`], and what the last run returned.
pub fn best_cpu<P, R>(mut prepare: impl FnMut() -> P, mut run: impl FnMut(P) -> R) -> (f64, R) {
    let mut once = || {
        let prepared = prepare();
        let start = cpu_time();
        let result = run(prepared);
        ((cpu_time() - start).as_secs_f64(), result)
    };
    let (mut best, mut result) = once();
    for _ in 1..REPETITIONS {
        let (seconds, last) = once();
        best = best.min(seconds);
        result = last;
    }
    (best, result)
}

/// Wall seconds of `run`, the best of `repetitions`.
pub fn best_wall(repetitions: u32, mut run: impl FnMut()) -> f64 {
    let once = |_| {
        // A benchmark measures the host's time.
        #[allow(clippy::disallowed_methods)]
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    (0..repetitions).map(once).fold(f64::INFINITY, f64::min)
}

/// Wall seconds that `run` took on what `prepare` made, the best of [`REPETITIONS`].
pub fn best_wall_of<P>(mut prepare: impl FnMut() -> P, mut run: impl FnMut(P)) -> f64 {
    let once = |_| {
        let mut prepared = Some(prepare());
        best_wall(1, || prepared.take().into_iter().for_each(&mut run))
    };
    (0..REPETITIONS).map(once).fold(f64::INFINITY, f64::min)
}
