//! Walks against an obvious walker, over random tables.

use daxsim_types::{AccessKind, ErrorCode, PageSize, Pfn, Time, VirtAddr};
use proptest::prelude::*;

use super::*;
use crate::mmu::rights::Control;

/// Tables as plain arrays; an entry that points to a table holds its number in `next`.
struct Model {
    tables: Vec<Vec<u64>>,
    next: Vec<Vec<usize>>,
    levels: u32,
    physical_bits: u32,
}

#[derive(Debug, PartialEq, Eq)]
struct Found {
    frame: u64,
    size: PageSize,
    writable: bool,
    user: bool,
    nx: bool,
    dirty: bool,
    global: bool,
}

/// How a walk ended and how many entries it read.
type Outcome = (Result<Found, u32>, u64);

fn bit(entry: u64, n: u32) -> bool {
    entry >> n & 1 == 1
}

impl Model {
    fn has_reserved(&self, entry: u64, level: u32) -> bool {
        (self.physical_bits..52).any(|n| bit(entry, n))
            || (level >= 3 && bit(entry, 7))
            || (level == 1 && bit(entry, 7) && (13..21).any(|n| bit(entry, n)))
            || (level == 2 && bit(entry, 7) && (13..30).any(|n| bit(entry, n)))
    }

    fn walk(&mut self, va: u64, kind: AccessKind, mode: Mode, control: &Control) -> Outcome {
        let user_mode = mode == Mode::User;
        let (mut code, write) = (0, kind == AccessKind::Write);
        if write {
            code |= ErrorCode::WRITE;
        }
        if user_mode {
            code |= ErrorCode::USER;
        }
        if kind == AccessKind::Fetch {
            code |= ErrorCode::INSTR;
        }
        let (mut writable, mut user, mut nx) = (true, true, false);
        let (mut table, mut read) = (0, 0);
        for level in (0..self.levels).rev() {
            let index = (va >> (12 + 9 * level)) as usize % 512;
            let entry = self.tables[table][index];
            read += 1;
            if !bit(entry, 0) {
                return (Err(code), read);
            }
            code |= ErrorCode::PROT;
            if self.has_reserved(entry, level) {
                return (Err(code | ErrorCode::RSVD), read);
            }
            code &= !ErrorCode::PROT;
            writable &= bit(entry, 1);
            user &= bit(entry, 2);
            nx |= bit(entry, 63);
            let leaf = level == 0 || bit(entry, 7);
            if !leaf {
                self.tables[table][index] |= 1 << 5;
                table = self.next[table][index];
                continue;
            }
            let allowed = if user_mode {
                user && (!write || writable) && (kind != AccessKind::Fetch || !nx)
            } else {
                let touches = if kind == AccessKind::Fetch {
                    !(user && control.smep)
                } else {
                    !(user && control.smap) || mode == Mode::UserCopy
                };
                touches && (!write || writable || !control.wp) && (kind != AccessKind::Fetch || !nx)
            };
            if !allowed {
                return (Err(code | ErrorCode::PROT), read);
            }
            self.tables[table][index] |= 1 << 5;
            if write {
                self.tables[table][index] |= 1 << 6;
            }
            let size = [PageSize::Size4K, PageSize::Size2M, PageSize::Size1G][level as usize];
            let mask = (1 << 52) - size.bytes();
            let first = entry & mask;
            let frame = (first | (va & (size.bytes() - 1))) >> 12;
            let dirty = write || bit(entry, 6);
            let global = bit(entry, 8) && control.pge;
            return (Ok(Found { frame, size, writable, user, nx, dirty, global }), read);
        }
        unreachable!("level 0 is a leaf")
    }
}

/// Tables of each level below the root, and the entries of each that are used.
const TABLES: usize = 2;
const INDICES: usize = 3;

/// One entry's random parts: bits, whether it is a leaf, which table it points to or which frame it maps, a reserved bit.
type Parts = (u64, u8, u64, u8);

/// The entry of `level` that `parts` make, and the table of the level below that it points to.
fn entry_of(parts: Parts, level: u32) -> (u64, usize) {
    let (bits, shape, place, damage) = parts;
    // Present, writable and for users most of the time; A, D, G, PWT, PCD and the software bits as they come.
    let mut entry = bits & (0xf78 | 1 << 57 | 1 << 58);
    entry |= u64::from(bits >> 12 & 15 != 0);
    entry |= u64::from(bits >> 16 & 3 != 0) << 1;
    entry |= u64::from(bits >> 18 & 7 != 0) << 2;
    entry |= u64::from(bits >> 21 & 3 == 0) << 63;
    let table = (place as usize) % TABLES;
    let large = (level == 1 || level == 2) && shape % 3 == 0;
    if large {
        entry |= 1 << 7 | (place << 30) & ((1 << 40) - 1) | (bits >> 24 & 1) << 12;
    } else if level == 0 {
        entry |= (place << 12) & ((1 << 40) - 1) | (bits >> 24 & 1) << 7;
    }
    match damage {
        0 => entry |= 1 << (46 + place % 6),
        1 if level > 2 => entry |= 1 << 7,
        1 if large => entry |= 1 << (13 + place % 8),
        _ => {}
    }
    (entry, table)
}

/// The same random tables for both.
fn build(m: &mut Machine, levels: u32, parts: &[Parts]) -> (Model, Vec<Pfn>) {
    let count = 1 + (levels as usize - 1) * TABLES;
    let frames: Vec<Pfn> = (0..count).map(|_| m.new_table()).collect();
    m.cpus[0].cr3 = frames[0];
    let mut model = Model {
        tables: vec![vec![0; 512]; count],
        next: vec![vec![0; 512]; count],
        levels,
        physical_bits: 46,
    };
    let mut parts = parts.iter().copied().cycle();
    for (number, frame) in frames.iter().enumerate() {
        let level = levels - 1 - number.div_ceil(TABLES) as u32;
        for index in 0..INDICES {
            let (mut entry, below) = entry_of(parts.next().unwrap(), level);
            let next = if level == 0 { 0 } else { 1 + (levels - 1 - level) as usize * TABLES + below };
            if level > 0 && !bit(entry, 7) {
                entry |= frames[next].0 << 12;
            }
            model.tables[number][index] = entry;
            model.next[number][index] = next;
            m.tables.write(Slot { table: *frame, index }, Entry(entry));
        }
    }
    (model, frames)
}

/// An address by the indices at its levels.
fn address(path: u64, levels: u32) -> u64 {
    (0..levels).map(|l| (path >> (8 * l)) % INDICES as u64 * (1 << (12 + 9 * l))).sum()
}

fn access_of(n: u8) -> (AccessKind, Mode) {
    let kind = [AccessKind::Read, AccessKind::Write, AccessKind::Fetch][n as usize % 3];
    (kind, [Mode::User, Mode::Supervisor, Mode::UserCopy, Mode::User][n as usize / 3 % 4])
}

fn found(walked: &Walked, va: u64, origin: impl Fn(Pfn) -> Pfn) -> Result<Found, u32> {
    let e = match walked.result {
        Ok(e) => e,
        refused => return Err(code(refused)),
    };
    Ok(Found {
        frame: origin(e.frame(VirtAddr(va))).0,
        size: e.size,
        writable: e.writable,
        user: e.user,
        nx: e.nx,
        dirty: e.dirty,
        global: e.global,
    })
}

fn control_of(bits: u8) -> Control {
    let on = |n: u8| bits >> n & 1 == 1;
    Control { wp: on(0), smep: on(1), smap: on(2), pge: on(3), pcide: true }
}

proptest! {
    #[test]
    fn walks_find_what_an_obvious_walker_finds(
        levels in 4_u32..=5,
        caches in any::<bool>(),
        parts in prop::collection::vec((any::<u64>(), any::<u8>(), any::<u64>(), 0_u8..24), 30),
        accesses in prop::collection::vec((any::<u64>(), any::<u8>(), any::<u8>()), 1..40),
    ) {
        let levels_key = format!("mmu.levels={levels}");
        let off = ["psc.pml4e=0", "psc.pdpte=0", "psc.pde=0"];
        let on = ["psc.pml5e=2", "psc.pdpte=2", "psc.pde=4"];
        let set = [&["cpu.count=1", &levels_key][..], if caches { &on } else { &off }].concat();
        let mut m = machine(&set);
        let (mut model, frames) = build(&mut m, levels, &parts);
        for (path, n, control) in accesses {
            let (kind, mode) = access_of(n);
            m.cpus[0].control = control_of(control);
            let va = address(path, levels);
            let before = m.measure.walk_references;
            let walked = m.walk(0, VirtAddr(va), (kind, mode), Time(5), false);
            let (expected, read) = model.walk(va, kind, mode, &control_of(control));
            prop_assert_eq!(found(&walked, va, |f| f), expected);
            let references = m.measure.walk_references - before;
            prop_assert!(references == read || (caches && references < read));
            prop_assert_eq!(walked.end, Time(5) + walked.walk + walked.assist);
        }
        for (number, table) in frames.iter().enumerate() {
            for index in 0..512 {
                let entry = m.tables.read(Slot { table: *table, index });
                prop_assert_eq!(entry.0, model.tables[number][index], "table {}, index {}", number, index);
            }
        }
        check_sums(&m);
    }

    #[test]
    fn nested_walks_find_the_same_on_the_host_and_read_each_entry_once(
        (levels, host_levels) in (4_u32..=5, 4_u32..=5),
        page in 0_usize..3,
        random in any::<bool>(),
        seed in 0_u32..1000,
        parts in prop::collection::vec((any::<u64>(), any::<u8>(), any::<u64>(), 0_u8..40), 30),
        accesses in prop::collection::vec((any::<u64>(), any::<u8>()), 1..20),
    ) {
        let size = PageSize::ALL[page];
        let frames = if random { "random" } else { "sequential" };
        let tables = format!(
            "[nested]\nlevels = {host_levels}\npage_size = \"{size}\"\nframes = \"{frames}\"\nseed = {seed}\n\
             tlb = 0\npml4e = 0\npdpte = 0\npde = 0\n"
        );
        let levels_key = format!("mmu.levels={levels}");
        let mut m = machine_with(&tables, &["cpu.count=1", &levels_key, "psc.pml4e=0", "psc.pdpte=0", "psc.pde=0"]);
        let (mut model, _) = build(&mut m, levels, &parts);
        let control = m.cpus[0].control;
        let steps = u64::from(host_levels - size.level());
        for (path, n) in accesses {
            let (kind, mode) = access_of(n);
            let va = address(path, levels);
            let before = m.measure.walk_references;
            let walked = m.walk(0, VirtAddr(va), (kind, mode), Time(5), false);
            let (expected, read) = model.walk(va, kind, mode, &control);
            let page = if expected.is_ok() { steps } else { 0 };
            prop_assert_eq!(m.measure.walk_references - before, read * (steps + 1) + page);
            let expected = expected.map(|f| {
                let frame = m.host.as_ref().unwrap().frame(Pfn(f.frame)).0;
                Found { frame, size: f.size.min(size), ..f }
            });
            prop_assert_eq!(found(&walked, va, |f| f), expected);
        }
        check_sums(&m);
    }
}
