//! String operations: `rep stos`, `rep movs`, runs of non-temporal stores. Their lines are independent of one another, so a core
//! has as many of them in flight as it has fill buffers.

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
    buffers: usize,
    /// When each line in flight will be there.
    in_flight: Vec<Time>,
}

impl<'s> StringOp<'s> {
    pub(super) fn new(cx: Cx<'s>, issue: Time) -> Self {
        let buffers = cx.with(|m| m.spec.cpu.fill_buffers.max(1) as usize);
        Self { cx, issue, buffers, in_flight: Vec::with_capacity(buffers) }
    }

    /// Loads a line.
    pub(crate) async fn load(&mut self, line: CacheLine) {
        self.access(line, Access::Read).await;
    }

    /// Stores a whole line.
    pub(crate) async fn store(&mut self, line: CacheLine) {
        self.access(line, Access::Write).await;
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
    pub(crate) fn finish(self) {
        if let Some(last) = self.in_flight.iter().max() {
            self.cx.on_cpu(|c| c.wait_until(*last, Part::Memory));
        }
    }

    async fn access(&mut self, line: CacheLine, access: Access) {
        let index = self.cx.cpu().index();
        self.cx.sys().stall(index);
        self.cx.map_on_host(line.addr().pfn()).await;
        self.cx.sync().await;
        if !self.cx.with(|m| m.memory.try_l1(index, m.host_line(line), access.is_write())) {
            self.free_buffer().await;
            let there = self.cx.with(|m| m.kernel_access_in_flight(index, line, access));
            self.fly(there);
        }
        self.cx.spend(self.issue);
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
    /// A load that misses every cache, 81.4 ns, less the 4 cycles of the L1D.
    const MISS: Time = Time(81_400 - 4 * 455);
    /// 64 bytes at 21.3 GB/s.
    const OCCUPANCY: f64 = 64.0 / 21.3;
    const DRAM: u64 = 1 << 20;

    #[derive(Clone, Copy)]
    enum Stores {
        Cached,
        NonTemporal,
    }

    /// What `times` operations over the lines of a page take, one after another: each in all, and as memory time. Non-temporal stores
    /// go to the next page of persistent memory each time.
    fn operations(overrides: &[&str], stores: Stores, times: u64) -> Vec<(Time, Time)> {
        let overrides: Vec<_> = overrides.iter().map(|o| Override::parse(o).unwrap()).collect();
        let machine = load_machine("skylake-sp-optane", &overrides).unwrap();
        let (first, step) = match stores {
            Stores::Cached => (DRAM, 0),
            Stores::NonTemporal => (machine.pmem.base / LINE_BYTES, LINES),
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
                    match stores {
                        Stores::Cached => op.store(line).await,
                        Stores::NonTemporal => op.nt_store(line).await,
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
        operations(overrides, Stores::Cached, 1)[0].0.as_ns()
    }

    #[test]
    fn with_one_fill_buffer_every_line_costs_its_miss() {
        let miss = MISS.as_ns() * LINES as f64;
        assert!((cold_page(&["cpu.fill_buffers=1"]) / miss - 1.0).abs() < 0.001);
    }

    #[test]
    fn fill_buffers_overlap_the_misses() {
        for buffers in [2, 4, 10, 16] {
            let taken = cold_page(&[&format!("cpu.fill_buffers={buffers}")]);
            let rounds = taken / MISS.as_ns();
            let least = LINES as f64 / f64::from(buffers);
            assert!((least..least.ceil() + 0.6).contains(&rounds), "{buffers} buffers: {rounds} misses");
        }
    }

    #[test]
    fn the_channels_limit_what_the_buffers_do_not() {
        // Six channels: one of them carries eleven of the 64 lines.
        let taken = cold_page(&["cpu.fill_buffers=64", "cost.string_line=0 ns"]);
        let expected = MISS.as_ns() + 10.0 * OCCUPANCY;
        assert!((taken - expected).abs() < 1.0, "{taken} ns, expected {expected}");
    }

    #[test]
    fn lines_in_the_l1d_take_only_their_issue() {
        let again = operations(&[], Stores::Cached, 2)[1];
        assert_eq!(again, (Time(2 * 455 * LINES), Time::ZERO));
    }

    #[test]
    fn the_waits_are_memory_time() {
        let (all, memory) = operations(&["cost.string_line=0 ns"], Stores::Cached, 1)[0];
        assert_eq!(all, memory);
    }

    #[test]
    fn non_temporal_stores_run_at_the_speed_of_the_media_once_its_queue_is_full() {
        // Two and a quarter pages wait for the media, which write 2.28 GB/s.
        let taken = operations(&["pmem.dimms=1"], Stores::NonTemporal, 8);
        let media = 64.0 * LINES as f64 / 2.28;
        assert!(taken[..3].iter().all(|(all, _)| all.as_ns() < media / 2.5), "{taken:?}");
        for (all, _) in &taken[4..] {
            assert!((all.as_ns() / media - 1.0).abs() < 0.05, "{taken:?}, the media {media} ns");
        }
    }
}
