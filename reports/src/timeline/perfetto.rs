//! A timeline as a Perfetto trace. Perfetto counts in nanoseconds; each time is rounded down by itself, so that what touches
//! in picoseconds touches there.

use prost::Message;

use super::proto::{
    BEGIN, COUNTER, CounterDescriptor, DebugAnnotation, END, INSTANT, Trace, TracePacket, TrackDescriptor,
    TrackEvent,
};
use super::{Slice, Timeline};

/// The one sequence of packets.
const SEQUENCE: u32 = 1;
/// Track of the machine, parent of all.
const MACHINE: u64 = 1;
/// Tracks of CPUs begin here, those of their flushes and interrupts, and those of counters there.
const CPUS: u64 = 0x1_0000;
const ASIDE: u64 = 0x2_0000;
const COUNTERS: u64 = 0x3_0000;
/// `TrackDescriptor.ChildTracksOrdering.EXPLICIT`.
const EXPLICIT: i32 = 3;

/// The bytes of the trace: a function of the timeline.
#[must_use]
pub fn perfetto(timeline: &Timeline) -> Vec<u8> {
    let mut packets = tracks(timeline);
    let mut events = Vec::new();
    for slice in &timeline.slices {
        events.extend(of_slice(slice));
    }
    for (at, flow) in timeline.flows.iter().enumerate() {
        let (id, from, to) = (at as u64 + 1, aside(flow.from), aside(flow.to));
        events.push(with_flow(
            event(flow.sent_ps, INSTANT, from, Some(&format!("IPI to CPU {}", flow.to))),
            id,
        ));
        events.push(with_flow(event(flow.begin_ps, BEGIN, to, Some("IPI handler")), id));
        events.push(event(flow.end_ps, END, to, None));
    }
    for (at, counter) in timeline.counters.iter().enumerate() {
        for (time, value) in &counter.values {
            let mut of = event(*time, COUNTER, COUNTERS + at as u64, None);
            if let Some(track) = &mut of.track_event {
                track.double_counter_value = Some(*value);
            }
            events.push(of);
        }
    }
    // In order of time; what begins and ends at one time keeps the order in which it was made.
    events.sort_by_key(|packet| packet.timestamp);
    packets.extend(events);
    Trace { packet: packets }.encode_to_vec()
}

fn cpu(number: u16) -> u64 {
    CPUS + u64::from(number)
}

fn aside(number: u16) -> u64 {
    ASIDE + u64::from(number)
}

fn tracks(timeline: &Timeline) -> Vec<TracePacket> {
    let left_out = match timeline.not_kept {
        0 => String::new(),
        n => format!(" ({n} more faults, shootdowns and interrupts were not kept)"),
    };
    let machine = TrackDescriptor {
        uuid: Some(MACHINE),
        name: Some(format!("{}{left_out}", timeline.title)),
        child_ordering: Some(EXPLICIT),
        ..TrackDescriptor::default()
    };
    let child = |uuid: u64, name: String, rank: usize| TrackDescriptor {
        uuid: Some(uuid),
        name: Some(name),
        parent_uuid: Some(MACHINE),
        sibling_order_rank: Some(rank as i32),
        ..TrackDescriptor::default()
    };
    let cpus = (0..timeline.cpus).flat_map(|n| {
        let rank = 2 * usize::from(n);
        let beside = format!("CPU {n} flushes and interrupts");
        [child(cpu(n), format!("CPU {n}"), rank), child(aside(n), beside, rank + 1)]
    });
    let counters = timeline.counters.iter().enumerate().map(|(at, counter)| TrackDescriptor {
        counter: Some(CounterDescriptor { unit_name: Some(counter.unit.clone()) }),
        ..child(COUNTERS + at as u64, counter.name.clone(), 2 * usize::from(timeline.cpus) + at)
    });
    let packet = |track| TracePacket {
        trusted_packet_sequence_id: Some(SEQUENCE),
        track_descriptor: Some(track),
        ..TracePacket::default()
    };
    [machine].into_iter().chain(cpus).chain(counters).map(packet).collect()
}

/// A slice with its parts, and the functions in these.
fn of_slice(slice: &Slice) -> Vec<TracePacket> {
    let track = if slice.aside { aside(slice.cpu) } else { cpu(slice.cpu) };
    let mut first = event(slice.begin_ps, BEGIN, track, Some(&slice.name));
    if let Some(of) = &mut first.track_event {
        let note = |(name, value): &(String, String)| DebugAnnotation {
            name: Some(name.clone()),
            string_value: Some(value.clone()),
        };
        of.debug_annotations = slice.notes.iter().map(note).collect();
    }
    let mut events = vec![first];
    let mut now = slice.begin_ps;
    let mut stretches = slice.stretches.iter().filter(|stretch| stretch.took_ps > 0).peekable();
    while let Some(part) = stretches.peek().map(|stretch| stretch.part.clone()) {
        events.push(event(now, BEGIN, track, Some(&part)));
        while let Some(function) = stretches.next_if(|s| s.part == part) {
            let begin = now;
            now += function.took_ps;
            while let Some(more) = stretches.next_if(|s| s.part == part && s.function == function.function) {
                now += more.took_ps;
            }
            events.push(event(begin, BEGIN, track, Some(&function.function)));
            events.push(event(now, END, track, None));
        }
        events.push(event(now, END, track, None));
    }
    events.push(event(slice.end_ps, END, track, None));
    events
}

fn event(time_ps: u64, kind: i32, track: u64, name: Option<&str>) -> TracePacket {
    TracePacket {
        timestamp: Some(time_ps / 1000),
        trusted_packet_sequence_id: Some(SEQUENCE),
        track_event: Some(TrackEvent {
            r#type: Some(kind),
            track_uuid: Some(track),
            name: name.map(str::to_owned),
            ..TrackEvent::default()
        }),
        ..TracePacket::default()
    }
}

fn with_flow(mut packet: TracePacket, id: u64) -> TracePacket {
    if let Some(event) = &mut packet.track_event {
        event.flow_ids.push(id);
    }
    packet
}
