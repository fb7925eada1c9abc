//! Tests of one DIMM, part by part.

use daxsim_configs::machine::{BufferReplacement, PmemSpec};
use daxsim_types::Time;

use super::dimm::Dimm;
use crate::memory::stats::DeviceStats;

const READ: Time = Time(40_000);
const WRITE: Time = Time(116_000);

fn spec() -> PmemSpec {
    let spec = daxsim_configs::load_machine("skylake-sp-optane", &[]).unwrap().pmem;
    PmemSpec {
        media_line: 256,
        read_latency_buffered: Time(150_000),
        read_latency_media: Time(280_000),
        wpq_lines: 2,
        media_read_occupancy: READ,
        media_write_occupancy: WRITE,
        media_partitions: 1,
        media_queue: 1,
        ..crate::memory::tests::plain(spec)
    }
}

fn dimm(spec: &PmemSpec) -> (Dimm, DeviceStats) {
    (Dimm::new(spec, 4, 0), DeviceStats::default())
}

fn write(d: &mut Dimm, line: u64, sector: u64, at: u64, s: &mut DeviceStats) -> Time {
    d.write(line, sector, [Time(at); 2], s)
}

/// All four sectors of a line.
fn write_line(d: &mut Dimm, line: u64, at: u64, s: &mut DeviceStats) {
    for sector in 0..4 {
        write(d, line, 1 << sector, at, s);
    }
}

#[test]
fn a_read_fills_the_buffer_and_waits_for_a_fill_under_way() {
    let (mut d, mut s) = dimm(&PmemSpec { buffer_lines: 4, ..spec() });
    assert_eq!(d.read(7, 1, Time(0), &mut s), Time(280_000));
    assert_eq!(d.read(7, 2, Time(10_000), &mut s), Time(270_000));
    assert_eq!(d.read(7, 2, Time(1_000_000), &mut s), Time(150_000));
    assert_eq!(d.read(8, 1, Time(2_000_000), &mut s), Time(280_000));
    assert_eq!(d.read(9, 1, Time(2_000_000), &mut s), Time(280_000) + READ, "behind the first on the media");
    assert_eq!((s.media_bytes_read, s.buffer_read_hits), (768, 2));
}

#[test]
fn sectors_of_a_line_under_way_follow_each_other() {
    let (mut d, mut s) = dimm(&PmemSpec { sector_interval: Time(9_000), ..spec() });
    let latencies: Vec<u64> = (0..4).map(|n| d.read(7, 1 << n, Time(0), &mut s).0).collect();
    assert_eq!(latencies, [280_000, 289_000, 298_000, 307_000]);
    assert_eq!(d.read(9, 1, Time(36_000), &mut s), Time(280_000) + READ - Time(36_000));
}

#[test]
fn a_full_read_queue_lets_the_next_one_wait() {
    let (mut d, mut s) = dimm(&PmemSpec { rpq_lines: 2, ..spec() });
    d.read(1, 1, Time(0), &mut s);
    d.read(1, 2, Time(0), &mut s);
    assert_eq!(d.read(1, 4, Time(0), &mut s), Time(280_000 + 150_000));
    assert_eq!((s.read_waits, s.read_wait_time), (1, Time(280_000)));
    assert_eq!(d.rpq.deepest, 2);
}

#[test]
fn a_line_goes_to_the_media_once_every_sector_is_written() {
    let (mut d, mut s) = dimm(&spec());
    for round in 1..4u64 {
        write_line(&mut d, 3, round * 1_000_000, &mut s);
        assert_eq!((s.media_bytes_written, s.media_bytes_read), (256 * round, 0));
    }
    assert_eq!(s.effective_write_ratio(), Some(0.0), "writes are counted by the caller");
    assert_eq!(d.read(3, 1, Time(9_000_000), &mut s), Time(150_000), "and stays in the buffer");
}

#[test]
fn a_part_of_a_line_stays_until_its_place_is_needed_and_costs_a_media_read() {
    let (mut d, mut s) = dimm(&PmemSpec { buffer_lines: 2, ..spec() });
    for n in 0..100 {
        write(&mut d, n % 2, 1, n * 1_000_000, &mut s);
    }
    assert_eq!((s.media_bytes_written, s.buffer_write_hits), (0, 98));
    write(&mut d, 2, 1, 100_000_000, &mut s);
    assert_eq!((s.media_bytes_read, s.media_bytes_written, s.partial_writes), (256, 256, 1));
}

#[test]
fn a_sector_not_written_is_read_from_the_media_and_saves_the_read_modify_write() {
    let (mut d, mut s) = dimm(&PmemSpec { buffer_lines: 1, ..spec() });
    write(&mut d, 3, 0b10, 0, &mut s);
    assert_eq!(d.read(3, 0b10, Time(0), &mut s), Time(150_000));
    assert_eq!(d.read(3, 0b01, Time(0), &mut s), Time(280_000));
    write(&mut d, 4, 1, 1_000_000, &mut s);
    assert_eq!((s.media_bytes_read, s.media_bytes_written), (256, 256), "the whole line was valid");
    write(&mut d, 5, 1, 2_000_000, &mut s);
    assert_eq!((s.media_bytes_read, s.media_bytes_written), (512, 512));
}

#[test]
fn reads_keep_writes_back_by_their_share() {
    for (share, last) in [(100, 4), (50, 2), (0, 0)] {
        let (mut d, mut s) = dimm(&PmemSpec { media_read_share: share, media_queue: 16, ..spec() });
        write_line(&mut d, 0, 0, &mut s);
        for line in 10..14 {
            d.read(line, 1, Time(1_000), &mut s);
        }
        write_line(&mut d, 1, 2_000, &mut s);
        let behind = d.media.writes.last().0 - 2 * WRITE.0;
        assert_eq!(behind, last * READ.0, "{share} %");
    }
}

#[test]
fn a_write_waits_when_the_media_is_behind_and_all_queues_are_full() {
    let (mut d, mut s) = dimm(&spec());
    let times = [Time(0), Time(1)];
    let stalls: Vec<u64> = (0..5).map(|line| d.write(line, 15, times, &mut s).0).collect();
    // One on the media, one that waits for it at the end of the queue, one more in the queue.
    assert_eq!(stalls, [0, 0, 0, 116_000, 232_000]); // ps
    assert_eq!(d.wpq.deepest, 2);
}

#[test]
fn writes_that_come_all_at_once_are_let_in_one_after_the_other() {
    let spec = PmemSpec { wpq_lines: 8, wpq_samples: 3, media_queue: 4, buffer_lines: 64, ..spec() };
    let (mut d, mut s) = dimm(&spec);
    // Twelve lines of each of eight streams come as soon as the last of those before them are accepted.
    let (mut now, mut longest) = (0, 0);
    for round in 0..20 {
        let accepted: Vec<u64> = (0..96)
            .map(|n| {
                now + write(&mut d, 1000 * (n % 8) + 3 * round + n / 32, 1 << (n / 8 % 4), now, &mut s).0
            })
            .collect();
        let gaps = accepted.windows(2).map(|pair| pair[1] - pair[0]);
        longest = longest.max(if round == 0 { 0 } else { gaps.max().unwrap() });
        now = accepted[95];
    }
    assert!(longest <= 4 * WRITE.0, "nothing was accepted for {longest} ps");
    let bandwidth = (20 * 24) as f64 * WRITE.0 as f64 / now as f64;
    assert!((0.8..1.1).contains(&bandwidth), "{bandwidth} of what the media can");
}

#[test]
fn streams_run_at_the_bandwidth_of_the_media() {
    let (mut d, mut s) = dimm(&PmemSpec { media_queue: 16, ..spec() });
    let (mut now, lines) = (0, 4_000u64);
    for n in 0..4 * lines {
        now += write(&mut d, n / 4, 1 << (n % 4), now, &mut s).0;
    }
    let bandwidth = lines as f64 * WRITE.0 as f64 / now as f64;
    assert!((bandwidth - 1.0).abs() < 0.01, "{bandwidth} of what the media can");
}

#[test]
fn after_a_fence_a_write_waits_for_the_queue_that_is_drained() {
    let (mut d, mut s) = dimm(&PmemSpec { wpq_drain: Time(90_000), wpq_turn: Time(70_000), ..spec() });
    assert_eq!(d.write(0, 1, [Time(0), Time(60_000)], &mut s), Time(70_000), "as if one had come at 0");
    assert_eq!(d.write(0, 2, [Time(10_000), Time(70_000)], &mut s), Time::ZERO, "no fence in between");
    assert_eq!(d.write(0, 4, [Time(159_000), Time(219_000)], &mut s), Time(70_000));
    assert_eq!(d.write(0, 8, [Time(379_000), Time(439_000)], &mut s), Time::ZERO, "the queue is at rest");
}

#[test]
fn a_read_waits_for_the_write_under_way_and_not_for_those_behind() {
    let (mut d, mut s) = dimm(&PmemSpec { media_queue: 16, ..spec() });
    for line in 0..8 {
        write_line(&mut d, line, 0, &mut s);
    }
    assert_eq!(d.read(100, 1, Time(16_000), &mut s), Time(100_000 + 280_000));
}

#[test]
fn partitions_work_side_by_side_and_together_at_the_bandwidth() {
    let (mut d, mut s) = dimm(&PmemSpec { media_partitions: 2, ..spec() });
    let latencies: Vec<u64> = [0, 1, 2, 3].map(|line| d.read(line, 1, Time(0), &mut s).0).to_vec();
    assert_eq!(latencies, [280_000, 280_000, 360_000, 360_000]);
}

#[test]
fn a_block_that_the_table_has_not_cached_takes_longer() {
    let table = PmemSpec { ait_entries: 32, ait_ways: 2, ait_miss_latency: Time(67_000), ..spec() };
    let (mut d, mut s) = dimm(&PmemSpec { buffer_lines: 1, ..table });
    let mut at = 0;
    let mut read = |block: u64, line: u64| {
        at += 1_000_000;
        d.read(block * 16 + line, 1, Time(at), &mut s).0
    };
    assert_eq!(read(0, 0), 347_000);
    assert_eq!(read(0, 1), 280_000);
    // Sixteen sets of two ways: the third block of a set pushes out the one used longest ago.
    assert_eq!([read(16, 0), read(0, 2), read(32, 0)], [347_000, 280_000, 347_000]);
    assert_eq!([read(0, 3), read(16, 1)], [280_000, 347_000]);
    assert_eq!((s.translation_hits, s.translation_misses), (3, 4));
}

#[test]
fn a_worn_block_is_moved_and_accesses_to_it_wait() {
    let wear = PmemSpec { wear_writes_least: 3, wear_writes_most: 3, ..spec() };
    let wear = PmemSpec { wear_prepare: Time(0), wear_scan: Time(2_000_000), ..wear };
    let wear = PmemSpec { wear_stall: Time(50_000_000), ..wear };
    let (mut d, mut s) = dimm(&PmemSpec { ait_entries: 16, ait_miss_latency: Time::ZERO, ..wear });
    for n in 0..3 {
        write_line(&mut d, n, 500_000 * n, &mut s);
    }
    assert_eq!(s.migrations, 1);
    // The third line is complete at 1000 ns: the move is from 2000 ns to 52,000.
    assert_eq!(d.read(5, 1, Time(1_900_000), &mut s), Time(280_000));
    assert_eq!(d.read(16, 1, Time(12_000_000), &mut s), Time(280_000), "another block");
    assert_eq!(d.read(0, 1, Time(12_000_000), &mut s), Time(40_000_000 + 150_000));
    assert_eq!(d.read(0, 1, Time(53_000_000), &mut s), Time(150_000));
    assert_eq!(s.migration_stall, Time(40_000_000));
}

#[test]
fn a_line_read_in_full_makes_room_and_one_read_in_part_stays() {
    let (mut d, mut s) = dimm(&PmemSpec { read_buffer_lines: 2, drop_read_lines: true, ..spec() });
    let mut at = 0;
    let mut read = |line: u64, sector: u64| {
        at += 1_000_000;
        d.read(line, 1 << sector, Time(at), &mut s)
    };
    assert_eq!(read(1, 0), Time(280_000));
    assert_eq!([0, 1, 2, 3].map(|sector| read(2, sector).0), [280_000, 150_000, 150_000, 150_000]);
    assert_eq!([read(3, 0), read(1, 1)].map(|time| time.0), [280_000, 150_000], "2 has left, and 1 has not");
    assert_eq!(read(2, 0), Time(280_000));
}

#[test]
fn after_so_many_lines_one_of_the_table_is_written() {
    let (mut d, mut s) = dimm(&PmemSpec { ait_update_writes: 4, ..spec() });
    for n in 0..8 {
        write_line(&mut d, n, 1_000_000 * n, &mut s);
    }
    assert_eq!(s.media_bytes_written, 10 * 256);
}

#[test]
fn which_line_leaves_is_configurable() {
    let hits = |replacement| {
        let (mut d, mut s) = dimm(&PmemSpec { buffer_lines: 8, buffer_replacement: replacement, ..spec() });
        let mut at = 0;
        for round in 0..200 {
            // Nine lines in turn, and line 0 in between.
            for line in [round % 9, 0] {
                at += 1_000_000;
                d.read(line, 1, Time(at), &mut s);
            }
        }
        s.buffer_read_hits
    };
    let [lru, fifo, random] =
        [BufferReplacement::Lru, BufferReplacement::Fifo, BufferReplacement::Random].map(hits);
    // LRU keeps line 0 only, FIFO loses that, too; at random some others stay.
    assert!(fifo < lru && lru < random, "{fifo} {lru} {random}");
}

#[test]
fn the_same_seed_gives_the_same_times() {
    let run = |seed| {
        let optane = daxsim_configs::load_machine("skylake-sp-optane", &[]).unwrap().pmem;
        let (mut d, mut s) = dimm(&PmemSpec { seed, ..optane });
        let mut random = daxsim_traces::generate::SplitMix::new(7);
        let times: Vec<Time> = (0..5_000)
            .map(|n| write(&mut d, random.below(300), 1 << random.below(4), 20_000 * n, &mut s))
            .collect();
        (times, s)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
