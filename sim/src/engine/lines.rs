//! A core's traffic of whole lines: loads, stores, write-backs and non-temporal stores that it does not wait for, and the fences
//! that do.
//!
//! A line that the L1D lacks holds one of `cpu.fill_buffers` until it is there; a line on its way to a controller holds one until
//! that has accepted it, and one that was stored past the caches for `cpu.nt_release` more. Loads wait for a buffer in one of `cpu.load_buffer` places, which they leave in order ([`LoadQueue`]).
//! Stores follow them, and reach the L1D in program order, each when its line is there, and wait for that in one of
//! `cpu.store_buffer` places. CLWB and CLFLUSHOPT follow the stores before them to the same line (Intel SDM vol. 2); they wait in
//! such a place, too, and nothing else waits for them. Addresses are physical: no TLB is asked.

use std::collections::VecDeque;

use daxsim_types::{CacheLine, Time};

use super::Cx;
use super::load_queue::LoadQueue;
use crate::measure::Part;
use crate::memory::Access;

/// Lines that a core has under way.
pub(crate) struct Lines<'s> {
    cx: Cx<'s>,
    buffers: usize,
    store_buffer: usize,
    load_interval: Time,
    store_interval: Time,
    nt_release: Time,
    l1: Time,
    /// Lines in fill buffers, and when each is there or accepted.
    in_flight: Vec<InFlight>,
    loads: LoadQueue,
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
    /// When its buffer is free.
    leaves: Time,
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
            let seed = m.spec.cache.seed + cx.cpu().index() as u64;
            Self {
                cx,
                buffers: cpu.fill_buffers.max(1) as usize,
                store_buffer: cpu.store_buffer.max(1) as usize,
                load_interval: cpu.load_interval,
                store_interval: cpu.store_interval,
                nt_release: cpu.nt_release,
                l1: m.spec.cache.l1d.latency,
                in_flight: Vec::new(),
                loads: LoadQueue::new(cpu.load_buffer, [cpu.fill_buffers, cpu.fill_samples], seed),
                waiting: VecDeque::new(),
                stored: Time::ZERO,
                accepted: Time::ZERO,
            }
        })
    }

    /// Makes every load one of so many instructions, all of which take a place of the window.
    pub(crate) fn instructions_for_each(&mut self, count: u32) {
        let window = self.cx.with(|m| m.spec.cpu.window);
        self.loads.narrow((window / count.max(1)) as usize);
    }

    /// The clock of the core.
    pub(crate) fn now(&self) -> Time {
        self.cx.now()
    }

    /// Lets time pass in which the core does something else.
    pub(crate) fn spend(&self, time: Time) {
        self.cx.on_cpu(|c| c.spend_as(Part::User, time));
    }

    /// Issues a load, which begins as soon as it gets a fill buffer.
    pub(crate) async fn load(&mut self, line: CacheLine) {
        self.begin_waiting().await;
        self.cx.sync().await;
        let there = self.hit(line, Access::Read);
        self.loads.push(line, there);
        self.begin_loads().await;
        self.cx.on_cpu(|c| c.spend_as(Part::User, self.load_interval));
        self.loads.settle(self.now());
        while self.loads.is_full() {
            self.step().await;
        }
    }

    /// Waits until the data of the newest load are there.
    pub(crate) async fn wait_for_load(&mut self) {
        loop {
            match self.loads.newest() {
                None => return,
                Some(Some(there)) => return self.wait_until(there).await,
                Some(None) => self.step().await,
            }
        }
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
        self.begin_all_loads().await;
        self.free_buffer().await;
        let (index, now) = (self.cx.cpu().index(), self.now());
        let accepted = now + self.cx.with(|m| m.memory.nt_store(index, line, now));
        self.fly(line, accepted, self.nt_release);
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
        self.begin_all_loads().await;
        if let Some(last) = self.in_flight.iter().map(|line| line.there).max() {
            self.wait_until(last).await;
        }
    }

    /// Lets the clock reach `time`, beginning what is due until then.
    pub(crate) async fn wait_until(&mut self, time: Time) {
        while let Some(next) = self.next_event()
            && next <= time
        {
            self.advance(next).await;
        }
        self.cx.on_cpu(|c| c.wait_until(time, Part::Memory));
        self.cx.sync().await;
    }

    /// Lets the clock reach the next time at which something can begin or leave.
    async fn step(&mut self) {
        let next = self.next_event().into_iter().chain(self.loads.oldest()).min();
        self.advance(next.unwrap_or_else(|| self.now())).await;
    }

    /// When the next flush is due, or a fill buffer is free that a load waits for.
    fn next_event(&self) -> Option<Time> {
        let free = match self.loads.is_waiting() {
            true if self.in_flight.len() >= self.buffers => self.first_free(),
            true => Some(self.now()),
            false => None,
        };
        free.into_iter().chain(self.waiting.front().map(|flush| flush.start)).min()
    }

    async fn advance(&mut self, to: Time) {
        self.cx.on_cpu(|c| c.wait_until(to, Part::Memory));
        self.begin_waiting().await;
        self.begin_loads().await;
        self.loads.settle(self.now());
    }

    /// When a line is there, if the L1D has it or soon will.
    fn hit(&self, line: CacheLine, access: Access) -> Option<Time> {
        let index = self.cx.cpu().index();
        if !self.cx.with(|m| m.memory.try_l1(index, line, access.is_write())) {
            return None;
        }
        let hit = self.now() + self.l1;
        let on_its_way = self.in_flight.iter().find(|other| other.line == line);
        Some(on_its_way.map_or(hit, |other| other.there.max(hit)))
    }

    async fn access(&mut self, line: CacheLine, access: Access) -> Time {
        self.begin_waiting().await;
        self.begin_all_loads().await;
        self.cx.sync().await;
        if let Some(there) = self.hit(line, access) {
            return there;
        }
        self.free_buffer().await;
        self.miss(line, access)
    }

    /// Asks for a line that the L1D lacks, in a fill buffer that is free: when it is there.
    fn miss(&mut self, line: CacheLine, access: Access) -> Time {
        let (index, now) = (self.cx.cpu().index(), self.now());
        let there = now + self.cx.with(|m| m.memory.access(index, line, access, now)).latency;
        self.fly(line, there, Time::ZERO);
        there
    }

    /// Begins loads, as long as fill buffers are free.
    async fn begin_loads(&mut self) {
        self.settle();
        if !self.loads.is_waiting() || self.in_flight.len() >= self.buffers {
            return;
        }
        self.cx.sync().await;
        self.settle();
        while self.in_flight.len() < self.buffers
            && let Some(load) = self.loads.draw()
        {
            let hit = self.hit(load.line, Access::Read);
            let there = hit.unwrap_or_else(|| self.miss(load.line, Access::Read));
            self.loads.begun(load, there);
        }
    }

    /// Waits until every load has begun.
    async fn begin_all_loads(&mut self) {
        while self.loads.is_waiting() {
            self.step().await;
        }
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
            self.fly(line, accepted, Time::ZERO);
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
            let Some(first) = self.first_free() else { break };
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
            && let Some(first) = self.first_free()
        {
            self.cx.on_cpu(|c| c.wait_until(first, Part::Memory));
            self.settle();
        }
        self.cx.sync().await;
    }

    /// When the first fill buffer that is taken is free.
    fn first_free(&self) -> Option<Time> {
        self.in_flight.iter().map(|line| line.leaves).min()
    }

    /// Frees the buffers of what is there.
    fn settle(&mut self) {
        let now = self.now();
        self.in_flight.retain(|line| line.leaves > now);
    }

    /// A line that is there at `there` has a buffer for so much longer.
    fn fly(&mut self, line: CacheLine, there: Time, longer: Time) {
        if there > self.now() + self.l1 {
            self.in_flight.push(InFlight { line, there, leaves: there + longer });
        }
    }
}
