//! A core's traffic of whole lines: loads, stores, write-backs and non-temporal stores that it does not wait for, and the fences
//! that do.
//!
//! A line that the L1D lacks holds one of `cpu.fill_buffers` until it is there; a line on its way to a controller holds one until
//! that has accepted it. Stores reach the L1D in program order, each when its line is there, and wait for that in one of
//! `cpu.store_buffer` places. CLWB and CLFLUSHOPT follow the stores before them to the same line (Intel SDM vol. 2); they wait in
//! such a place, too, and nothing else waits for them. Addresses are physical: no TLB is asked.

use std::collections::VecDeque;

use daxsim_types::{CacheLine, Time};

use super::Cx;
use crate::measure::Part;
use crate::memory::Access;

/// Lines that a core has under way.
pub(crate) struct Lines<'s> {
    cx: Cx<'s>,
    buffers: usize,
    store_buffer: usize,
    load_interval: Time,
    store_interval: Time,
    l1: Time,
    /// Lines in fill buffers, and when each is there or accepted.
    in_flight: Vec<InFlight>,
    /// Flushes that wait for a store, by when they begin.
    waiting: VecDeque<Waiting>,
    /// When the last store reaches the L1D.
    stored: Time,
    /// When the last write is accepted.
    accepted: Time,
}

#[derive(Clone, Copy)]
struct InFlight {
    line: CacheLine,
    there: Time,
}

#[derive(Clone, Copy)]
struct Waiting {
    start: Time,
    line: CacheLine,
    flush: Flush,
}

/// How a line leaves the caches.
#[derive(Clone, Copy)]
enum Flush {
    /// Written back, copies stay.
    Clean,
    /// Written back, copies go.
    Drop,
}

impl<'s> Lines<'s> {
    /// None under way.
    pub(crate) fn new(cx: Cx<'s>) -> Self {
        cx.with(|m| {
            let cpu = &m.spec.cpu;
            Self {
                cx,
                buffers: cpu.fill_buffers.max(1) as usize,
                store_buffer: cpu.store_buffer.max(1) as usize,
                load_interval: cpu.load_interval,
                store_interval: cpu.store_interval,
                l1: m.spec.cache.l1d.latency,
                in_flight: Vec::new(),
                waiting: VecDeque::new(),
                stored: Time::ZERO,
                accepted: Time::ZERO,
            }
        })
    }

    /// The clock of the core.
    pub(crate) fn now(&self) -> Time {
        self.cx.now()
    }

    /// Begins a load; when its data are there.
    pub(crate) async fn load(&mut self, line: CacheLine) -> Time {
        let there = self.access(line, Access::Read).await;
        self.cx.on_cpu(|c| c.spend_as(Part::User, self.load_interval));
        there
    }

    /// Begins a store; when the L1D has it.
    pub(crate) async fn store(&mut self, line: CacheLine) -> Time {
        let there = self.access(line, Access::Write).await;
        self.stored = self.stored.max(there);
        self.cx.on_cpu(|c| c.spend_as(Part::User, self.store_interval));
        self.stored
    }

    /// Begins a store past the caches.
    pub(crate) async fn nt_store(&mut self, line: CacheLine) {
        self.free_buffer().await;
        let (index, now) = (self.cx.cpu().index(), self.now());
        let accepted = now + self.cx.with(|m| m.memory.nt_store(index, line, now));
        self.fly(line, accepted);
        self.accepted = self.accepted.max(accepted);
        self.cx.on_cpu(|c| c.spend_as(Part::User, self.store_interval));
    }

    /// Begins a CLWB, after the stores so far.
    pub(crate) async fn clwb(&mut self, line: CacheLine) {
        self.flush(line, Flush::Clean).await;
    }

    /// Begins a CLFLUSHOPT, after the stores so far.
    pub(crate) async fn clflushopt(&mut self, line: CacheLine) {
        self.flush(line, Flush::Drop).await;
    }

    /// A CLFLUSH, in order with stores and other CLFLUSHes: waits for it.
    pub(crate) async fn clflush(&mut self, line: CacheLine) {
        self.wait_until(self.stored).await;
        self.flush(line, Flush::Drop).await;
        if let Some(on_its_way) = self.in_flight.iter().find(|other| other.line == line) {
            self.wait_until(on_its_way.there).await;
        }
    }

    async fn flush(&mut self, line: CacheLine, flush: Flush) {
        while self.waiting.len() >= self.store_buffer {
            let Some(Waiting { start, .. }) = self.waiting.front().copied() else { break };
            self.wait_until(start).await;
        }
        self.waiting.push_back(Waiting { start: self.stored, line, flush });
        let issue = self.cx.with(|m| m.spec.cost.clwb_issue);
        self.cx.on_cpu(|c| c.spend_as(Part::User, issue));
        self.begin_waiting().await;
    }

    /// Waits until every flush has begun.
    pub(crate) async fn begin_all(&mut self) {
        while let Some(Waiting { start, .. }) = self.waiting.back().copied() {
            self.wait_until(start).await;
        }
    }

    /// When the last write that has begun is accepted.
    pub(crate) const fn accepted(&self) -> Time {
        self.accepted
    }

    /// SFENCE: waits until every store is in the L1D and every write is accepted. Loads go on.
    pub(crate) async fn sfence(&mut self) {
        self.begin_all().await;
        self.wait_until(self.stored.max(self.accepted)).await;
    }

    /// MFENCE: waits for everything.
    pub(crate) async fn mfence(&mut self) {
        self.sfence().await;
        if let Some(last) = self.in_flight.iter().map(|line| line.there).max() {
            self.wait_until(last).await;
        }
    }

    /// Lets the clock reach `time`, beginning what is due until then.
    pub(crate) async fn wait_until(&mut self, time: Time) {
        while let Some(Waiting { start, .. }) = self.waiting.front().copied()
            && start <= time
        {
            self.cx.on_cpu(|c| c.wait_until(start, Part::Memory));
            self.begin_waiting().await;
        }
        self.cx.on_cpu(|c| c.wait_until(time, Part::Memory));
        self.cx.sync().await;
    }

    async fn access(&mut self, line: CacheLine, access: Access) -> Time {
        self.begin_waiting().await;
        self.cx.sync().await;
        let index = self.cx.cpu().index();
        if self.cx.with(|m| m.memory.try_l1(index, line, access.is_write())) {
            let hit = self.now() + self.l1;
            let on_its_way = self.in_flight.iter().find(|other| other.line == line);
            return on_its_way.map_or(hit, |other| other.there.max(hit));
        }
        self.free_buffer().await;
        let now = self.now();
        let there = now + self.cx.with(|m| m.memory.access(index, line, access, now)).latency;
        self.fly(line, there);
        there
    }

    /// Begins the flushes whose stores are in the L1D.
    async fn begin_waiting(&mut self) {
        while let Some(Waiting { start, line, flush }) = self.waiting.front().copied()
            && start <= self.now()
        {
            self.waiting.pop_front();
            self.buffer().await;
            let (index, now) = (self.cx.cpu().index(), self.now());
            let accepted = self.cx.with(|m| match flush {
                Flush::Clean => m.memory.clwb(index, line, now),
                Flush::Drop => m.memory.clflush(index, line, now),
            });
            let accepted = now + accepted;
            self.fly(line, accepted);
            self.accepted = self.accepted.max(accepted);
        }
    }

    /// Waits for a free fill buffer; what becomes due meanwhile begins first.
    async fn free_buffer(&mut self) {
        self.begin_waiting().await;
        loop {
            self.settle();
            if self.in_flight.len() < self.buffers {
                break;
            }
            let Some(first) = self.in_flight.iter().map(|line| line.there).min() else { break };
            let next = self.waiting.front().map_or(first, |next| first.min(next.start));
            self.cx.on_cpu(|c| c.wait_until(next, Part::Memory));
            self.begin_waiting().await;
        }
        self.cx.sync().await;
    }

    /// Waits for a free fill buffer.
    async fn buffer(&mut self) {
        self.settle();
        while self.in_flight.len() >= self.buffers
            && let Some(first) = self.in_flight.iter().map(|line| line.there).min()
        {
            self.cx.on_cpu(|c| c.wait_until(first, Part::Memory));
            self.settle();
        }
        self.cx.sync().await;
    }

    /// Frees the buffers of what is there.
    fn settle(&mut self) {
        let now = self.now();
        self.in_flight.retain(|line| line.there > now);
    }

    fn fly(&mut self, line: CacheLine, there: Time) {
        if there > self.now() + self.l1 {
            self.in_flight.push(InFlight { line, there });
        }
    }
}
