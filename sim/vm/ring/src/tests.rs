mod model;

use std::thread;
use std::time::Duration;

use daxsim_types::{PhysAddr, VirtAddr};
use proptest::prelude::*;

use super::*;

const SOON: Duration = Duration::from_secs(20);

fn access(number: u64) -> Access {
    Access {
        va: VirtAddr(number * 8),
        pa: Some(PhysAddr(0x1_0000_0000 + number * 8)),
        op: if number.is_multiple_of(3) { Op::Store } else { Op::Load },
        size: 8,
        user: number.is_multiple_of(2),
        device: false,
        gap: 1,
    }
}

#[test]
fn what_is_pushed_comes_out_in_order_while_a_small_ring_fills_and_empties() {
    let mut reader = Reader::create(&Place::Memory, Geometry { rings: 1, slots: 8, batch: 3 }).unwrap();
    let writer = Writer::open(reader.path(), 1).unwrap();
    let pushes = thread::spawn(move || {
        let mut producer = writer.producer(0).unwrap();
        for number in 0..10_000 {
            producer.push(access(number), number + 1).unwrap();
        }
        producer.flush(10_000).unwrap();
        writer.finish();
    });
    let (mut batch, mut expected) = (Batch::default(), 0);
    let ending = loop {
        match reader.next_batch(&mut batch, SOON).unwrap() {
            Received::Batch => {
                assert_eq!(batch.instructions, expected);
                for found in batch.accesses() {
                    assert_eq!(found, access(expected));
                    expected += 1;
                }
            }
            Received::Nothing => panic!("nothing came"),
            Received::End(ending) => break ending,
        }
    };
    pushes.join().unwrap();
    assert_eq!((ending, expected), (Ending::Finished, 10_000));
}

/// Reads all there is.
fn drain(reader: &mut Reader) -> (Vec<(u32, u64, Access)>, Ending) {
    let (mut batch, mut all) = (Batch::default(), Vec::new());
    loop {
        match reader.next_batch(&mut batch, SOON).unwrap() {
            Received::Batch => {
                let mut instructions = batch.instructions;
                for access in batch.accesses() {
                    instructions += u64::from(access.gap);
                    all.push((batch.vcpu, instructions, access));
                }
            }
            Received::Nothing => panic!("nothing came"),
            Received::End(ending) => return (all, ending),
        }
    }
}

proptest! {
    /// A thread that runs several vCPUs in turns, against a plain list.
    #[test]
    fn turns_of_one_thread_come_out_in_the_order_of_all_accesses(
        turns in prop::collection::vec((0..3_u32, prop::collection::vec(0..1_u64 << 26, 1..12)), 1..40),
        batch in 1..8_u32,
    ) {
        let mut reader = Reader::create(&Place::Memory, Geometry { rings: 3, slots: 2048, batch }).unwrap();
        let writer = Writer::open(reader.path(), 3).unwrap();
        let mut producers: Vec<Producer> = (0..3).map(|vcpu| writer.producer(vcpu).unwrap()).collect();
        let (mut instructions, mut expected) = ([0_u64; 3], Vec::new());
        for (number, (vcpu, gaps)) in turns.iter().enumerate() {
            let at = *vcpu as usize;
            for gap in gaps {
                instructions[at] += gap;
                producers[at].push(access(number as u64), instructions[at]).unwrap();
                expected.push((*vcpu, instructions[at], number as u64 * 8));
            }
            producers[at].hand_over();
        }
        writer.finish();
        let (all, ending) = drain(&mut reader);
        let found: Vec<_> = all.iter().map(|(vcpu, count, access)| (*vcpu, *count, access.va.0)).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(ending, Ending::Finished);
    }
}

#[test]
fn threads_that_write_at_the_same_time_each_keep_their_order_and_lose_nothing() {
    let mut reader = Reader::create(&Place::Memory, Geometry { rings: 4, slots: 16, batch: 5 }).unwrap();
    let writer = Writer::open(reader.path(), 4).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|vcpu| {
            let mut producer = writer.producer(vcpu).unwrap();
            thread::spawn(move || {
                for number in 1..=5000 {
                    producer.push(access(number), number).unwrap();
                }
                producer.flush(5001).unwrap();
            })
        })
        .collect();
    let ends = thread::spawn(move || {
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        writer.finish();
    });
    let (all, ending) = drain(&mut reader);
    ends.join().unwrap();
    assert_eq!(ending, Ending::Finished);
    for vcpu in 0..4 {
        let of_it = all.iter().filter(|(from, ..)| *from == vcpu).map(|(_, count, _)| *count);
        assert!(of_it.eq(1..=5000), "vCPU {vcpu}");
    }
}

#[test]
fn instructions_after_the_last_access_come_as_an_empty_batch() {
    let mut reader = Reader::create(&Place::Memory, Geometry { rings: 1, slots: 16, batch: 5 }).unwrap();
    let writer = Writer::open(reader.path(), 1).unwrap();
    let mut producer = writer.producer(0).unwrap();
    producer.push(access(1), 7).unwrap();
    producer.flush(1 << 40).unwrap();
    // What goes back counts as standing still.
    producer.push(access(2), 8).unwrap();
    producer.flush(9).unwrap();
    let mut batch = Batch::default();
    let mut next = || {
        assert_eq!(reader.next_batch(&mut batch, SOON).unwrap(), Received::Batch);
        (batch.stamp, batch.instructions, batch.accesses().count())
    };
    assert_eq!([next(), next(), next()], [(0, 0, 1), (1, 1 << 40, 0), (2, 1 << 40, 1)]);
}

#[test]
fn a_writer_that_goes_without_a_word_has_died_and_a_second_one_is_refused_before() {
    let mut reader = Reader::create(&Place::Memory, Geometry { rings: 1, slots: 16, batch: 5 }).unwrap();
    assert_eq!(reader.next_batch(&mut Batch::default(), Duration::ZERO).unwrap(), Received::Nothing);
    let writer = Writer::open(reader.path(), 1).unwrap();
    assert!(matches!(Writer::open(reader.path(), 1), Err(RingError::Taken { who: "writer", .. })));
    let mut producer = writer.producer(0).unwrap();
    assert!(matches!(writer.producer(0), Err(RingError::Taken { who: "producer", .. })));
    producer.push(access(1), 1).unwrap();
    producer.hand_over();
    producer.push(access(2), 2).unwrap();
    drop((writer, producer));
    let (all, ending) = drain(&mut reader);
    assert_eq!((all.len(), ending), (1, Ending::Died));
}

#[test]
fn a_file_that_holds_no_rings_is_refused_with_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, [7; 4096]).unwrap();
    let refused = Writer::open(&path, 1).err().unwrap().to_string();
    assert!(
        refused.ends_with("found the magic number 0x0707070707070707: expected 0x0a474e4952584144"),
        "{refused}"
    );
    let ring = folder.path().join("ring");
    let reader =
        Reader::create(&Place::File(ring.clone()), Geometry { rings: 1, slots: 16, batch: 5 }).unwrap();
    let refused = Writer::open(reader.path(), 2).err().unwrap().to_string();
    assert!(refused.ends_with("found 1 rings: expected one for each of 2 vCPUs"), "{refused}");
    drop(reader);
    assert!(!ring.exists());
}

/// Where a child of the tests below has its ring.
const RING: &str = "DAXSIM_RING_OF_TEST";

/// Runs one of the functions below in a process of its own.
fn child(name: &str, ring: &std::path::Path) -> std::process::Child {
    std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env(RING, ring)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "the reader of a test"]
fn reads_nothing_for_ever() {
    let Some(path) = std::env::var_os(RING) else { return };
    let _reader =
        Reader::create(&Place::File(path.into()), Geometry { rings: 1, slots: 16, batch: 5 }).unwrap();
    thread::sleep(Duration::from_secs(600));
}

#[test]
#[ignore = "the writer of a test"]
fn writes_for_ever() {
    let Some(path) = std::env::var_os(RING) else { return };
    let mut producer = Writer::open(path.as_ref(), 1).unwrap().producer(0).unwrap();
    let mut number = 0;
    while producer.push(access(number), number + 1).is_ok() {
        number += 1;
    }
}

#[test]
fn a_reader_that_is_killed_ends_the_wait_of_its_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ring");
    let mut reader = child("tests::reads_nothing_for_ever", &path);
    let mut tries = 0;
    let writer = loop {
        match Writer::open(&path, 1) {
            Ok(writer) => break writer,
            Err(error) => assert!(tries < 2000, "no reader: {error}"),
        }
        tries += 1;
        thread::sleep(Duration::from_millis(10));
    };
    let mut producer = writer.producer(0).unwrap();
    let waits =
        thread::spawn(move || (1..1000).find(|number| producer.push(access(*number), *number).is_err()));
    thread::sleep(Duration::from_millis(100));
    assert!(!waits.is_finished(), "the writer waits while the reader lives");
    reader.kill().unwrap();
    reader.wait().unwrap();
    // Three batches of five fit 16 slots with their headers only twice.
    assert_eq!(waits.join().unwrap(), Some(11));
}

#[test]
fn what_a_killed_writer_had_shown_is_read_before_its_death_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ring");
    let mut reader =
        Reader::create(&Place::File(path.clone()), Geometry { rings: 1, slots: 64, batch: 5 }).unwrap();
    let mut writer = child("tests::writes_for_ever", &path);
    let (mut batch, mut seen) = (Batch::default(), 0);
    let ending = loop {
        match reader.next_batch(&mut batch, SOON).unwrap() {
            Received::Batch => {
                for found in batch.accesses() {
                    assert_eq!(found, access(seen));
                    seen += 1;
                }
                if batch.stamp == 1000 {
                    writer.kill().unwrap();
                }
            }
            Received::Nothing => panic!("nothing came"),
            Received::End(ending) => break ending,
        }
    };
    writer.wait().unwrap();
    assert_eq!(ending, Ending::Died);
    assert!(seen >= 5 * 1001 && seen.is_multiple_of(5), "{seen}");
}
