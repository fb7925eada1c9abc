//! How many bytes cores read or write in a time: the protocol of OptaneStudy's bandwidth tests (Yang et al., FAST 2020).
//!
//! Each thread has a core and a range of memory of its own. It makes accesses of some size one after another, to the next place or
//! to a random one, without a fence; of a core's lines as many are under way as it has fill buffers. What is counted are the lines
//! of a stretch of simulated time, after a shorter one in which threads begin, one after the other, and queues and buffers fill.
//!
//! Loads and stores mixed are those of Intel's Memory Latency Checker: the stores are ordinary ones, for which a line is read, and
//! which is written when it has to leave the caches. Counted is what the controllers read and write, after the caches have filled.

use std::cell::{Cell, RefCell};
use std::pin::Pin;

use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_traces::generate::SplitMix;
use daxsim_types::{LINE_BYTES, Time};

use super::ProbeError;
use super::device::{Device, Medium, Store, check_whole};
use crate::engine::Lines;

/// Memory of a thread at most: LATTester's 2 GiB.
const MOST_OF_A_THREAD: u64 = 2 << 30;
/// Bytes asked for, for each byte of the caches, until these are as they stay.
const FILLING: u64 = 3;
/// Times that several threads begin: the result is the mean.
const STARTS: u64 = 4;
/// Bytes that a thread reads beyond those, at most: 30 GB/s for the time that is counted.
const ONCE_MORE: u64 = 16 << 20;

/// What accesses do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Load.
    Load,
    /// Store.
    Store(Store),
    /// Loads and stores, so that so many lines are read for one that is written: of a store the line is both.
    Mixed(u8),
}

/// Where accesses go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Places {
    /// One after another.
    Sequential,
    /// Anywhere, at multiples of their size.
    Random,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bandwidth {
    /// Threads, on the cores from 0 on.
    pub threads: u16,
    /// What they do.
    pub operation: Operation,
    /// Bytes of an access, whole lines.
    pub access: u64,
    /// Where.
    pub places: Places,
    /// What memory.
    pub medium: Medium,
    /// Whether it is that of the last socket, with the cores in the first.
    pub remote: bool,
    /// How long is counted; a quarter as long passes before, in whose first half threads begin.
    pub time: Time,
    /// What random places are drawn from.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BandwidthPoint {
    /// Lines counted, of all threads.
    pub lines: u64,
    /// Gigabytes (10^9) a second.
    pub gb_s: f64,
    /// Bytes that the controllers were sent for each that went to the media (effective write ratio); 0 if none did.
    pub effective_write_ratio: f64,
    /// Bytes read from the media for each that was asked for; 0 if none was.
    pub read_amplification: f64,
    /// Writes that found their queue full, of 1.
    pub stalled_writes: f64,
}

/// What one run gave.
struct Grown {
    lines: u64,
    before: crate::memory::DeviceStats,
    after: crate::memory::DeviceStats,
}

impl Bandwidth {
    /// Measures on machines of its own.
    ///
    /// # Errors
    ///
    /// [`ProbeError`] if accesses are no whole lines, or cores, sockets or memory are missing.
    pub fn run(&self, machine: &MachineSpec, kernel: &KernelSpec) -> Result<BandwidthPoint, ProbeError> {
        let (access, count) = (self.access, machine.cpu.count);
        check_whole("access", access, LINE_BYTES)?;
        let sockets = if self.remote { machine.topology.sockets.max(1) } else { 1 };
        let most = u16::try_from(u32::from(count) / sockets).unwrap_or(count);
        if self.threads == 0 || self.threads > most {
            return Err(ProbeError::Threads { threads: self.threads, count: most });
        }
        // Some numbers of threads stay for long in one of two states, and which depends on how they began.
        let mixed = matches!(self.operation, Operation::Mixed(_));
        let starts = if self.threads == 1 || mixed { 1 } else { STARTS };
        let runs: Result<Vec<Grown>, ProbeError> =
            (0..starts).map(|start| self.run_once(machine, kernel, start)).collect();
        Ok(self.point(&runs?))
    }

    /// The mean of several runs.
    fn point(&self, runs: &[Grown]) -> BandwidthPoint {
        let sum = |field: fn(&Grown) -> u64| runs.iter().map(field).sum::<u64>();
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let grown = |field: fn(&crate::memory::DeviceStats) -> u64| {
            runs.iter().map(|run| field(&run.after) - field(&run.before)).sum::<u64>()
        };
        let n = (runs.len() as u64).max(1);
        let (written, read) = (grown(|s| s.bytes_written), grown(|s| s.bytes_read));
        let lines = sum(|run| run.lines);
        let bytes = match self.operation {
            Operation::Mixed(_) => written + read,
            Operation::Load | Operation::Store(_) => lines * LINE_BYTES,
        };
        BandwidthPoint {
            lines: lines / n,
            gb_s: bytes as f64 / (n as f64 * self.time.as_ns()),
            effective_write_ratio: share(written, grown(|s| s.media_bytes_written)),
            read_amplification: share(grown(|s| s.media_bytes_read), read),
            stalled_writes: share(grown(|s| s.stalls), grown(|s| s.writes)),
        }
    }

    fn run_once(&self, machine: &MachineSpec, kernel: &KernelSpec, start: u64) -> Result<Grown, ProbeError> {
        let access = self.access;
        let device = Device::new(machine, kernel, self.medium, self.remote)?;
        let own = (device.bytes() / u64::from(self.threads)).min(MOST_OF_A_THREAD) / access * access;
        device.check_room(access * u64::from(self.threads))?;
        let mixed = matches!(self.operation, Operation::Mixed(_));
        let filling = if mixed { FILLING * self.caches(machine) / LINE_BYTES } else { 0 };
        let filling = filling / u64::from(self.threads);
        let counted = Cell::new(0);
        let begin = Cell::new(if filling == 0 { Time(self.time.0 / 4) } else { Time(u64::MAX / 2) });
        if self.remote {
            self.were_read_before(&device, own, filling * LINE_BYTES + ONCE_MORE);
        }
        let snapshots = [RefCell::new(device.stats()), RefCell::new(device.stats())];
        let works = (0..self.threads).map(|thread| {
            // They are started one after the other, and are not in step.
            let late = SplitMix::new((start << 32) + u64::from(thread)).below((self.time.0 / 8).max(1));
            let work =
                self.thread(&device, (thread, Time(late)), [own, filling], (&begin, &counted), &snapshots);
            Box::pin(work) as Pin<Box<dyn Future<Output = ()>>>
        });
        device.run(works.collect())?;
        let [before, after] = [&snapshots[0], &snapshots[1]].map(|stats| *stats.borrow());
        Ok(Grown { lines: counted.get(), before, after })
    }

    /// Instructions for each line, as LATTester's loops have them (`src/kernel/memaccess.c`): in sequence a loop of four for a
    /// line, and ten for an access; at random 13 for the place, and three for each 512 bytes, whose loads are unrolled.
    const fn instructions(&self) -> u32 {
        let lines = (self.access / LINE_BYTES) as u32;
        let all = match self.places {
            Places::Sequential => 10 + 4 * lines,
            Places::Random => 13 + lines + 3 * lines.div_ceil(8),
        };
        all.div_ceil(lines)
    }

    /// Bytes of the caches that the threads fill.
    fn caches(&self, machine: &MachineSpec) -> u64 {
        let threads = u64::from(self.threads);
        let complexes = match machine.topology.cores_per_complex {
            0 => 1,
            cores => threads.div_ceil(u64::from(cores)),
        };
        machine.cache.l3.size * complexes + machine.cache.l2.size * threads
    }

    /// One thread. The first one says when the stretch begins, and looks at the counters when the stretch begins and ends.
    async fn thread(
        &self,
        device: &Device,
        (thread, late): (u16, Time),
        [own, filling]: [u64; 2],
        (begin, counted): (&Cell<Time>, &Cell<u64>),
        snapshots: &[RefCell<crate::memory::DeviceStats>; 2],
    ) {
        let mut lines = device.lines(thread);
        lines.instructions_for_each(self.instructions());
        let mut asked = 0;
        let mut rng = SplitMix::new(self.seed.wrapping_add(u64::from(thread)));
        let (base, places) = (u64::from(thread) * own, own / self.access);
        let mut begun = false;
        lines.spend(late);
        for n in 0_u64.. {
            let at = match self.places {
                Places::Sequential => n % places,
                Places::Random => rng.below(places),
            };
            let start = base + at * self.access;
            for line in (0..self.access).step_by(LINE_BYTES as usize) {
                self.line(&mut lines, device.line(start + line), n).await;
                let now = lines.now();
                asked += 1;
                if asked == filling && thread == 0 {
                    begin.set(now + Time(self.time.0 / 4));
                }
                let (begin, end) = (begin.get(), begin.get() + self.time);
                if now >= begin && now < end {
                    counted.set(counted.get() + 1);
                    if thread == 0 && !std::mem::replace(&mut begun, true) {
                        *snapshots[0].borrow_mut() = device.stats();
                    }
                }
                if now >= end {
                    if thread == 0 {
                        *snapshots[1].borrow_mut() = device.stats();
                    }
                    return;
                }
            }
        }
    }

    /// Threads go through their memory again and again, and this is not the first time: memory has noted that another socket has
    /// what they only load. (What they store, they have written back.) Of places in sequence, the first `bytes` of each thread.
    fn were_read_before(&self, device: &Device, own: u64, bytes: u64) {
        let accesses = match (self.places, self.operation) {
            (Places::Random, _) | (_, Operation::Store(_)) => 0,
            (Places::Sequential, _) => bytes.min(own) / self.access,
        };
        let loads = |thread: u64| {
            let only_loaded = (0..accesses).filter(|n| !self.stores(*n));
            let starts = only_loaded.map(move |n| thread * own + n * self.access);
            starts.flat_map(|start| (start..start + self.access).step_by(LINE_BYTES as usize))
        };
        for thread in 0..u64::from(self.threads) {
            device.sys.with(|m| m.memory.given_before(loads(thread).map(|at| device.line(at))));
        }
    }

    /// Whether access `n` stores.
    const fn stores(&self, n: u64) -> bool {
        match self.operation {
            Operation::Load => false,
            Operation::Store(_) => true,
            Operation::Mixed(reads) => n.is_multiple_of(if reads == 0 { 1 } else { reads as u64 }),
        }
    }

    async fn line(&self, lines: &mut Lines<'_>, line: daxsim_types::CacheLine, n: u64) {
        match self.operation {
            Operation::Store(store) => lines.write(line, store).await,
            Operation::Mixed(_) if self.stores(n) => {
                lines.store(line).await;
            }
            Operation::Load | Operation::Mixed(_) => lines.load(line).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use daxsim_configs::{Override, load_kernel, load_machine};

    use super::*;

    const NT: Bandwidth = Bandwidth {
        threads: 1,
        operation: Operation::Store(Store::NonTemporal),
        access: 256,
        places: Places::Random,
        medium: Medium::Pmem,
        remote: false,
        time: Time(200_000_000),
        seed: 1,
    };

    fn run(bandwidth: Bandwidth, overrides: &[&str]) -> Result<BandwidthPoint, ProbeError> {
        let overrides: Vec<_> = overrides.iter().map(|text| Override::parse(text).unwrap()).collect();
        let machine = load_machine("skylake-sp-optane", &overrides).unwrap();
        bandwidth.run(&machine, &load_kernel("linux-7.2", &[]).unwrap())
    }

    #[test]
    fn a_quarter_of_a_media_line_has_a_quarter_of_the_write_ratio_and_of_the_bandwidth() {
        let point = |access| run(Bandwidth { access, ..NT }, &["pmem.dimms=1"]).unwrap();
        let [quarter, whole] = [64, 256].map(point);
        assert!((0.22..0.28).contains(&quarter.effective_write_ratio), "{quarter:?}");
        assert!((0.9..1.05).contains(&whole.effective_write_ratio), "{whole:?}");
        assert!((3.0..5.0).contains(&(whole.gb_s / quarter.gb_s)), "{quarter:?} {whole:?}");
    }

    #[test]
    fn fill_buffers_bound_the_loads_of_a_core() {
        let load = Bandwidth { operation: Operation::Load, medium: Medium::Dram, ..NT };
        let gb_s = |set: &[&str]| run(load, set).unwrap().gb_s;
        let (five, ten) = (gb_s(&["cpu.fill_buffers=5"]), gb_s(&["cpu.fill_buffers=10"]));
        assert!((1.8..2.2).contains(&(ten / five)), "{five} {ten}");
        let threads = run(Bandwidth { threads: 4, ..load }, &["cpu.fill_buffers=10"]).unwrap().gb_s;
        assert!((3.5..4.1).contains(&(threads / ten)), "{ten} {threads}");
    }

    #[test]
    fn buffers_of_nt_stores_are_kept_after_their_lines_are_accepted() {
        let nt = Bandwidth { medium: Medium::Dram, places: Places::Sequential, ..NT };
        let gb_s =
            |ns: u32| run(nt, &["cpu.fill_buffers=10", &format!("cpu.nt_release={ns} ns")]).unwrap().gb_s;
        let [none, much] = [0, 1000].map(gb_s);
        let lines = 10.0 * 64.0;
        let hold = lines / much - lines / none;
        assert!((950.0..1050.0).contains(&hold), "{hold} ns more for a line");
    }

    #[test]
    fn memory_of_another_socket_is_slower_to_load() {
        let load = Bandwidth { operation: Operation::Load, ..NT };
        let two = ["topology.sockets=2", "topology.remote_memory=80 ns"];
        let [local, remote] =
            [false, true].map(|remote| run(Bandwidth { remote, ..load }, &two).unwrap().gb_s);
        assert!(remote < 0.9 * local, "{local} {remote}");
        assert_eq!(run(Bandwidth { remote: true, ..NT }, &[]), Err(ProbeError::OneSocket));
    }

    #[test]
    fn more_threads_than_cores_are_refused() {
        assert_eq!(
            run(Bandwidth { threads: 25, ..NT }, &[]),
            Err(ProbeError::Threads { threads: 25, count: 24 })
        );
    }
}
