//! How far a sweep is, on standard error.

use std::io::IsTerminal;
use std::process::ExitStatus;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

/// How often a line is written where there is no terminal.
const EVERY: Duration = Duration::from_secs(10);

/// The time of the host, for progress, the syncing of journals, and what others did meanwhile: no result depends on it.
#[expect(clippy::disallowed_methods, reason = "the host's time, not the simulated one")]
pub fn now() -> Instant {
    Instant::now()
}

/// Points run and to be run.
pub struct Progress {
    bar: Option<ProgressBar>,
    state: Mutex<State>,
    total: usize,
    start: Instant,
}

struct State {
    ran: usize,
    passed: usize,
    told: Instant,
}

impl Progress {
    /// Of so many points.
    pub fn new(total: usize) -> Self {
        let now = now();
        let state = Mutex::new(State { ran: 0, passed: 0, told: now });
        Self { bar: std::io::stderr().is_terminal().then(|| bar(total)), state, total, start: now }
    }

    /// One was run.
    pub fn ran(&self) {
        self.step(true);
    }

    /// One was finished by somebody else.
    pub fn passed(&self) {
        self.step(false);
    }

    fn step(&self, ran: bool) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
        let Ok(mut state) = self.state.lock() else { return };
        state.ran += usize::from(ran);
        state.passed += usize::from(!ran);
        if self.bar.is_none() && state.told.elapsed() >= EVERY {
            state.told = now();
            output::note(&line(state.ran, state.passed, self.total, self.start.elapsed()));
        }
    }

    /// A line beside the bar.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::note(text)),
            None => output::note(text),
        }
    }

    /// All are done.
    pub fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(total: usize) -> ProgressBar {
    let bar = ProgressBar::new(total as u64);
    let template = "{wide_bar} {pos} of {len} points, {per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn line(ran: usize, passed: usize, total: usize, time: Duration) -> String {
    let rate = ran as f64 / time.as_secs_f64().max(1e-3);
    let left = (total - (ran + passed).min(total)) as f64 / rate.max(1e-9);
    format!("daxsim: {} of {total} points, {rate:.1} a second, {} left", ran + passed, duration(left))
}

/// A length of time as people say it.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.min(1e9).round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// How a process ended.
pub fn status(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return format!("signal {signal}");
    }
    status.code().map_or_else(|| "no status".to_owned(), |code| format!("status {code}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_rate_and_time_left() {
        let text = line(30, 10, 100, Duration::from_secs(20));
        assert_eq!(text, "daxsim: 40 of 100 points, 1.5 a second, 40 s left");
        assert_eq!([59.6, 61.0, 7260.0].map(duration), ["1 min 0 s", "1 min 1 s", "2 h 1 min"]);
    }
}
