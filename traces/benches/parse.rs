//! How fast tracefs text is parsed, from memory.

use std::hint::black_box;
use std::io::Read;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use daxsim_traces::ftrace::{Reader, Record};
use daxsim_traces::open;

const TRACES: [(&str, &str); 3] = [
    ("6.12_scripted", "kernel-6.12/ext4/s10_msync_loop/trace.txt.xz"),
    ("7.2_scripted", "kernel-7.2/ext4/s10_msync_loop/trace.txt.xz"),
    ("7.2_sqlite", "kernel-7.2/ext4/a04_sqlite_wal_mmap/trace.txt.xz"),
];

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("ftrace");
    for (name, path) in TRACES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded").join(path);
        let mut text = Vec::new();
        if let Err(e) = open(path).map_err(std::io::Error::other).and_then(|mut i| i.read_to_end(&mut text)) {
            panic!("{e}");
        }
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut reader = Reader::new(text.as_slice(), name);
                let mut record = Record::default();
                while reader.next_record(&mut record).is_ok_and(|more| more) {
                    black_box(&record);
                }
                reader.stats().records
            });
        });
    }
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
