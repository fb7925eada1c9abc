use prost::Message;

use super::proto::{BEGIN, COUNTER, END, Trace, TrackEvent};
use super::*;

fn stretch(part: &str, function: &str, took_ps: u64) -> Stretch {
    Stretch { part: part.into(), function: function.into(), took_ps }
}

fn timeline() -> Timeline {
    let fault = Slice {
        cpu: 1,
        aside: false,
        begin_ps: 1_500,
        end_ps: 9_000,
        name: "mkwrite".into(),
        notes: vec![("address".into(), "0x1000".into())],
        stretches: vec![
            stretch("entry", "page_fault", 1_500),
            stretch("fs", "ext4_dax_huge_fault", 2_000),
            stretch("fs", "ext4_dax_huge_fault", 1_000),
            stretch("fs", "jbd2 start", 0),
            stretch("memory", "jbd2 start", 3_000),
        ],
    };
    Timeline {
        title: "a run".into(),
        cpus: 2,
        slices: vec![fault],
        flows: vec![Flow { from: 1, sent_ps: 9_500, to: 0, begin_ps: 10_000, end_ps: 12_000 }],
        counters: vec![Counter {
            name: "pmem read".into(),
            unit: "GB/s".into(),
            values: vec![(0, 0.5), (10_000, 0.0)],
        }],
        not_kept: 0,
    }
}

fn events(trace: &Trace, track: &str) -> Vec<(u64, TrackEvent)> {
    let named = |p: &&super::proto::TracePacket| {
        p.track_descriptor.as_ref().is_some_and(|d| d.name.as_deref() == Some(track))
    };
    let uuid = trace.packet.iter().find(named).unwrap().track_descriptor.as_ref().unwrap().uuid;
    let of_track = trace.packet.iter().filter_map(|p| Some((p.timestamp?, p.track_event.clone()?)));
    of_track.filter(|(_, event)| event.track_uuid == uuid).collect()
}

#[test]
fn a_fault_holds_its_parts_and_these_their_functions() {
    let trace = Trace::decode(perfetto(&timeline()).as_slice()).unwrap();
    let mut open = Vec::new();
    let mut seen = Vec::new();
    for (time, event) in events(&trace, "CPU 1") {
        match event.r#type {
            Some(BEGIN) => open.push((time, event.name.clone().unwrap())),
            Some(END) => {
                let (begin, name) = open.pop().unwrap();
                seen.push((open.len(), name, begin, time));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(open.is_empty());
    let want = [
        (2, "page_fault", 1, 3),
        (1, "entry", 1, 3),
        (2, "ext4_dax_huge_fault", 3, 6),
        (1, "fs", 3, 6),
        (2, "jbd2 start", 6, 9),
        (1, "memory", 6, 9),
        (0, "mkwrite", 1, 9),
    ];
    assert_eq!(seen.iter().map(|(d, n, b, e)| (*d, n.as_str(), *b, *e)).collect::<Vec<_>>(), want);
}

#[test]
fn interrupts_are_flows_and_devices_counters() {
    let trace = Trace::decode(perfetto(&timeline()).as_slice()).unwrap();
    let flows = |track| -> Vec<Vec<u64>> {
        events(&trace, track).into_iter().map(|(_, e)| e.flow_ids).filter(|ids| !ids.is_empty()).collect()
    };
    assert_eq!(
        (flows("CPU 1 flushes and interrupts"), flows("CPU 0 flushes and interrupts")),
        (vec![vec![1]], vec![vec![1]])
    );
    let counter: Vec<_> = events(&trace, "pmem read")
        .into_iter()
        .map(|(time, e)| (time, e.r#type, e.double_counter_value))
        .collect();
    assert_eq!(counter, [(0, Some(COUNTER), Some(0.5)), (10, Some(COUNTER), Some(0.0))]);
    assert!(trace.packet.iter().all(|p| p.trusted_packet_sequence_id == Some(1)));
}

#[test]
fn folded_stacks_sum_to_the_faults() {
    let text = folded(&timeline());
    let want = "mkwrite;entry;page_fault 1500\nmkwrite;fs;ext4_dax_huge_fault 3000\nmkwrite;memory;jbd2_start 3000\n";
    assert_eq!(text, want);
}
