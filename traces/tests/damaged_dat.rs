//! A damaged `trace.dat` yields all events that are whole, says what was found where, and counts what was skipped.

mod make;

use std::io::Read;
use std::path::Path;

use daxsim_traces::TraceError;
use daxsim_traces::ftrace::{EventReader, Record};
use daxsim_traces::tracedat::Reader;

/// All events, and why they ended; the error of the head if there are none.
fn read(bytes: Vec<u8>) -> (Vec<Record>, Option<TraceError>) {
    let mut reader = match Reader::of_bytes(bytes, Path::new("t")) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let (mut record, mut records) = (Record::default(), Vec::new());
    loop {
        match reader.next_record(&mut record) {
            Ok(true) => records.push(record.clone()),
            Ok(false) => return (records, None),
            Err(error) => return (records, Some(error)),
        }
    }
}

/// An event without what depends on other parts of the file: its number, the name of its task, which a CPU it is said to be of.
fn bare(record: &Record) -> (u64, u32, String) {
    (record.time_ns, record.pid, format!("{:?}", record.event))
}

fn recorded() -> Vec<u8> {
    let path = "recorded/kernel-7.2/ext4/s21_unmap_4threads/trace.dat.xz";
    let mut bytes = Vec::new();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    daxsim_traces::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// Where the rings of the recorded file begin and end, by the list of its sections.
const RINGS: std::ops::Range<usize> = 0x22a000..0x26187a;

#[test]
fn a_cut_file_yields_its_whole_pages_in_order_and_says_what_is_missing() {
    let whole = recorded();
    let (all, error) = read(whole.clone());
    assert!(error.is_none() && all.len() > 1000);
    let mut before = 0;
    for eighth in 1..8 {
        let cut = RINGS.start + RINGS.len() * eighth / 8;
        let (found, error) = read(whole[..cut].to_vec());
        // In the order of time, and nothing that the whole file has not.
        let mut expected = all.iter().map(bare);
        for record in &found {
            assert!(expected.any(|e| e == bare(record)), "cut at {cut}: {record:?}");
        }
        assert!(found.len() >= before, "cut at {cut}");
        before = found.len();
        let error = error.unwrap();
        assert!(error.is_damage());
        let text = error.to_string();
        assert!(text.contains("at byte ") && text.contains("bytes of events are skipped"), "{text}");
    }
    assert!(before * 2 > all.len(), "{before} of {}", all.len());
}

#[test]
fn the_last_options_cut_off_lose_no_event() {
    let whole = recorded();
    let (all, _) = read(whole.clone());
    let (found, error) = read(whole[..RINGS.end].to_vec());
    assert_eq!(found.iter().map(bare).collect::<Vec<_>>(), all.iter().map(bare).collect::<Vec<_>>());
    assert_eq!(
        found.iter().map(|r| r.cpu).collect::<Vec<_>>(),
        all.iter().map(|r| r.cpu).collect::<Vec<_>>()
    );
    let text = error.unwrap().to_string();
    assert!(text.contains("0 bytes of events are skipped"), "{text}");
}

#[test]
fn every_form_that_is_cut_in_its_rings_yields_the_whole_pages() {
    for (name, bytes) in make::trace_dats() {
        let (all, _) = read(bytes.clone());
        let mut most = 0;
        // The last option of version 7 stands behind the options that are cut off with it here.
        for cut in (bytes.len().saturating_sub(40_000).max(200)..bytes.len()).step_by(97) {
            let (found, error) = read(bytes[..cut].to_vec());
            assert!(error.is_some_and(|error| error.is_damage()), "{name}, cut at {cut}");
            let mut expected = all.iter().map(bare);
            for record in &found {
                assert!(expected.any(|e| e == bare(record)), "{name}, cut at {cut}: {record:?}");
            }
            most = most.max(found.len());
        }
        assert!(most >= all.len() - 1, "{name}: {most} of {}", all.len());
    }
}

#[test]
fn a_damaged_page_or_chunk_leaves_those_behind_it() {
    for (name, bytes) in make::trace_dats() {
        let (all, _) = read(bytes.clone());
        // The rings begin with the first page's time, or with the number of chunks.
        let version_7 = name.starts_with("v7");
        let at = if version_7 && !name.ends_with("none") {
            let mut at = 0;
            while at + 4 <= bytes.len() && !is_chunks(&bytes[at..], name.contains("big")) {
                at += make::PAGE;
            }
            at + 4 + 8 + 2
        } else {
            let time = make::events(false)[0].time - 50;
            let time = if name.contains("big") { time.to_be_bytes() } else { time.to_le_bytes() };
            bytes.windows(8).position(|w| w == time).unwrap() + 8
        };
        let mut damaged = bytes.clone();
        damaged[at..at + 8].fill(0xff);
        let (found, error) = read(damaged);
        assert!(found.len() >= all.len() - 2 && found.len() < all.len(), "{name}: {}", found.len());
        let text = error.unwrap().to_string();
        assert!(text.contains("bytes of events are skipped"), "{name}: {text}");
    }
}

/// Whether a page begins with one or two chunks.
fn is_chunks(page: &[u8], big: bool) -> bool {
    let number = [page[0], page[1], page[2], page[3]];
    let number = if big { u32::from_be_bytes(number) } else { u32::from_le_bytes(number) };
    (1..=2).contains(&number)
}
