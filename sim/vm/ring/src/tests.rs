use std::thread;
use std::time::Duration;

use daxsim_types::{PhysAddr, VirtAddr};

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
