//! What a core does when nothing can enter its window: it waits, for the oldest access.

use daxsim_types::Time;

use super::core::Core;
use super::entry::{Entry, Phase};
use super::{Paused, Window};
use crate::measure::Part;
use crate::program::Cursor;

impl Window {
    /// Waits for whatever happens next, or an interrupt. `all`: nothing more comes, so the last store matters, too.
    pub(super) fn wait<C: Core>(&mut self, core: &mut C, now: Time, due: Time, all: bool) {
        let oldest = self.entries.front();
        let stores = self.stores.first_written();
        let full = self.stores.occupied() >= self.limits.store_buffer;
        let leaves = oldest.map_or(Time::MAX, |entry| self.changes(entry, now));
        let written = stores.filter(|_| all || full).unwrap_or(Time::MAX);
        let next = self.events.next().min(leaves).min(written);
        let next = if next == Time::MAX { self.hits_done } else { next };
        let next = if due > now { next.min(due) } else { next };
        let (part, end) = match (oldest, stores) {
            (_, Some(_)) if full && !all => (Part::Memory, next),
            (Some(entry), _) => self.part(entry, now),
            (None, Some(_)) => (Part::Memory, next),
            (None, None) => (Part::User, next),
        };
        core.spend(part, next.min(end).saturating_sub(now));
    }

    /// When the oldest entry can leave or go on, as far as it has no event; [`Time::MAX`] if it has.
    fn changes(&self, entry: &Entry, now: Time) -> Time {
        match entry.phase {
            Phase::Flight | Phase::Refused(_) => entry.complete,
            Phase::Assist(_) | Phase::Alone if entry.translated > now => entry.translated,
            Phase::Assist(_) => self.stores.all_written().unwrap_or(Time::MAX),
            _ => Time::MAX,
        }
    }

    /// What waiting for the oldest entry is attributed to, and until when.
    fn part(&self, entry: &Entry, now: Time) -> (Part, Time) {
        let hit = entry.translated + self.limits.l1;
        match entry.phase {
            Phase::Operand => (Part::User, Time::MAX),
            Phase::Queued | Phase::Merged | Phase::Walking | Phase::Refused(_) => (Part::Walk, Time::MAX),
            Phase::Flight | Phase::Assist(_) | Phase::Alone if now < entry.translated => {
                (Part::Walk, entry.translated)
            }
            Phase::Flight if now < hit => (Part::User, hit),
            Phase::Flight | Phase::Starved | Phase::Held { .. } | Phase::Assist(_) | Phase::Alone => {
                (Part::Memory, Time::MAX)
            }
        }
    }

    /// What has to be alone is, once it is the oldest; whether anything changed.
    pub(super) fn look_at_oldest<C: Core>(&mut self, core: &mut C, cursor: &mut Cursor, now: Time) -> bool {
        let Some(oldest) = self.entries.front() else { return false };
        if matches!(oldest.phase, Phase::Flight | Phase::Walking | Phase::Queued) {
            return false;
        }
        let oldest = *oldest;
        match oldest.phase {
            Phase::Refused(refusal) if oldest.complete <= now => {
                self.leave(cursor, Paused::Refused(oldest.access, refusal));
            }
            Phase::Alone if oldest.translated <= now => self.leave(cursor, Paused::Alone(oldest.access)),
            Phase::Assist(assist) if oldest.translated <= now && self.stores.is_empty() => {
                let end = core.spend(Part::Assist, assist);
                let id = self.entries.first();
                let entry = &mut self.entries[id];
                entry.phase = Phase::Walking;
                entry.translated = end;
                self.schedule(end, id);
                self.unblock();
            }
            _ => return false,
        }
        true
    }

    /// The oldest access is to be made from outside, when all others are complete or given back.
    fn leave(&mut self, cursor: &mut Cursor, why: Paused) {
        self.entries.pop_first();
        self.leaving = Some(why);
        self.give_back(cursor);
    }
}
