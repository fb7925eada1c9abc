//! Latencies and bandwidths against those that other simulators have for the same devices, mapping and requests: Ramulator 2.1
//! (c5b1c3a) with DDR4-3200AA and DDR5-4800BN, one rank of x8 devices, and DRAMsim3 (2981759) with two ranks of its
//! DDR4_8Gb_x8_3200; reads of 64 bytes, FR-FCFS, open rows, refresh of all banks. "Unloaded" is a request every 40 clocks. A
//! saturated queue has as many requests as their bandwidth and latency say (Little's law): 36 of Ramulator, whose queue of reads
//! has 32 places.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use daxsim_configs::machine::MachineSpec;
use daxsim_traces::generate::{Generator, Pattern};
use daxsim_types::{CacheLine, Time};

use super::{banked, spec};
use crate::memory::stats::DeviceStats;

const REQUESTS: usize = 100_000;
const GIB: u64 = 1 << 30;
const SEQ: Pattern = Pattern::Seq;
const RANDOM: Pattern = Pattern::Uniform { bytes: GIB, writes: 0 };

/// What a peer was measured with.
fn peer(preset: &str, density: &str, ranks: u32, mapping: &str) -> MachineSpec {
    let keys = [
        "channels=1".to_owned(),
        "device_width=x8".to_owned(),
        "capacity=4 GiB".to_owned(),
        format!("density={density}"),
        format!("ranks={ranks}"),
        format!("mapping={mapping}"),
    ];
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    spec(preset, &keys)
}

fn ramulator_ddr4() -> MachineSpec {
    peer("DDR4-3200AA", "8Gb", 1, "row bank group rank column channel")
}

fn ramulator_ddr5() -> MachineSpec {
    peer("DDR5-4800BN", "16Gb", 1, "row bank group rank column channel")
}

fn dramsim3() -> MachineSpec {
    peer("DDR4-3200AA", "8Gb", 2, "row rank bank group column channel")
}

/// The stream in one subchannel: the peer has no other.
fn stream(spec: &MachineSpec, pattern: Pattern) -> impl Iterator<Item = (CacheLine, bool)> {
    let channels = u64::from(spec.dram_preset.subchannels);
    Generator::new(pattern, 42, 0).take(REQUESTS).map(move |a| (CacheLine(a.va.0 / 64 * channels), a.write))
}

/// Mean latency in nanoseconds of reads that come 40 clocks apart.
fn unloaded(spec: &MachineSpec, pattern: Pattern) -> f64 {
    let (mut dram, mut stats) = (banked(spec), DeviceStats::default());
    let (mut now, mut sum) = (0, 0.0);
    for (line, _) in stream(spec, pattern) {
        sum += dram.read(line, Time(now), &mut stats).as_ns();
        now += 40 * spec.dram_preset.clock.0;
    }
    sum / REQUESTS as f64
}

/// GB/s, and the mean latency of reads in nanoseconds, with `ahead` requests at a time.
fn saturated(spec: &MachineSpec, pattern: Pattern, ahead: usize) -> (f64, f64) {
    let (mut dram, mut stats) = (banked(spec), DeviceStats::default());
    let mut done: BinaryHeap<Reverse<u64>> = (0..ahead).map(|_| Reverse(0)).collect();
    let (mut end, mut reads, mut sum) = (0, 0, 0.0);
    for (line, write) in stream(spec, pattern) {
        let Reverse(now) = done.pop().unwrap();
        let ready = if write {
            now + dram.write(line, Time(now), &mut stats).0
        } else {
            let latency = dram.read(line, Time(now), &mut stats);
            (reads, sum) = (reads + 1, sum + latency.as_ns());
            now + latency.0
        };
        end = end.max(ready);
        done.push(Reverse(ready));
    }
    (REQUESTS as f64 * 64_000.0 / end as f64, sum / f64::from(reads))
}

fn near(what: &str, found: f64, peer: f64, tolerance: f64) {
    let off = found / peer - 1.0;
    assert!(off.abs() <= tolerance, "{what}: {found}, peer {peer}");
}

#[test]
fn unloaded_reads_take_as_long_as_elsewhere() {
    for (what, spec, seq, random) in [
        ("Ramulator DDR4", ramulator_ddr4(), 29.5, 58.2),
        ("DRAMsim3 DDR4", dramsim3(), 29.2, 56.4),
        ("Ramulator DDR5", ramulator_ddr5(), 37.7, 69.0),
    ] {
        near(&format!("{what}, in sequence"), unloaded(&spec, SEQ), seq, 0.06);
        near(&format!("{what}, random"), unloaded(&spec, RANDOM), random, 0.06);
    }
}

/// Rows in one bank group are what those runs had. With lines in turn over the groups no read has to be moved.
#[test]
fn ddr5_in_sequence_over_bank_groups_uses_its_bus_but_for_refreshes() {
    let gb_s = |refresh: &str| {
        let keys = ["channels=1", "ranks=1", "density=16Gb", "device_width=x8", "capacity=4 GiB"];
        let mapping = "mapping=row bank column rank group channel";
        let refresh = format!("refresh={refresh}");
        let keys: Vec<&str> = keys.into_iter().chain([mapping, refresh.as_str()]).collect();
        saturated(&spec("DDR5-4800BN", &keys), SEQ, 36).0
    };
    let [never, all, same] = ["off", "all-bank", "same-bank"].map(gb_s);
    let peak = 4.0 * 2.0 / 0.416;
    assert!(never > 0.97 * peak, "{never} of {peak}");
    // 295 ns of each 3.9 us, and what it takes to open the rows again.
    assert!((0.88..0.93).contains(&(all / never)), "{all} of {never}");
    assert!(same > 1.02 * all && same < never, "{same}, {all} with all banks at once");
}

#[test]
fn saturated_channels_have_the_bandwidth_that_they_have_elsewhere() {
    let mixed = Pattern::Mixed;
    for (what, spec, pattern, ahead, bandwidth, latency, tolerance) in [
        ("Ramulator DDR4, in sequence", ramulator_ddr4(), SEQ, 36, 15.7, 146.0, 0.07),
        ("Ramulator DDR4, random", ramulator_ddr4(), RANDOM, 36, 11.1, 214.0, 0.07),
        ("Ramulator DDR4, mixed", ramulator_ddr4(), mixed, 36, 10.9, 304.0, 0.07),
        ("DRAMsim3 DDR4, in sequence", dramsim3(), SEQ, 47, 16.9, 179.0, 0.07),
        ("DRAMsim3 DDR4, random", dramsim3(), RANDOM, 106, 20.5, 332.0, 0.13),
        // All of a row is in one bank group. The others fit between reads that are tCCD_L apart only if these are moved, which a
        // promised read is not: with DDR4, where tCCD_L is twice tCCD_S, they fit; with DDR5 they do not.
        ("Ramulator DDR5, in sequence", ramulator_ddr5(), SEQ, 36, 16.7, 141.0, 0.4),
        ("Ramulator DDR5, random", ramulator_ddr5(), RANDOM, 36, 11.7, 208.0, 0.07),
        ("Ramulator DDR5, mixed", ramulator_ddr5(), mixed, 36, 7.2, 456.0, 0.07),
    ] {
        let (found, waits) = saturated(&spec, pattern, ahead);
        near(&format!("{what}, GB/s"), found, bandwidth, tolerance);
        near(&format!("{what}, ns"), waits, latency, tolerance);
    }
}
