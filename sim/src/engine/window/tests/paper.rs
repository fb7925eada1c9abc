//! Times that can be worked out on paper.

use daxsim_types::Time;

use super::*;

/// How long accesses take, on a core that knows the pages.
fn time(limits: Limits, accesses: &[Access]) -> u64 {
    let mut core = Paper::knowing(0..100);
    core.run(limits, accesses);
    core.now.0
}

fn loads(count: u64) -> Vec<Access> {
    (0..count).map(|n| load(n, 0)).collect()
}

#[test]
fn a_chain_takes_the_sum_of_its_latencies() {
    let chain: Vec<_> = (0..20).map(|n| chased(n, 0)).collect();
    assert_eq!(time(limits(), &chain), 20 * MEMORY);
    // The pages are not known now: each link is a walk and a miss.
    let mut core = Paper::default();
    core.run(limits(), &chain);
    assert_eq!(core.now.0, 20 * (WALK + MEMORY));
    // All of it enters during the first walk.
    assert_eq!(core.parts[Part::Walk].0, 20 * WALK - 20);
    // And all hits.
    let mut hits = Paper::knowing(0..20);
    hits.l1 = (0..20).map(|n| n << 6).collect();
    hits.run(limits(), &chain);
    assert_eq!((hits.now.0, hits.parts[Part::User].0), (20 * L1, 20 * L1));
}

#[test]
fn independent_misses_take_as_many_rounds_as_the_buffers_need() {
    for buffers in [1, 2, 4, 10] {
        let limits = Limits { fill_buffers: buffers, load_interval: Time(1), ..limits() };
        let taken = time(limits, &loads(40));
        // The last of the first round enters `buffers - 1` after the first.
        let rounds = 40u64.div_ceil(buffers as u64);
        assert_eq!(taken, rounds * MEMORY + buffers as u64 - 1, "{buffers} buffers");
    }
}

#[test]
fn independent_hits_take_their_share_of_the_issue_slots() {
    let mut core = Paper::knowing([0]);
    core.l1 = [0].into();
    core.run(limits(), &vec![load(0, 0); 1000]);
    assert_eq!(core.now.0, 1000 - 1 + L1);
    assert_eq!(core.parts[Part::User], core.now);
}

#[test]
fn a_full_window_waits_for_its_oldest_access() {
    // A miss and hits behind it: three fit beside it, the next enters when the miss leaves.
    let mut core = Paper::knowing([0]);
    core.l1 = [1].into();
    let mut accesses = vec![load(0, 1); 8];
    accesses[0] = load(0, 0);
    let narrow = Limits { window: 4, ..limits() };
    core.run(narrow, &accesses);
    assert_eq!(core.now.0, MEMORY + 3 + L1);
    assert_eq!(core.parts[Part::Memory].0, MEMORY - L1);
}

#[test]
fn a_full_load_buffer_stops_loads_and_what_is_behind_them() {
    // A miss and hits behind it: two loads fit beside it, a store between them needs no place.
    let mut core = Paper::knowing([0]);
    core.l1 = [1, 2].into();
    let limits = Limits { load_buffer: 3, hits_are_short: false, ..limits() };
    core.run(limits, &[load(0, 0), store(0, 2), load(0, 1), load(0, 1), load(0, 1)]);
    assert_eq!(core.now.0, MEMORY + L1, "the fourth load enters when the miss leaves");
    let mut core = Paper::knowing([0]);
    core.l1 = [1, 2].into();
    core.run(limits, &[load(0, 0), load(0, 1), store(0, 2), store(0, 2), load(0, 1), store(0, 2)]);
    assert_eq!(core.now.0, MEMORY, "three loads and any store");
}

#[test]
fn a_tlb_miss_delays_what_depends_on_it_and_nothing_else() {
    // Page 9 is walked for; page 0 is known.
    let accesses = [load(9, 0), chased(0, 1), load(0, 2)];
    let mut core = Paper::knowing([0]);
    core.run(limits(), &accesses);
    let at = |line| core.log.iter().find(|(_, what, of)| *what == "fetch" && *of == line).unwrap().0;
    assert_eq!(at(2), 2, "the independent one went when it entered");
    assert_eq!(at(9 << 6), WALK);
    assert_eq!(at(1), WALK + MEMORY, "the dependent one waits for walk and data");
    assert_eq!(core.now.0, WALK + 2 * MEMORY);
    assert_eq!((core.parts[Part::Walk].0, core.parts[Part::User].0), (WALK - 3, 3 + 2 * L1));
}

#[test]
fn two_walkers_overlap_and_a_third_walk_queues() {
    let accesses = [load(1, 0), load(2, 0), load(3, 0)];
    let walks = |walkers| {
        let mut core = Paper::default();
        core.run(Limits { walkers, ..limits() }, &accesses);
        core.log.iter().filter(|e| e.1 == "walk").map(|e| e.0).collect::<Vec<_>>()
    };
    assert_eq!(walks(1), [0, WALK, 2 * WALK]);
    assert_eq!(walks(2), [0, 1, WALK]);
    assert_eq!(walks(3), [0, 1, 2]);
}

#[test]
fn the_wait_for_a_walker_is_counted_with_the_walker_that_took_the_walk() {
    let mut window = Window::new(limits());
    let accesses = [load(1, 0), load(1, 1), load(2, 0), load(3, 0)];
    let mut cursor = Cursor::new(Accesses::Stream(Box::new(accesses.into_iter())));
    let mut core = Paper::default();
    assert_eq!(window.run(&mut core, &mut cursor, Time::MAX, Time::MAX), Paused::Done);
    let mut counts = WalkQueue::default();
    for _ in 0..2 {
        window.count_walks(&mut counts);
        // Page 3 came at 3 and the first walk ends at 30; the second call adds nothing.
        let expected = WalkQueue { merged: 1, queued: 1, time: Time(WALK - 3), by_walker: vec![2, 1] };
        assert_eq!(counts, expected);
    }
}

#[test]
fn accesses_to_one_page_share_a_walk_under_way_or_queued() {
    let mut accesses = vec![load(1, 0), load(2, 0)];
    accesses.extend((0..3).flat_map(|line| [load(1, line), load(2, line), load(3, line)]));
    let mut core = Paper::default();
    core.run(limits(), &accesses);
    assert_eq!(core.count("walk"), 3);
    assert_eq!(core.count("fetch"), 9);
    // Page 3 queued behind the walk of page 1; its lines come after its own walk.
    assert_eq!(core.now.0, 2 * WALK + MEMORY);
}

#[test]
fn accesses_to_one_line_share_its_fill() {
    let narrow = Limits { fill_buffers: 1, ..limits() };
    assert_eq!(time(narrow, &[load(0, 0); 10]), MEMORY);
}

#[test]
fn a_store_that_misses_holds_a_place_of_the_store_buffer_and_not_of_the_window() {
    let stores: Vec<_> = (0..4).map(|n| store(n, 0)).collect();
    let mut core = Paper::knowing(0..10);
    core.l1 = [9 << 6].into();
    let many_hits = stores.iter().copied().chain(vec![load(9, 0); 60]);
    core.run(Limits { window: 8, ..limits() }, &many_hits.collect::<Vec<_>>());
    assert_eq!(core.now.0, 3 + MEMORY, "a window of 8 did not stop 60 loads behind four stores");
    let mut core = Paper::knowing(0..10);
    core.run(Limits { store_buffer: 2, ..limits() }, &stores);
    assert_eq!(core.now.0, 2 * MEMORY + 1, "two at a time");
}

#[test]
fn a_load_gets_the_data_of_a_store_that_waits_for_its_line() {
    let forwarded = [store(0, 0), load(0, 0), chased(0, 1)];
    let mut core = Paper::knowing([0]);
    core.l1 = [1].into();
    core.run(limits(), &forwarded);
    assert_eq!(core.now.0, MEMORY, "all the rest is over before the store is written");
    let another = [store(0, 0), Access::new(VirtAddr(32), AccessKind::Read), chased(0, 1)];
    let mut core = Paper::knowing([0]);
    core.l1 = [1].into();
    core.run(limits(), &another);
    assert_eq!(core.now.0, MEMORY + L1, "another part of the line has to come");
}

#[test]
fn a_fault_in_the_middle_comes_when_all_before_it_is_complete() {
    let mut core = Paper::knowing(0..10);
    core.absent = [(50, 1)].into();
    let accesses = [load(0, 0), load(50, 0), load(1, 0), load(2, 0)];
    let refused = core.run(limits(), &accesses);
    assert_eq!(refused, [accesses[1]]);
    // The first load, the fault, its access, the two behind it at once.
    assert_eq!(core.now.0, MEMORY + FAULT + MEMORY + MEMORY + 1);
    assert_eq!(core.parts[Part::Entry].0, FAULT);
}

#[test]
fn a_fault_throws_younger_accesses_back_that_have_not_begun() {
    // The fault comes late, behind a miss; meanwhile younger ones run.
    let mut core = Paper::knowing(0..10);
    core.absent = [(50, 1)].into();
    let accesses = [load(0, 0), chased(50, 0), load(1, 0), store(2, 0), chased(3, 0), load(4, 0)];
    let refused = core.run(limits(), &accesses);
    assert_eq!(refused, [accesses[1]]);
    let fetches: Vec<_> = core.log.iter().filter(|e| e.1 == "fetch").map(|e| e.2 >> 6).collect();
    assert_eq!(fetches, [0, 1, 4, 2, 3], "the store waited for what could stop it");
    let stored = core.log.iter().find(|e| e.2 == 2 << 6).unwrap().0;
    assert!(stored > MEMORY + WALK + FAULT);
}

#[test]
fn faults_come_in_program_order_though_a_younger_one_is_known_first() {
    let mut core = Paper::knowing(0..10);
    core.absent = [(50, 1), (60, 1)].into();
    let accesses = [load(0, 0), chased(50, 0), load(60, 0)];
    assert_eq!(core.run(limits(), &accesses), [accesses[1], accesses[2]]);
}

#[test]
fn an_assist_waits_for_all_before_it_and_all_after_it_for_the_assist() {
    let mut core = Paper::knowing([0, 2]);
    core.unused = [1].into();
    core.run(limits(), &[load(0, 0), load(1, 0), load(2, 0)]);
    assert_eq!(core.parts[Part::Assist].0, FAULT);
    let at =
        |page: u64| core.log.iter().find(|(_, what, of)| *what == "fetch" && *of == page << 6).unwrap().0;
    assert_eq!((at(0), at(1)), (0, MEMORY + FAULT));
    assert!(at(2) >= MEMORY + FAULT);
    assert_eq!(core.now.0, MEMORY + FAULT + MEMORY);
}

#[test]
fn an_interrupt_waits_for_data_on_their_way_and_not_for_what_depends_on_them() {
    let mut core = Paper::knowing(0..100);
    let chain: Vec<_> = (0..50).map(|n| chased(n, 0)).collect();
    let mut window = Window::new(limits());
    let mut cursor = Cursor::new(Accesses::Stream(Box::new(chain.into_iter())));
    let due = Time(3 * MEMORY / 2);
    assert_eq!(window.run(&mut core, &mut cursor, Time::MAX, due), Paused::Yield);
    assert!(window.is_drained(core.now));
    assert_eq!(core.now.0, 2 * MEMORY);
    assert_eq!(window.run(&mut core, &mut cursor, Time::MAX, Time::MAX), Paused::Done);
    assert_eq!((core.now.0, core.made), (50 * MEMORY, 50));
    assert_eq!(core.parts.total(), core.now);
}

#[test]
fn giving_way_to_other_cpus_changes_nothing() {
    let accesses: Vec<_> =
        (0..60).map(|n| if n % 3 == 2 { chased(n % 7, n) } else { load(n % 11, n) }).collect();
    let mut whole = Paper::default();
    whole.run(limits(), &accesses);
    let mut pieces = Paper::default();
    let mut window = Window::new(limits());
    let mut cursor = Cursor::new(Accesses::Stream(Box::new(accesses.into_iter())));
    let mut horizon = 0;
    while window.run(&mut pieces, &mut cursor, Time(horizon), Time::MAX) == Paused::Yield {
        horizon += 7;
    }
    assert_eq!((pieces.now, pieces.parts, pieces.log), (whole.now, whole.parts, whole.log));
}

#[test]
fn pages_behind_a_fault_are_walked_for_until_it_is_the_oldest() {
    // A miss holds the fault up. Behind it: pages that nobody knows, one that depends on what is not there, one that is known.
    let accesses =
        [load(0, 0), load(50, 0), load(20, 0), load(21, 0), chased(22, 0), load(1, 0), store(23, 0)];
    let run = |run_ahead| {
        let mut core = Paper::knowing(0..10);
        core.absent = [(50, 1)].into();
        assert_eq!(core.run(Limits { run_ahead, ..limits() }, &accesses), [accesses[1]]);
        core
    };
    let (without, with) = (run(false), run(true));
    assert_eq!(without.count("ahead"), 0);
    // The walk for page 50 has one of the two walkers from 1 on; the other is busy with page 20 when 21 comes by.
    let ahead: Vec<_> = with.log.iter().filter(|e| e.1 == "ahead").map(|e| (e.0, e.2)).collect();
    assert_eq!(ahead, [(2, 20)]);
    assert_eq!(with.count("walk") + 1, without.count("walk"), "page 20 is known when its turn comes");
    assert_eq!(with.made, without.made);
    assert!(with.now <= without.now);
    assert_eq!(with.parts.total(), with.now);
}

#[test]
fn no_page_is_walked_for_ahead_outside_the_window_or_twice() {
    let many: Vec<_> =
        [load(0, 0), load(50, 0)].into_iter().chain((0..40).map(|n| load(20 + n / 2, 0))).collect();
    let ahead = |window, walkers| {
        let mut core = Paper::knowing(0..10);
        core.absent = [(50, 1)].into();
        core.run(Limits { run_ahead: true, window, walkers, ..limits() }, &many);
        let pages: BTreeSet<u64> = core.log.iter().filter(|e| e.1 == "ahead").map(|e| e.2).collect();
        assert_eq!(pages.len(), core.count("ahead"), "a page under way or known needs no walk");
        core.count("ahead")
    };
    assert_eq!(ahead(2, 64), 0);
    assert_eq!(ahead(8, 64), 3);
    assert_eq!(ahead(64, 64), 20);
    // The only walker has the page of the fault until 31. What comes by before that is passed over.
    assert_eq!(ahead(64, 1), 1);
}
