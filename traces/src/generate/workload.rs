//! Workloads that are calls rather than accesses, as scripts for `daxsim replay`.
//!
//! Each is a file of some pages, mapped shared in pages of 4 KiB, whose pages are stored to in an order drawn from a seed. How many
//! faults a script takes follows from its numbers; [`Workload::faults`] has the arithmetic.

use std::fmt::{self, Write};

use super::SplitMix;

/// Where the file is mapped.
const MAP_AT: u64 = 0x1000_0000_0000;
/// Bytes of a page.
const PAGE: u64 = 4096;
/// Accesses of a line of a script.
const LINE: usize = 64;

/// What a script does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Every page is loaded, then in each round stored to by one of the threads, all at once, and written back by msync.
    MkwriteStorm,
    /// Every page is loaded, then in each round one thread stores to `dirty` of them and calls msync; the others look on in user mode.
    MsyncLoop {
        /// Pages stored to in a round.
        dirty: u64,
    },
    /// Every page is stored to, then in each round the process forks, and its child stores to every page and exits.
    Fork,
    /// Every page is stored to; in each round the other threads load and store in the upper half of the file while thread 0 cuts it off
    /// and makes it as long as before.
    TruncateRace,
    /// In each round all threads store to all pages, each in an order of its own, and the first calls msync.
    Contention,
}

/// A workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// What it does.
    pub kind: Kind,
    /// Pages of the file, 2 to 65,536.
    pub pages: u64,
    /// Rounds, 1 to 10,000.
    pub rounds: u64,
    /// Threads, each on a CPU of its own, 1 to 256.
    pub threads: u64,
    /// Seed of the orders.
    pub seed: u64,
}

/// How many faults a workload takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Of loads.
    pub read: u64,
    /// Of stores to pages that are mapped read-only.
    pub mkwrite: u64,
    /// Of stores to pages that are not mapped.
    pub write: u64,
}

impl Workload {
    /// How many faults it takes, if no race decides about it.
    #[must_use]
    pub const fn faults(&self) -> Option<Faults> {
        let Self { kind, pages, rounds, .. } = *self;
        match kind {
            // Loads map read-only; msync makes that of it again.
            Kind::MkwriteStorm => Some(Faults { read: pages, mkwrite: pages * rounds, write: 0 }),
            Kind::MsyncLoop { dirty } => Some(Faults { read: pages, mkwrite: dirty * rounds, write: 0 }),
            // fork copies no entries of a shared file mapping: each child has its own to make.
            Kind::Fork => Some(Faults { read: 0, mkwrite: 0, write: pages * (1 + rounds) }),
            Kind::TruncateRace | Kind::Contention => None,
        }
    }

    /// The script.
    #[must_use]
    pub fn script(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let Self { pages, threads, .. } = *self;
        let mut rng = SplitMix::new(self.seed);
        writeln!(out, "# {}", self.title())?;
        write!(out, "@threads {threads}")?;
        (0..threads).try_for_each(|cpu| write!(out, " {cpu}"))?;
        let bytes = pages * PAGE;
        writeln!(out, "\n@seq\n0 file 0 f0 {bytes} fill")?;
        writeln!(out, "0 map 0 0 0 {bytes} rw shared {MAP_AT:#x}")?;
        writeln!(out, "0 madv 0 0 {bytes} nohugepage")?;
        match self.kind {
            Kind::MkwriteStorm => self.mkwrite_storm(&mut rng, out),
            Kind::MsyncLoop { dirty } => self.msync_loop(dirty, &mut rng, out),
            Kind::Fork => self.fork(&mut rng, out),
            Kind::TruncateRace => self.truncate_race(&mut rng, out),
            Kind::Contention => self.contention(&mut rng, out),
        }
    }

    fn title(&self) -> String {
        let Self { pages, rounds, threads, seed, .. } = *self;
        let what = match self.kind {
            Kind::MkwriteStorm => "mkwrite storm".into(),
            Kind::MsyncLoop { dirty } => format!("msync loop, {dirty} pages dirty"),
            Kind::Fork => "fork".into(),
            Kind::TruncateRace => "truncate race".into(),
            Kind::Contention => "shared-write contention".into(),
        };
        let faults = match self.faults() {
            Some(Faults { read, mkwrite, write }) => {
                format!("; faults: {read} read, {mkwrite} mkwrite, {write} write")
            }
            None => String::new(),
        };
        format!("{what}: {pages} pages, {rounds} rounds, {threads} threads, seed {seed}{faults}")
    }

    fn mkwrite_storm(&self, rng: &mut SplitMix, out: &mut String) -> fmt::Result {
        accesses(0, 'r', 0..self.pages, out)?;
        for _ in 0..self.rounds {
            let order = shuffled(rng, self.pages);
            writeln!(out, "@par")?;
            for thread in 0..self.threads {
                // Every page has one thread that stores to it.
                let own = order.iter().copied().filter(|page| page % self.threads == thread);
                accesses(thread, 'w', own, out)?;
            }
            writeln!(out, "@seq\n0 msync 0 0 {}", self.pages * PAGE)?;
        }
        Ok(())
    }

    fn msync_loop(&self, dirty: u64, rng: &mut SplitMix, out: &mut String) -> fmt::Result {
        // Threads that have run in the address space get its shootdowns.
        (0..self.threads).try_for_each(|thread| accesses(thread, 'r', 0..self.pages, out))?;
        for _ in 0..self.rounds {
            let order = shuffled(rng, self.pages);
            accesses(0, 'w', order.into_iter().take(usize::try_from(dirty).unwrap_or(usize::MAX)), out)?;
            writeln!(out, "0 msync 0 0 {}", self.pages * PAGE)?;
        }
        Ok(())
    }

    fn fork(&self, rng: &mut SplitMix, out: &mut String) -> fmt::Result {
        accesses(0, 'w', shuffled(rng, self.pages), out)?;
        for round in 0..self.rounds {
            let child = self.threads + round;
            writeln!(out, "0 fork {child}")?;
            accesses(child, 'w', shuffled(rng, self.pages), out)?;
            writeln!(out, "{child} exit\n0 wait {child}")?;
        }
        Ok(())
    }

    fn truncate_race(&self, rng: &mut SplitMix, out: &mut String) -> fmt::Result {
        accesses(0, 'w', shuffled(rng, self.pages), out)?;
        let half = self.pages / 2;
        for _ in 0..self.rounds {
            writeln!(out, "@par")?;
            writeln!(out, "0 trunc 0 {}\n0 trunc 0 {}", half * PAGE, self.pages * PAGE)?;
            for thread in 1..self.threads {
                let kind = if rng.below(2) == 0 { 'r' } else { 'w' };
                let upper = shuffled(rng, self.pages - half).into_iter().map(|page| page + half);
                accesses(thread, kind, upper, out)?;
            }
        }
        Ok(())
    }

    fn contention(&self, rng: &mut SplitMix, out: &mut String) -> fmt::Result {
        for _ in 0..self.rounds {
            writeln!(out, "@par")?;
            (0..self.threads).try_for_each(|thread| accesses(thread, 'w', shuffled(rng, self.pages), out))?;
            writeln!(out, "@seq\n0 msync 0 0 {}", self.pages * PAGE)?;
        }
        Ok(())
    }
}

/// Lines that access the first byte of pages.
fn accesses(thread: u64, kind: char, pages: impl IntoIterator<Item = u64>, out: &mut String) -> fmt::Result {
    let mut room = 0;
    let mut begun = false;
    for page in pages {
        if room == 0 {
            let end = if begun { "\n" } else { "" };
            write!(out, "{end}{thread} acc 0")?;
            (room, begun) = (LINE, true);
        }
        write!(out, " {kind}{:#x}", page * PAGE)?;
        room -= 1;
    }
    if begun { writeln!(out) } else { Ok(()) }
}

/// The numbers below `n` in an order from the seed (Fisher and Yates).
fn shuffled(rng: &mut SplitMix, n: u64) -> Vec<u64> {
    let mut order: Vec<u64> = (0..n).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, rng.below(at as u64 + 1) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::script::{Op, Script};

    const KINDS: [Kind; 5] =
        [Kind::MkwriteStorm, Kind::MsyncLoop { dirty: 3 }, Kind::Fork, Kind::TruncateRace, Kind::Contention];

    fn workload(kind: Kind) -> Workload {
        Workload { kind, pages: 150, rounds: 3, threads: 4, seed: 42 }
    }

    #[test]
    fn every_workload_is_a_script() {
        for kind in KINDS {
            let text = workload(kind).script();
            let script = Script::parse(&text, Path::new("w")).unwrap();
            assert_eq!(script.threads.len(), 4, "{kind:?}");
            assert!(script.title.unwrap().contains("150 pages, 3 rounds, 4 threads, seed 42"));
        }
    }

    #[test]
    fn a_seed_gives_one_order_and_another_seed_another() {
        for kind in KINDS {
            let of = |seed| Workload { seed, ..workload(kind) }.script();
            assert_eq!(of(1), of(1));
            assert_ne!(of(1), of(2), "{kind:?}");
        }
    }

    #[test]
    fn a_storm_stores_to_each_page_once_a_round() {
        let text = workload(Kind::MkwriteStorm).script();
        let script = Script::parse(&text, Path::new("w")).unwrap();
        let mut stores = vec![0; 150];
        for line in script.lines() {
            if let Op::Acc { accesses, .. } = &line.op {
                let writes = accesses.iter().filter(|access| access.kind.is_write());
                writes.for_each(|access| stores[(access.off / PAGE) as usize] += 1);
            }
        }
        assert_eq!(stores, [3; 150]);
    }

    #[test]
    fn shuffling_keeps_every_number() {
        let mut order = shuffled(&mut SplitMix::new(3), 100);
        assert_ne!(order, (0..100).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }
}
