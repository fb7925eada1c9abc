//! Who may do what through a translation (Intel SDM vol. 3, 4.6).

use daxsim_configs::machine::MmuSpec;
use daxsim_types::AccessKind;

use super::entry::Entry;
use super::tlb::TlbEntry;

/// Who makes an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// User mode.
    User,
    /// The kernel.
    Supervisor,
    /// The kernel with EFLAGS.AC set, between STAC and CLAC: a copy to or from user memory.
    UserCopy,
}

impl Mode {
    /// The mode of an access to a user address: from user mode, or by a copy routine of the kernel.
    #[must_use]
    pub const fn of_access(user: bool) -> Self {
        if user { Self::User } else { Self::UserCopy }
    }

    /// Whether the error code of a #PF says user mode.
    #[must_use]
    pub const fn is_user(self) -> bool {
        matches!(self, Self::User)
    }
}

/// The bits of CR0 and CR4 that decide on translations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// CR0.WP: RW binds the kernel, too.
    pub wp: bool,
    /// CR4.SMEP: the kernel fetches no instructions from user pages.
    pub smep: bool,
    /// CR4.SMAP: the kernel accesses user pages with EFLAGS.AC set alone.
    pub smap: bool,
    /// CR4.PGE: G means something.
    pub pge: bool,
    /// CR4.PCIDE: translations are tagged with a PCID.
    pub pcide: bool,
}

impl Control {
    /// As Linux sets them up: everything that the CPU has.
    #[must_use]
    pub const fn new(spec: &MmuSpec) -> Self {
        Self { wp: true, smep: spec.smep, smap: spec.smap, pge: true, pcide: spec.pcid }
    }
}

/// What the entries of a walk allow together: RW and US and-ed, XD or-ed, from the root down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    const WRITE: u8 = 1;
    const USER: u8 = 2;
    const FETCH: u8 = 4;

    /// Before the first entry.
    pub const ALL: Self = Self(Self::WRITE | Self::USER | Self::FETCH);

    /// Those of one entry.
    #[must_use]
    pub const fn of(entry: Entry) -> Self {
        let write = (entry.0 & Entry::RW != 0) as u8 * Self::WRITE;
        let user = (entry.0 & Entry::US != 0) as u8 * Self::USER;
        let fetch = (entry.0 & Entry::NX == 0) as u8 * Self::FETCH;
        Self(write | user | fetch)
    }

    /// Those of a cached translation.
    #[must_use]
    pub const fn cached(entry: &TlbEntry) -> Self {
        let write = entry.writable as u8 * Self::WRITE;
        let user = entry.user as u8 * Self::USER;
        let fetch = !entry.nx as u8 * Self::FETCH;
        Self(write | user | fetch)
    }

    /// What both allow.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The low three bits of a word.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits as u8 & Self::ALL.0)
    }

    /// A word of three bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0 as u64
    }

    /// Whether every entry had RW = 1.
    #[must_use]
    pub const fn writable(self) -> bool {
        self.0 & Self::WRITE != 0
    }

    /// Whether every entry had US = 1: a user-mode address.
    #[must_use]
    pub const fn user(self) -> bool {
        self.0 & Self::USER != 0
    }

    /// Whether no entry had XD = 1.
    #[must_use]
    pub const fn executable(self) -> bool {
        self.0 & Self::FETCH != 0
    }

    /// Whether an access is allowed (Intel SDM vol. 3, 4.6.1).
    #[must_use]
    pub const fn allow(self, kind: AccessKind, mode: Mode, control: &Control) -> bool {
        let reached = match (mode, kind) {
            (Mode::User, _) => self.user(),
            (_, AccessKind::Fetch) => !self.user() || !control.smep,
            (Mode::Supervisor, _) => !self.user() || !control.smap,
            (Mode::UserCopy, _) => true,
        };
        reached
            && match kind {
                AccessKind::Read => true,
                AccessKind::Write => self.writable() || (!mode.is_user() && !control.wp),
                AccessKind::Fetch => self.executable(),
            }
    }
}

#[cfg(test)]
mod tests {
    use AccessKind::{Fetch, Read, Write};
    use Mode::{Supervisor, User, UserCopy};

    use super::*;

    const ON: Control = Control { wp: true, smep: true, smap: true, pge: true, pcide: true };
    const OFF: Control = Control { wp: false, smep: false, smap: false, ..ON };

    /// Which of read, write and fetch `bits` allow.
    fn allowed(bits: u64, mode: Mode, control: &Control) -> [bool; 3] {
        let rights = Rights::of(Entry(bits | Entry::P));
        [Read, Write, Fetch].map(|kind| rights.allow(kind, mode, control))
    }

    #[test]
    fn user_mode_needs_us_and_for_more_than_reads_rw_or_no_xd() {
        let (rw, us, nx) = (Entry::RW, Entry::US, Entry::NX);
        for control in [ON, OFF] {
            assert_eq!(allowed(us, User, &control), [true, false, true]);
            assert_eq!(allowed(us | rw, User, &control), [true; 3]);
            assert_eq!(allowed(us | rw | nx, User, &control), [true, true, false]);
            assert_eq!(allowed(rw, User, &control), [false; 3], "a supervisor page");
        }
    }

    #[test]
    fn supervisor_mode_keeps_off_user_pages_as_smap_and_smep_say() {
        let us_rw = Entry::US | Entry::RW;
        assert_eq!(allowed(us_rw, Supervisor, &ON), [false; 3]);
        assert_eq!(allowed(us_rw, Supervisor, &OFF), [true; 3]);
        assert_eq!(allowed(us_rw, UserCopy, &ON), [true, true, false]);
        assert_eq!(allowed(us_rw, Supervisor, &Control { smap: false, ..ON }), [true, true, false]);
        assert_eq!(allowed(us_rw, Supervisor, &Control { smep: false, ..ON }), [false, false, true]);
        assert_eq!(allowed(Entry::RW, Supervisor, &ON), [true; 3]);
        assert_eq!(allowed(Entry::RW | Entry::NX, Supervisor, &ON), [true, true, false]);
    }

    #[test]
    fn rw_binds_the_kernel_with_wp_alone() {
        for (mode, bits) in [(Supervisor, 0), (UserCopy, Entry::US)] {
            assert_eq!(allowed(bits, mode, &ON)[..2], [true, false]);
            assert_eq!(allowed(bits, mode, &Control { wp: false, ..ON })[..2], [true, true]);
        }
    }

    #[test]
    fn levels_are_put_together() {
        let all = Rights::of(Entry(Entry::TABLE));
        assert_eq!(all, Rights::ALL);
        for bits in 0..8 {
            assert_eq!(all.and(Rights::from_bits(bits)).bits(), bits);
            assert_eq!(Rights::from_bits(bits).and(Rights::from_bits(!bits)).bits(), 0);
        }
    }
}
