//! The timeline of a replayed recording by the rules that Perfetto documents for track events (`docs/reference/synthetic-track-event`,
//! `protos/perfetto/trace/track_event` of its repository): its own messages here, so that a wrong field number shows.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use common::{recorded, run_in};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct Trace {
    #[prost(message, repeated, tag = "1")]
    packet: Vec<TracePacket>,
}

#[derive(Clone, PartialEq, Message)]
struct TracePacket {
    #[prost(uint64, optional, tag = "8")]
    timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "10")]
    trusted_packet_sequence_id: Option<u32>,
    #[prost(message, optional, tag = "11")]
    track_event: Option<TrackEvent>,
    #[prost(message, optional, tag = "60")]
    track_descriptor: Option<TrackDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
struct TrackEvent {
    #[prost(message, repeated, tag = "4")]
    debug_annotations: Vec<DebugAnnotation>,
    #[prost(enumeration = "Type", optional, tag = "9")]
    r#type: Option<i32>,
    #[prost(uint64, optional, tag = "11")]
    track_uuid: Option<u64>,
    #[prost(string, optional, tag = "23")]
    name: Option<String>,
    #[prost(double, optional, tag = "44")]
    double_counter_value: Option<f64>,
    #[prost(fixed64, repeated, packed = "false", tag = "47")]
    flow_ids: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
enum Type {
    Unspecified = 0,
    SliceBegin = 1,
    SliceEnd = 2,
    Instant = 3,
    Counter = 4,
}

#[derive(Clone, PartialEq, Message)]
struct DebugAnnotation {
    #[prost(string, optional, tag = "6")]
    string_value: Option<String>,
    #[prost(string, optional, tag = "10")]
    name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct TrackDescriptor {
    #[prost(uint64, optional, tag = "1")]
    uuid: Option<u64>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
    #[prost(uint64, optional, tag = "5")]
    parent_uuid: Option<u64>,
    #[prost(message, optional, tag = "8")]
    counter: Option<CounterDescriptor>,
    #[prost(int32, optional, tag = "11")]
    child_ordering: Option<i32>,
    #[prost(int32, optional, tag = "12")]
    sibling_order_rank: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct CounterDescriptor {
    #[prost(string, optional, tag = "6")]
    unit_name: Option<String>,
}

/// A track as its events leave it.
#[derive(Default)]
struct Track {
    unit: Option<String>,
    name: String,
    last: u64,
    open: Vec<u64>,
    events: usize,
}

/// Of each flow its times and tracks.
type Flows = BTreeMap<u64, Vec<(u64, u64)>>;

/// Goes through a trace as Perfetto's importer does, and gives its tracks and flows.
#[track_caller]
fn imported(trace: &Trace) -> (Vec<Track>, Flows) {
    let mut tracks: BTreeMap<u64, Track> = BTreeMap::new();
    let mut flows = Flows::new();
    for packet in &trace.packet {
        assert!(packet.trusted_packet_sequence_id.is_some_and(|id| id > 0), "{packet:?}");
        assert!(packet.track_event.is_some() != packet.track_descriptor.is_some(), "one of both: {packet:?}");
        if let Some(of) = &packet.track_descriptor {
            if let Some(parent) = of.parent_uuid {
                assert!(tracks.contains_key(&parent), "a parent is described before its children: {of:?}");
            }
            let unit = of.counter.as_ref().map(|counter| counter.unit_name.clone().unwrap_or_default());
            let track = Track { unit, name: of.name.clone().unwrap(), ..Track::default() };
            assert!(tracks.insert(of.uuid.unwrap(), track).is_none(), "described twice: {of:?}");
        }
        let Some(event) = &packet.track_event else { continue };
        let (time, uuid) = (packet.timestamp.unwrap(), event.track_uuid.unwrap());
        let track = tracks.get_mut(&uuid).unwrap_or_else(|| panic!("used before it is described: {event:?}"));
        assert!(time >= track.last, "{}: {time} after {}", track.name, track.last);
        track.last = time;
        track.events += 1;
        let kind = event.r#type();
        assert_eq!(kind == Type::Counter, track.unit.is_some(), "{}: {event:?}", track.name);
        match kind {
            Type::Counter => assert!(event.double_counter_value.is_some_and(f64::is_finite), "{event:?}"),
            Type::SliceBegin => {
                assert!(event.name.as_ref().is_some_and(|name| !name.is_empty()), "{event:?}");
                track.open.push(time);
            }
            Type::SliceEnd => {
                assert!(track.open.pop().is_some(), "{}: nothing is open at {time}", track.name)
            }
            Type::Instant => assert!(event.name.is_some(), "{event:?}"),
            Type::Unspecified => panic!("{event:?}"),
        }
        for flow in &event.flow_ids {
            flows.entry(*flow).or_default().push((time, uuid));
        }
    }
    (tracks.into_values().collect(), flows)
}

#[test]
fn the_timeline_of_a_replay_keeps_the_rules_of_track_events() {
    let folder = tempfile::tempdir().unwrap();
    // Faults of an application; and four threads that interrupt each other, from and without a window.
    let runs: [(&str, &[&str]); 3] = [
        ("kernel-7.2/ext4/a03_lmdb_writemap/trace.txt.xz", &[]),
        ("kernel-7.2/ext4/s21_unmap_4threads/script.txt", &[]),
        (
            "kernel-7.2/ext4/s21_unmap_4threads/script.txt",
            &["--timeline-window", "100us..", "--timeline-every", "3"],
        ),
    ];
    for (at, (input, more)) in runs.into_iter().enumerate() {
        let input = recorded(input);
        let arguments = ["replay", input.to_str().unwrap(), "--out", "run", "-q", "--timeline", "x.pftrace"];
        run_in(folder.path(), &[&arguments[..], more].concat()).exits(0);
        let bytes = fs::read(folder.path().join("x.pftrace")).unwrap();
        let trace = Trace::decode(bytes.as_slice()).unwrap();
        // A field that is not among those above would be gone.
        assert!(trace.encode_to_vec() == bytes, "{at}: fields that Perfetto has not");
        let (tracks, flows) = imported(&trace);
        let unclosed: Vec<&str> =
            tracks.iter().filter(|t| !t.open.is_empty()).map(|t| t.name.as_str()).collect();
        assert!(unclosed.is_empty(), "{at}: slices stay open on {unclosed:?}");
        let names: BTreeSet<&str> = tracks.iter().map(|track| track.name.as_str()).collect();
        assert_eq!(names.len(), tracks.len(), "{at}: {names:?}");
        let counters: Vec<&Track> = tracks.iter().filter(|track| track.unit.is_some()).collect();
        assert!(counters.iter().all(|t| t.unit.as_ref().is_some_and(|unit| !unit.is_empty())), "{at}");
        assert!(
            counters.iter().any(|t| t.unit.as_deref() == Some("GB/s") && t.events > 2),
            "{at}: {names:?}"
        );
        assert!(
            tracks.iter().any(|t| t.name.starts_with("CPU") && t.unit.is_none() && t.events > 10),
            "{at}"
        );
        for (id, ends) in &flows {
            let [(sent, from), (taken, to)] = ends.as_slice() else { panic!("{at}: flow {id} has {ends:?}") };
            assert!(sent <= taken && from != to, "{at}: flow {id} has {ends:?}");
        }
        assert_eq!(flows.is_empty(), at == 0, "{at}: {} interrupts", flows.len());
    }
}
