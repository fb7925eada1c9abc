//! String operations: `rep stos`, `rep movs`, runs of non-temporal stores. Their lines are independent of one another, so a core
//! has as many of them in flight as it has fill buffers. What they fill they need not read (`cpu.string_stores`).

use daxsim_configs::machine::StringStores;
use daxsim_types::{CacheLine, LINE_BYTES, PageSize, Pfn, Time};

use super::Cx;
use crate::measure::Part;
use crate::memory::Access;

/// A running string operation of one CPU. Its lines go out in order, each as soon as a fill buffer is free; it ends when the last
/// of them is there. How fast they come is up to the devices, whose channels and queues are busy for the length of each.
#[must_use = "an operation ends with `finish`"]
pub(crate) struct StringOp<'s> {
    cx: Cx<'s>,
    /// What a line takes if the L1D holds it.
    issue: Time,
    /// What it asks for a line that it stores to.
    store: Access,
    buffers: usize,
    /// When each line in flight will be there.
    in_flight: Vec<Time>,
}

impl<'s> StringOp<'s> {
    /// One instruction, which knows what it will store.
    pub(super) fn string(cx: Cx<'s>) -> Self {
        let (issue, stores) = cx.with(|m| (m.spec.cost.string_line, m.spec.cpu.string_stores));
        let store = if stores == StringStores::Own { Access::WriteLine } else { Access::Write };
        Self::new(cx, issue, store)
    }

    /// A run of ordinary stores, whose instructions are counted elsewhere.
    pub(super) fn stores(cx: Cx<'s>) -> Self {
        Self::new(cx, Time::ZERO, Access::Write)
    }

    fn new(cx: Cx<'s>, issue: Time, store: Access) -> Self {
        let buffers = cx.with(|m| m.spec.cpu.fill_buffers.max(1) as usize);
        Self { cx, issue, store, buffers, in_flight: Vec::new() }
    }

    /// Loads a line.
    pub(crate) async fn load(&mut self, line: CacheLine) {
        self.access(line, Access::Read).await;
    }

    /// Stores a whole line.
    pub(crate) async fn store(&mut self, line: CacheLine) {
        self.access(line, self.store).await;
    }

    /// Stores all lines of a page.
    pub(crate) async fn store_page(&mut self, frame: Pfn) {
        for line in 0..PageSize::Size4K.bytes() / LINE_BYTES {
            self.store(CacheLine(frame.addr().line().0 + line)).await;
        }
    }

    /// Stores a line past the caches; it is in flight until its controller has accepted it.
    pub(crate) async fn nt_store(&mut self, line: CacheLine) {
        self.cx.map_on_host(line.addr().pfn()).await;
        self.free_buffer().await;
        let accepted = self.cx.with(|m| m.kernel_nt_store(self.cx.cpu().index(), line));
        self.fly(accepted);
        self.cx.spend(self.issue);
    }

    /// Waits until every line is there.
    pub(crate) fn finish(mut self) {
        self.drain();
    }

    /// Waits until every line so far is there, and goes on.
    pub(crate) fn drain(&mut self) {
        if let Some(last) = self.in_flight.iter().max() {
            self.cx.on_cpu(|c| c.wait_until(*last, Part::Memory));
        }
        self.in_flight.clear();
    }

    async fn access(&mut self, line: CacheLine, access: Access) {
        let index = self.cx.cpu().index();
        self.cx.sys().stall(index);
        self.cx.map_on_host(line.addr().pfn()).await;
        self.cx.sync().await;
        let issue = self.issue;
        let hit = self.cx.with(|m| {
            let hit = m.memory.try_l1(index, m.host_line(line), access.is_write());
            if hit {
                m.cpus[index].spend(issue);
            }
            hit
        });
        if hit {
            return;
        }
        if self.in_flight.len() >= self.buffers {
            self.free_buffer().await;
        }
        self.cx.with(|m| {
            let now = m.cpus[index].now;
            self.in_flight.retain(|there| *there > now);
            let there = m.kernel_access_in_flight(index, line, access);
            if there > now {
                self.in_flight.push(there);
            }
            m.cpus[index].spend(issue);
        });
    }

    /// Waits for a free fill buffer.
    async fn free_buffer(&mut self) {
        if self.in_flight.len() >= self.buffers
            && let Some(first) = self.in_flight.iter().min()
        {
            self.cx.on_cpu(|c| c.wait_until(*first, Part::Memory));
        }
        self.cx.sync().await;
        let now = self.cx.now();
        self.in_flight.retain(|there| *there > now);
    }

    fn fly(&mut self, there: Time) {
        if there > self.cx.now() {
            self.in_flight.push(there);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use daxsim_configs::{Override, load_kernel, load_machine};
    use daxsim_types::{CpuId, FileSystem};

    use super::*;
    use crate::Machine;
    use crate::engine::{Sys, Task, run};

    const LINES: u64 = 64;
    const CYCLE: Time = Time(455);
    /// The right to write a line that no cache has: the L3's 77 cycles, less the 4 of the L1D.
    const OWN: Time = Time(73 * CYCLE.0);
    /// A load that misses every cache, 81.4 ns, less the 4 cycles of the L1D.
    const MISS: Time = Time(81_400 - 4 * 455);
    /// 64 bytes at 21.3 GB/s.
    const OCCUPANCY: f64 = 64.0 / 21.3;
    const READ: &str = "cpu.string_stores=read";
    const DRAM: u64 = 1 << 20;

    #[derive(Clone, Copy)]
    enum Kind {
        Store,
        NonTemporal,
        /// `rep movs`, from the pages behind.
        Copy,
    }

    /// What `times` operations over the lines of a page take, one after another: each in all, and as memory time. `step` lines lie
    /// between their beginnings.
    fn operations(overrides: &[&str], kind: Kind, (times, step): (u64, u64)) -> Vec<(Time, Time)> {
        // Every line of memory costs the same.
        let overrides = overrides.iter().chain(&["dram.timing=flat"]);
        let overrides: Vec<_> = overrides.map(|o| Override::parse(o).unwrap()).collect();
        let machine = load_machine("skylake-sp-optane", &overrides).unwrap();
        let first = match kind {
            Kind::Store | Kind::Copy => DRAM,
            Kind::NonTemporal => machine.pmem.base / LINE_BYTES,
        };
        let kernel = load_kernel("linux-7.2", &[]).unwrap();
        let sys = Sys::new(Machine::new(machine, kernel, FileSystem::Ext4));
        let cx = Cx::new(&sys, CpuId(0));
        let mut taken = Vec::new();
        let work: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async {
            for page in (0..times).map(|n| first + n * step) {
                let before = cx.on_cpu(|c| (c.now, c.parts[Part::Memory]));
                let mut op = cx.string_op();
                for line in (page..page + LINES).map(CacheLine) {
                    match kind {
                        Kind::Store => op.store(line).await,
                        Kind::NonTemporal => op.nt_store(line).await,
                        Kind::Copy => {
                            op.load(CacheLine(line.0 + DRAM)).await;
                            op.store(line).await;
                        }
                    }
                }
                op.finish();
                let after = cx.on_cpu(|c| (c.now, c.parts[Part::Memory]));
                taken.push((after.0 - before.0, after.1 - before.1));
            }
        });
        run(&sys, vec![Task { cpu: CpuId(0), work }]).unwrap();
        taken
    }

    fn cold_page(overrides: &[&str]) -> f64 {
        operations(overrides, Kind::Store, (1, 0))[0].0.as_ns()
    }

    #[test]
    fn with_one_fill_buffer_every_line_costs_its_miss_or_the_right_to_write_it() {
        for (stores, each) in [(READ, MISS), ("cpu.string_stores=own", OWN)] {
            let all = each.as_ns() * LINES as f64;
            assert!((cold_page(&["cpu.fill_buffers=1", stores]) / all - 1.0).abs() < 0.001, "{stores}");
        }
    }

    #[test]
    fn two_mebibytes_are_zeroed_as_fast_as_the_fill_buffers_get_lines() {
        let speed = |overrides: &[&str]| {
            let pages = operations(overrides, Kind::Store, (512, LINES));
            let taken: Time = pages.iter().map(|(all, _)| *all).sum();
            (512 * LINES * LINE_BYTES) as f64 / taken.as_ns()
        };
        for buffers in [10, 12] {
            let of = format!("cpu.fill_buffers={buffers}");
            // Little's law, in GB/s: 23 with 12 buffers, and 9.7 if the lines are read. A page's last lines are waited for.
            let paper = |latency: Time| f64::from(buffers) * LINE_BYTES as f64 / latency.as_ns();
            let (own, read) = (speed(&[&of]), speed(&[&of, READ]));
            assert!((0.8 * paper(OWN)..paper(OWN)).contains(&own), "{buffers} buffers: {own} GB/s");
            assert!((0.8 * paper(MISS)..paper(MISS)).contains(&read), "{buffers} buffers: {read} GB/s");
        }
    }

    #[test]
    fn a_copy_takes_its_loads_and_its_stores_from_the_same_buffers() {
        let taken = operations(&[], Kind::Copy, (1, 0))[0].0.as_ns();
        let paper = LINES as f64 * (MISS + OWN).as_ns() / 12.0;
        assert!((paper..1.25 * paper).contains(&taken), "{taken} ns, on paper {paper}");
    }

    #[test]
    fn fill_buffers_overlap_the_misses() {
        for buffers in [2, 4, 10, 16] {
            let taken = cold_page(&[&format!("cpu.fill_buffers={buffers}"), READ]);
            let rounds = taken / MISS.as_ns();
            let least = LINES as f64 / f64::from(buffers);
            assert!((least..least.ceil() + 0.6).contains(&rounds), "{buffers} buffers: {rounds} misses");
        }
    }

    #[test]
    fn the_channels_limit_what_the_buffers_do_not() {
        // Six channels: one of them carries eleven of the 64 lines.
        let taken = cold_page(&["cpu.fill_buffers=64", "cost.string_line=0 ns", READ]);
        let expected = MISS.as_ns() + 10.0 * OCCUPANCY;
        assert!((taken - expected).abs() < 1.0, "{taken} ns, expected {expected}");
    }

    #[test]
    fn lines_in_the_l1d_take_only_their_issue() {
        let again = operations(&[], Kind::Store, (2, 0))[1];
        assert_eq!(again, (Time(2 * 455 * LINES), Time::ZERO));
    }

    #[test]
    fn the_waits_are_memory_time() {
        let (all, memory) = operations(&["cost.string_line=0 ns"], Kind::Store, (1, 0))[0];
        assert_eq!(all, memory);
    }

    #[test]
    fn non_temporal_stores_run_at_the_speed_of_the_media_once_its_queue_is_full() {
        // Two and a quarter pages wait for the media, which write 2.44 GB/s, and a line of the table after 28.
        let taken = operations(&["pmem.dimms=1"], Kind::NonTemporal, (11, LINES));
        let media = 64.0 * LINES as f64 / (2.44 * 28.0 / 29.0);
        assert!(taken[..3].iter().all(|(all, _)| all.as_ns() < media / 2.5), "{taken:?}");
        let mean = taken[4..].iter().map(|(all, _)| all.as_ns()).sum::<f64>() / 7.0;
        assert!((mean / media - 1.0).abs() < 0.02, "{mean} ns: {taken:?}, the media {media} ns");
    }
}
