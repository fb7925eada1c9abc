//! A channel: its banks, its bus, and the order in which requests get their commands.
//!
//! A read is answered at once with the time of its data, so its commands are placed when it comes: each at the earliest clock
//! that the timings, the refreshes and the commands placed before allow. Gaps between those are used; so a read whose bank is
//! ready goes before one that came earlier and waits for its bank, and a read of a row that is still open before the row that
//! was promised next, but neither delays what was promised. Writes wait in a queue. They are taken out of it, open rows first,
//! when no read is waiting, or when there are too many of them.
//!
//! Requests may come slightly out of the order of their times; nothing here is a difference of times.

use daxsim_types::CacheLine;

use super::activates::Activates;
use super::bank::{Bank, OPEN, Opening};
use super::columns::Columns;
use super::mapping::Place;
use super::refresh::Refresh;
use super::timing::{Column, Kind, Timings};
use super::writes::Writes;

/// What does not change.
pub(super) struct Rules {
    pub t: Timings,
    /// Rows are closed after each access.
    pub closed: bool,
    pub write_high: usize,
    pub write_low: usize,
}

/// Counts of a channel, waits in clocks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub hits: u64,
    pub misses: u64,
    pub conflicts: u64,
    pub activates: u64,
    pub precharges: u64,
    pub forwarded: u64,
    pub bursts: u64,
    pub read_wait: u64,
    pub write_wait: u64,
    pub reads_max: u64,
    pub writes_max: u64,
    pub column_reads: u64,
    pub column_writes: u64,
}

/// A command, for those who check them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Activate { bank: usize, row: u64 },
    Precharge { bank: usize },
    Column { kind: Kind, bank: usize, row: u64 },
}

struct Rank {
    activates: Activates,
    /// Of all banks, or of each set of banks that are refreshed together: those of one number in their group.
    refreshes: Vec<Refresh>,
}

impl Rank {
    /// The first clock from `act` on at which no refresh of another set keeps a bank of `set` from an activate.
    fn between_refreshes(&self, t: &Timings, set: usize, act: u64) -> u64 {
        let others = self.refreshes.iter().enumerate().filter(|(other, _)| *other != set);
        let near = others.filter_map(|(_, refresh)| {
            let last = refresh.count(t, act + t.rrd_l - 1).checked_sub(1)?;
            Some(refresh.start(t, last) + t.refsb_to_activate)
        });
        near.max().map_or(act, |free| act.max(free))
    }
}

/// A row that a request gets: where its bank stands, and from when on the new row can be.
struct Turn {
    /// Earliest activate.
    from: u64,
    /// Whether a row has to be closed for it.
    conflict: bool,
}

/// A bus and the ranks on it.
pub(super) struct Channel {
    banks: Vec<Bank>,
    ranks: Vec<Rank>,
    columns: Columns,
    writes: Writes,
    /// Command of the last read, of all that were placed.
    last_read: u64,
    /// The same of writes.
    last_write: u64,
    /// When the next write may be chosen: one for each burst.
    next_choice: u64,
    /// End of the last data.
    pub latest: u64,
    pub counts: Counts,
    #[cfg(test)]
    pub log: Vec<(u64, Command)>,
}

impl Channel {
    /// Idle; `refreshes` are those of each rank, by sets of banks.
    pub fn new(banks: usize, refreshes: Vec<Vec<Refresh>>, writes: Writes) -> Self {
        let rank = |refreshes| Rank { activates: Activates::new(), refreshes };
        Self {
            banks: vec![Bank::new(); banks],
            ranks: refreshes.into_iter().map(rank).collect(),
            columns: Columns::new(),
            writes,
            last_read: 0,
            last_write: 0,
            next_choice: 0,
            latest: 0,
            counts: Counts::default(),
            #[cfg(test)]
            log: Vec::new(),
        }
    }

    /// Neighbouring reads and writes on the bus.
    pub const fn switches(&self) -> u64 {
        self.columns.switches
    }

    /// Refreshes of all ranks until the end of the last data.
    pub fn refreshes(&self, t: &Timings) -> u64 {
        let all = self.ranks.iter().flat_map(|rank| &rank.refreshes);
        all.map(|refresh| refresh.count(t, self.latest)).sum()
    }

    /// A read that comes at clock `from`: the clock at which its data are there.
    pub fn read(&mut self, rules: &Rules, line: CacheLine, place: &Place, from: u64) -> u64 {
        self.banks[place.bank].warm();
        self.write_while_idle(rules, from);
        if self.writes.holds(line, from) {
            self.counts.forwarded += 1;
            return from + 1;
        }
        let at = self.place(rules, Kind::Read, place, from);
        self.last_read = self.last_read.max(at);
        self.counts.column_reads += 1;
        self.counts.read_wait += at - from;
        self.counts.reads_max = self.counts.reads_max.max(self.columns.reads_after(from) as u64);
        at + rules.t.cl + rules.t.burst
    }

    /// A write that comes at clock `from`: the clock at which the queue has it.
    pub fn write(&mut self, rules: &Rules, line: CacheLine, place: Place, from: u64) -> u64 {
        self.write_while_idle(rules, from);
        let accepted = self.writes.room(from);
        self.writes.push(line, place, accepted);
        self.counts.writes_max = self.counts.writes_max.max(self.writes.depth(accepted) as u64);
        if self.writes.waiting() >= rules.write_high {
            self.counts.bursts += 1;
            self.next_choice = self.next_choice.max(from);
            while self.writes.waiting() > rules.write_low {
                self.write_one(rules);
            }
        }
        accepted
    }

    /// Writes what an idle bus had time for before `now`.
    #[inline]
    fn write_while_idle(&mut self, rules: &Rules, now: u64) {
        while let Some(oldest) = self.writes.oldest() {
            let idle = self.next_choice.max(oldest.since).max(self.last_read + 1);
            if idle >= now || self.last_write >= now {
                return;
            }
            self.next_choice = idle;
            self.write_one(rules);
        }
    }

    fn write_one(&mut self, rules: &Rules) {
        let (banks, now) = (&self.banks, self.next_choice);
        let is_open = |place: &Place| banks[place.bank].has_open(place.row, now);
        let Some(write) = self.writes.choose(is_open) else { return };
        let from = now.max(write.since);
        let at = self.place(rules, Kind::Write, &write.place, from);
        self.next_choice = from + rules.t.burst;
        self.last_write = self.last_write.max(at);
        self.writes.issue(at, write.line);
        self.counts.column_writes += 1;
        self.counts.write_wait += at - write.since;
    }

    /// Places the commands of a request, none of them before `from`; the clock of its column command.
    fn place(&mut self, rules: &Rules, kind: Kind, place: &Place, from: u64) -> u64 {
        let column = Column { kind, rank: place.rank as u8, group: place.group as u8 };
        let hit = if rules.closed { None } else { self.in_open_row(rules, column, place, from) };
        let at = match hit {
            Some(at) => at,
            None => self.in_new_row(rules, column, place, from),
        };
        self.columns.insert(&rules.t, at, column);
        self.note(at, Command::Column { kind, bank: place.bank, row: place.row });
        self.latest = self.latest.max(at + rules.t.cl + rules.t.burst);
        at
    }

    /// The column command, if the row is open then and can stay so without delaying anything.
    fn in_open_row(&mut self, rules: &Rules, column: Column, place: &Place, from: u64) -> Option<u64> {
        let t = &rules.t;
        let (columns, mut at) = (&self.columns, 0);
        let found = self.banks[place.bank].find(place.row, |opening| {
            let from = from.max(opening.act + t.rcd);
            if from > opening.last_close() {
                return false;
            }
            at = columns.earliest(t, from, column);
            let ready = opening.ready.max(at + t.to_precharge(column.kind));
            let serves = ready <= opening.last_close();
            if serves {
                opening.ready = ready;
            }
            serves
        });
        self.counts.hits += u64::from(found);
        found.then_some(at)
    }

    /// The column command after an activate, after a precharge if another row is open.
    fn in_new_row(&mut self, rules: &Rules, column: Column, place: &Place, from: u64) -> u64 {
        let t = &rules.t;
        let Turn { mut from, conflict } = self.turn(t, place.bank, from);
        let rank = &mut self.ranks[place.rank];
        let sets = rank.refreshes.len();
        let set = if sets > 1 { place.bank % sets } else { 0 };
        let (act, at, ready, limit) = loop {
            let window = rank.refreshes[set].window(t, from);
            let act = rank.activates.earliest(t, from.max(window.start), column.group);
            if rank.refreshes.len() > 1 {
                let free = rank.between_refreshes(t, set, act);
                if free > act {
                    from = free;
                    continue;
                }
            }
            let at = self.columns.earliest(t, act + t.rcd, column);
            let ready = (act + t.ras).max(at + t.to_precharge(column.kind));
            if ready <= window.end {
                break (act, at, ready, window.end);
            }
            // It would be cut short by the refresh: after that.
            from = window.end;
        };
        rank.activates.insert(t, act, column.group);
        self.close(t, place.bank, act, conflict);
        let close = if rules.closed { ready } else { OPEN };
        self.banks[place.bank].push(Opening { row: place.row, act, ready, close, limit });
        self.counts.activates += 1;
        self.note(act, Command::Activate { bank: place.bank, row: place.row });
        if rules.closed {
            self.counts.precharges += 1;
            self.note(ready, Command::Precharge { bank: place.bank });
        }
        at
    }

    /// From when on a bank can have a new row, for a request that comes at `from`.
    fn turn(&self, t: &Timings, bank: usize, from: u64) -> Turn {
        let open = self.banks[bank].newest();
        if open.is_none() {
            return Turn { from, conflict: false };
        }
        if open.close != OPEN {
            return Turn { from: from.max(open.close + t.rp).max(open.act + t.rc), conflict: false };
        }
        if from > open.limit {
            return Turn { from: from.max(open.limit + t.rp), conflict: false };
        }
        Turn { from: (from.max(open.ready) + t.rp).max(open.act + t.rc), conflict: true }
    }

    /// Closes the row that is open in a bank: just before the activate at `act`, or for a refresh before that.
    fn close(&mut self, t: &Timings, bank: usize, act: u64, conflict: bool) {
        let open = self.banks[bank].newest_mut();
        if open.close != OPEN {
            self.counts.misses += 1;
            return;
        }
        // As late as possible: until then others may find it open.
        let late = act.saturating_sub(t.rp);
        open.close = late.min(open.limit);
        let close = open.close;
        let refreshed = !conflict || late > close;
        self.counts.misses += u64::from(refreshed);
        self.counts.conflicts += u64::from(!refreshed);
        self.counts.precharges += 1;
        self.note(close, Command::Precharge { bank });
    }

    /// Closes every open row, as late as it can be.
    #[cfg(test)]
    pub fn close_all(&mut self) {
        for bank in 0..self.banks.len() {
            let open = self.banks[bank].newest();
            if !open.is_none() && open.close == OPEN && open.limit != u64::MAX {
                self.note(open.limit, Command::Precharge { bank });
            }
        }
    }

    /// Beginnings of the refreshes of a set of banks of a rank before `end`.
    #[cfg(test)]
    pub fn refreshes_before(&self, t: &Timings, [rank, set]: [usize; 2], end: u64) -> Vec<u64> {
        let refresh = &self.ranks[rank].refreshes[set];
        (0..refresh.count(t, end)).map(|n| refresh.start(t, n)).collect()
    }

    #[cfg(test)]
    fn note(&mut self, at: u64, command: Command) {
        self.log.push((at, command));
    }

    #[cfg(not(test))]
    #[inline]
    const fn note(&mut self, _at: u64, _command: Command) {}
}
