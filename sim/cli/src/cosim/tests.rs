//! A stream through real rings into the machine.

use std::ops::Range;
use std::time::Duration;

use daxsim_configs::Override;
use daxsim_ring::{Access, Control, Geometry, Item, Op, Place, Reader, Received, Writer};
use daxsim_traces::script::{Script, marks};
use daxsim_types::{PhysAddr, VirtAddr};

use super::*;

const DAX_VA: u64 = 0x7f00_0000_0000;
const KERNEL_VA: u64 = 0xffff_8880_0000_0000;
/// Addresses that a script maps.
const MAPS: Range<u64> = 0x1000_0000_0000..0x1100_0000_0000;
const RAM: u64 = 0x100_0000;

fn feed(cpus: u16) -> Feed {
    let set = [Override::parse(&format!("cpu.count={cpus}")).unwrap()];
    let spec = load_machine("skylake-sp-optane", &set).unwrap();
    let kernel = load_kernel("linux-7.2", &[]).unwrap();
    Feed::new(Bare::new(spec, kernel, Options::default()).unwrap(), MAPS)
}

fn user(op: Op, va: u64, pa: u64) -> Access {
    let (va, pa) = (VirtAddr(va), Some(PhysAddr(pa)));
    Access { va, pa, op, size: 8, user: true, device: false, gap: 5 }
}

/// The kernel touches so many lines, each by a load and a store.
fn kernel(lines: u64) -> Vec<Access> {
    let at =
        |line: u64, op| Access { user: false, gap: 7, ..user(op, KERNEL_VA + 64 * line, RAM + 64 * line) };
    (0..lines).flat_map(|line| [at(line, Op::Load), at(line, Op::Store)]).collect()
}

/// Sends what each vCPU does through rings, one vCPU after the other, and feeds what comes out.
fn through_rings(feed: &mut Feed, streams: &[Vec<Access>]) {
    let items = |stream: &Vec<Access>| stream.iter().map(|access| Item::Access(*access)).collect();
    all_through_rings(feed, &streams.iter().map(items).collect::<Vec<Vec<Item>>>());
}

fn all_through_rings(feed: &mut Feed, streams: &[Vec<Item>]) {
    let mut reader = Reader::create(&Place::Memory, Geometry::default()).unwrap();
    let writer = Writer::open(reader.path(), streams.len() as u32).unwrap();
    for (vcpu, stream) in (0..).zip(streams) {
        let mut producer = writer.producer(vcpu).unwrap();
        let mut instructions = 0;
        for item in stream {
            match item {
                Item::Access(access) => {
                    instructions += u64::from(access.gap);
                    producer.push(*access, instructions).unwrap();
                }
                Item::Control(control) => producer.push_control(*control).unwrap(),
            }
        }
        producer.flush(instructions).unwrap();
    }
    writer.finish();
    let mut batch = Batch::default();
    loop {
        match reader.next_batch(&mut batch, Duration::from_millis(100)).unwrap() {
            Received::Batch => feed.batch(&batch).unwrap(),
            Received::Nothing => {}
            Received::End(ending) => break assert_eq!(ending, Ending::Finished),
        }
    }
}

#[test]
fn both_sides_of_each_cpu_are_counted() {
    let mut feed = feed(2);
    let device = Access { device: true, ..user(Op::Load, KERNEL_VA, RAM) };
    let unknown = Access { pa: None, ..user(Op::Load, 0x1000, 0) };
    let first = [user(Op::Load, 0x5000, RAM), device, unknown, user(Op::Store, 0x5000, RAM)];
    through_rings(&mut feed, &[first.to_vec(), kernel(3)]);
    let cosim: serde_json::Value =
        serde_json::from_str(&Cosim::new(&feed, true, &[]).to_json().unwrap()).unwrap();
    let top = |key: &str| cosim[key].as_u64().unwrap();
    assert_eq!(["accesses", "devices_left_out", "unknown_left_out"].map(top), [8, 1, 1]);
    let side = |at: usize, key: &str| cosim["sides"][at][key].as_u64().unwrap();
    assert_eq!([0, 1, 2, 3].map(|at| side(at, "loads") + side(at, "stores")), [2, 0, 0, 6]);
    assert_eq!(side(0, "instructions"), 20, "those before accesses that are left out, too");
    assert_eq!((side(0, "walks"), side(3, "walks")), (1, 1));
    let text = Cosim::new(&feed, true, &[]).text();
    assert!(text.contains("left out: 1 of devices, 1 without"), "{text}");
}

#[test]
fn faults_are_found_and_told_apart() {
    let mut feed = feed(1);
    let base = feed.machine.spec().pmem.base;
    let page = |n: u64, op| user(op, DAX_VA + n * 4096, base + n * 4096);
    let mut stream = vec![user(Op::Load, 0x5000, RAM)];
    for n in 0..4 {
        stream.extend(kernel(10));
        stream.push(page(n, Op::Load));
        stream.push(page(n, Op::Load));
    }
    for n in 0..3 {
        stream.extend(kernel(20));
        stream.push(page(n, Op::Store));
    }
    stream.extend(kernel(30));
    stream.push(page(9, Op::Store));
    // A system call between accesses to a page that is there is no fault.
    stream.extend(kernel(40));
    stream.push(page(9, Op::Load));
    through_rings(&mut feed, &[stream]);
    let cosim: serde_json::Value =
        serde_json::from_str(&Cosim::new(&feed, true, &[]).to_json().unwrap()).unwrap();
    let faults = cosim["faults"].as_array().unwrap();
    let path = |at: usize| {
        let fault = &faults[at];
        let number = |key: &str| fault["kernel"][key].as_u64().unwrap();
        let counts = ["instructions", "loads", "stores", "lines"].map(number);
        (fault["kind"].as_str().unwrap(), fault["count"].as_u64().unwrap(), counts)
    };
    assert_eq!(faults.len(), 3);
    assert_eq!(path(0), ("mkwrite", 3, [40 * 7 + 5, 20, 21, 21]));
    assert_eq!(path(1), ("read", 4, [20 * 7 + 5, 11, 10, 11]));
    assert_eq!(path(2), ("write", 1, [60 * 7 + 5, 30, 31, 31]));
    assert!(faults[0]["kernel"]["cycles"].as_u64().unwrap() > 40, "at least a cycle for some instructions");
}

#[test]
fn a_large_page_shows_by_pages_that_come_without_the_kernel() {
    let mut feed = feed(1);
    let base = feed.machine.spec().pmem.base;
    let page = |n: u64| user(Op::Store, DAX_VA + n * 4096, base + n * 4096);
    let mut stream = kernel(10);
    stream.extend([page(0), page(1), page(2)]);
    stream.extend(kernel(10));
    stream.push(page(512));
    through_rings(&mut feed, &[stream]);
    let kinds: Vec<(String, usize)> =
        feed.faults.by_kind().into_iter().map(|(kind, all)| (kind, all.len())).collect();
    assert_eq!(kinds, [("pmd_write".to_owned(), 1), ("write".to_owned(), 1)]);
}

#[test]
fn an_instruction_that_accesses_other_memory_first_has_one_fault() {
    let mut feed = feed(1);
    let base = feed.machine.spec().pmem.base;
    let source = user(Op::Load, 0x5000, RAM);
    let page = |n: u64, gap| Access { gap, ..user(Op::Store, DAX_VA + n * 4096, base + n * 4096) };
    // MOVS: the repeat loads what it stores.
    let mut stream = kernel(10);
    stream.extend([source, page(0, 0)]);
    // The program went on before its next store, which needed no fault.
    stream.extend(kernel(10));
    stream.extend([source, page(600, 5)]);
    through_rings(&mut feed, &[stream]);
    let kinds: Vec<(String, usize)> =
        feed.faults.by_kind().into_iter().map(|(kind, all)| (kind, all.len())).collect();
    assert_eq!(kinds, [("write".to_owned(), 1)]);
}

#[test]
fn interrupts_are_taken_out_and_a_page_that_is_filled_was_a_hole() {
    let mut feed = feed(1);
    let base = feed.machine.spec().pmem.base;
    let system = |va: u64, op, size, gap| Access { user: false, size, gap, ..user(op, va, RAM + va % 4096) };
    let (gate, stack) = (0xffff_fe00_0000_0000 + 16 * 0xec, 0xffff_c900_0000_4000);
    let mut interrupt = vec![system(gate, Op::Load, 4, 0)];
    interrupt.extend((1..=5).map(|n| system(stack - 8 * n, Op::Store, 8, 0)));
    interrupt.push(system(KERNEL_VA, Op::Load, 8, 1000));
    interrupt.extend((0..5).map(|n| system(stack - 40 + 8 * n, Op::Load, 8, u32::from(n == 0))));
    let fill = (0..64).map(|line| Access {
        user: false,
        ..user(Op::Store, KERNEL_VA + 0x10_0000 + 64 * line, base + 64 * line)
    });
    let mut stream = kernel(5);
    stream.extend(interrupt);
    stream.extend(fill);
    stream.push(user(Op::Store, DAX_VA, base));
    through_rings(&mut feed, &[stream]);
    let cosim: serde_json::Value =
        serde_json::from_str(&Cosim::new(&feed, true, &[]).to_json().unwrap()).unwrap();
    let fault = &cosim["faults"][0];
    let counts = ["instructions", "loads", "stores"].map(|key| fault["kernel"][key].as_u64().unwrap());
    assert_eq!((fault["kind"].as_str(), counts), (Some("write_hole"), [10 * 7 + 64 * 5 + 5, 5, 5 + 64 + 1]));
    assert_eq!(cosim["interrupts"]["count"], 1);
    let text = Cosim::new(&feed, true, &[]).text();
    assert!(text.contains("1 interrupts, of 1,001 instructions"), "{text}");
}

#[test]
fn address_spaces_are_apart_and_invalidations_are_the_guests() {
    let mut feed = feed(1);
    let root = |at| Item::Control(Control::Root(PhysAddr(at)));
    let load = |pa| Item::Access(user(Op::Load, 0x5000, pa));
    let page = Item::Control(Control::Page(VirtAddr(0x5000)));
    // Two processes have other pages in the same place; the second one remaps its own, as it should.
    let stream =
        [root(0x1000), load(RAM), root(0x2000), load(2 * RAM), page, load(3 * RAM), root(0x1000), load(RAM)];
    all_through_rings(&mut feed, &[stream.to_vec()]);
    let cosim: serde_json::Value =
        serde_json::from_str(&Cosim::new(&feed, true, &[]).to_json().unwrap()).unwrap();
    let mapping = |key: &str| cosim["mapping"][key].as_u64().unwrap();
    assert_eq!(["inferred_remaps", "stale"].map(mapping), [1, 0]);
    assert_eq!(cosim["mapping"]["roots"], "known");
    let done = |key: &str| cosim["maintained"][0][key].as_u64().unwrap();
    // The first root is loaded on every CPU before anything else.
    assert_eq!(["cr3_writes", "invlpg", "full_flushes"].map(done), [4, 1, 0]);
    assert_eq!(cosim["sides"][0]["walks"], 4, "each load is the first one after an invalidation");
}

#[test]
fn an_atomic_instruction_is_one_access_that_loads_and_stores() {
    let mut feed = feed(1);
    let locked = Access { gap: 0, ..user(Op::Locked, 0x5000, RAM) };
    through_rings(&mut feed, &[vec![user(Op::Load, 0x5000, RAM), locked, user(Op::Store, 0x5000, RAM)]]);
    let cosim: serde_json::Value =
        serde_json::from_str(&Cosim::new(&feed, true, &[]).to_json().unwrap()).unwrap();
    let side = |key: &str| cosim["sides"][0][key].as_u64().unwrap();
    assert_eq!(["loads", "stores", "atomics"].map(side), [1, 2, 1]);
}

#[test]
fn lines_of_a_script_have_the_kernels_way_between_their_marks() {
    let mut feed = feed(1);
    let mark = |at| user(Op::Store, at, RAM + 0x8000);
    let at = |n: u64, op| user(op, MAPS.start + n * 4096, RAM + 0x10_0000 + n * 4096);
    // Line 0 is a call; line 1 has two faults on memory that is not persistent, and an access without one.
    let mut stream = vec![mark(marks::begin(0))];
    stream.extend(kernel(30));
    stream.push(mark(marks::end(0)));
    stream.push(mark(marks::begin(1)));
    for n in 0..2 {
        stream.extend(kernel(10));
        stream.push(at(n, Op::Load));
    }
    stream.push(at(0, Op::Load));
    stream.push(mark(marks::end(1)));
    through_rings(&mut feed, &[stream]);
    let script = Script::parse("0 nop\n0 nop\n", "s".as_ref()).unwrap();
    let played = Played { name: "s".into(), script, passes: 1 };
    let lines = Cosim::new(&feed, true, &[played]).lines;
    let seen: Vec<_> =
        lines.iter().map(|l| (l.line, l.what, l.count, l.kernel.executed(), l.others)).collect();
    assert_eq!(seen, [(0, "call", 1, [60 * 7, 30, 30], 0), (1, "fault", 2, [20 * 7 + 5, 11, 10], 1)]);
    assert_eq!((lines[1].pass, lines[1].text.as_str()), (1, "0 nop"));
}

#[test]
fn a_vcpu_that_the_machine_has_not_is_refused() {
    let mut feed = feed(1);
    let mut batch = Batch::default();
    batch.vcpu = 1;
    let error = feed.batch(&batch).unwrap_err().to_string();
    assert!(error.contains("raise cpu.count"), "{error}");
}
