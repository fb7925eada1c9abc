//! A core's traffic of whole lines: loads, stores, write-backs and non-temporal stores that it does not wait for, and the fences
//! that do.
//!
//! A line that the L1D lacks holds one of `cpu.fill_buffers` until it is there; a line on its way to a controller holds one until
//! that has accepted it. Stores reach the L1D in program order, each when its line is there, and wait for that in one of
//! `cpu.store_buffer` places. A CLWB follows the stores before it to the same line (Intel SDM vol. 2, CLWB); it waits in such a
//! place, too, and nothing else waits for it. Addresses are physical: no TLB is asked.

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
    /// CLWBs that wait for a store, by when they begin.
    waiting: VecDeque<(Time, CacheLine)>,
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
        while self.waiting.len() >= self.store_buffer {
            let Some((first, _)) = self.waiting.front().copied() else { break };
            self.wait_until(first).await;
        }
        self.waiting.push_back((self.stored, line));
        let issue = self.cx.with(|m| m.spec.cost.clwb_issue);
        self.cx.on_cpu(|c| c.spend_as(Part::User, issue));
        self.begin_waiting().await;
    }

    /// SFENCE: waits until every store is in the L1D and every write is accepted. Loads go on.
    pub(crate) async fn sfence(&mut self) {
        while let Some((start, _)) = self.waiting.back().copied() {
            self.wait_until(start).await;
        }
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
        while let Some((start, _)) = self.waiting.front().copied()
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

    /// Begins the CLWBs whose stores are in the L1D.
    async fn begin_waiting(&mut self) {
        while let Some((start, line)) = self.waiting.front().copied()
            && start <= self.now()
        {
            self.waiting.pop_front();
            self.buffer().await;
            let (index, now) = (self.cx.cpu().index(), self.now());
            let accepted = now + self.cx.with(|m| m.memory.clwb(index, line, now));
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
            let next = self.waiting.front().map_or(first, |(start, _)| first.min(*start));
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
