//! Writers of small files of trace-cmd and perf, in every form that the readers know. Each holds the same events as [`TEXT`].

#![allow(dead_code)] // each test uses some

/// The events as tracefs prints them.
pub const TEXT: &str = "\
# tracer: nop
#
          worker-71      [000] d....     5.000001: page_fault_user: address=0x7f0000001234 ip=0x401000 error_code=0x6
          worker-72      [001] d....     5.000003: sched_migrate_task: comm=worker pid=72 prio=120 orig_cpu=1 dest_cpu=0
          <idle>-0       [001] d....     5.000004: ipi_send_cpu: cpu=1 callsite=on_each_cpu_cond_mask+0x24/0x40 callback=f+0x0/0x1
          worker-71      [000] d....     5.000005: tracing_mark_write: B 3 t0 0 ld 0 0
           <...>-99      [000] d....     5.000007: sys_fsync -> 0xffffffffffffffea
          worker-71      [001] d....     5.000009: made_up: text
";

/// Events lost, as the pages and statistics say.
pub const LOST: u64 = 7;

/// Numbers in one of two orders of bytes.
#[derive(Clone, Debug)]
pub struct Bytes {
    pub big: bool,
    pub to: Vec<u8>,
}

impl Bytes {
    pub fn new(big: bool) -> Self {
        Self { big, to: Vec::new() }
    }

    pub fn number(mut self, value: u64, bytes: usize) -> Self {
        if self.big {
            self.to.extend(&value.to_be_bytes()[8 - bytes..]);
        } else {
            self.to.extend(&value.to_le_bytes()[..bytes]);
        }
        self
    }

    pub fn numbers<const N: usize>(self, bytes: usize, values: [u64; N]) -> Self {
        values.into_iter().fold(self, |to, value| to.number(value, bytes))
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.to.extend(bytes);
        self
    }

    /// A text behind its length.
    pub fn text(self, length: usize, text: &[u8]) -> Self {
        self.number(text.len() as u64, length).raw(text)
    }
}

const COMMON: &str = "format:\n\
    \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
    \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
    \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
    \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n";

fn format(name: &str, id: u32, fields: &[(&str, u32, u32, u8)]) -> Vec<u8> {
    let mut text = format!("name: {name}\nID: {id}\n{COMMON}");
    for (declaration, offset, size, signed) in fields {
        text += &format!("\tfield:{declaration};\toffset:{offset};\tsize:{size};\tsigned:{signed};\n");
    }
    (text + "\nprint fmt: \"\"\n").into_bytes()
}

/// The parts of a head that describe events, one after another as in version 6 and in perf's `TRACING_DATA`.
struct Parts {
    header: Vec<u8>,
    ftrace: Vec<u8>,
    events: Vec<u8>,
    symbols: Vec<u8>,
    printk: Vec<u8>,
    tasks: Vec<u8>,
}

fn parts(big: bool) -> Parts {
    let new = || Bytes::new(big);
    let page = b"\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
        \tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\
        \tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;\n";
    let print = format("print", 5, &[("unsigned long ip", 8, 8, 0), ("char buf[]", 16, 0, 0)]);
    let long = |name, offset| (name, offset, 8, 0);
    let fault = [
        long("unsigned long address", 8),
        long("unsigned long ip", 16),
        long("unsigned long error_code", 24),
    ];
    let fault = format("page_fault_user", 100, &fault);
    let ipi = [("unsigned int cpu", 8, 4, 0), long("void * callsite", 16), long("void * callback", 24)];
    let ipi = format("ipi_send_cpu", 101, &ipi);
    let migrate = [
        ("__data_loc char[] comm", 8, 4, 0),
        ("pid_t pid", 12, 4, 1),
        ("int prio", 16, 4, 1),
        ("int orig_cpu", 20, 4, 1),
        ("int dest_cpu", 24, 4, 1),
    ];
    let migrate = format("sched_migrate_task", 102, &migrate);
    let exit = format("sys_exit_fsync", 103, &[("int __syscall_nr", 8, 4, 1), ("long ret", 16, 8, 1)]);
    let other = format("made_up", 104, &[]);
    let system = |to: Bytes, name: &str, formats: &[&[u8]]| {
        let to = to.raw(name.as_bytes()).raw(&[0]).number(formats.len() as u64, 4);
        formats.iter().fold(to, |to, format| to.text(8, format))
    };
    let events = system(new().number(2, 4), "exceptions", &[&fault]);
    let events = system(events, "mixed", &[&ipi, &migrate, &exit, &other]);
    let symbols = b"ffffffff81001000 T on_each_cpu_cond_mask\nffffffff81001040 T f\nffffffff81001041 t tracing_mark_write\n";
    Parts {
        header: new()
            .raw(b"header_page\0")
            .text(8, page)
            .raw(b"header_event\0")
            .text(8, b"# compressed entry header\n")
            .to,
        ftrace: new().number(1, 4).text(8, &print).to,
        events: events.to,
        symbols: new().text(4, symbols).to,
        printk: new().text(4, b"").to,
        tasks: new().text(8, b"71 worker\n72 worker\n").to,
    }
}

/// An event: CPU, time in ns, thread and record.
pub struct Made {
    pub cpu: u32,
    pub time: u64,
    pub pid: u32,
    pub record: Vec<u8>,
}

/// The events in the order of time.
pub fn events(big: bool) -> Vec<Made> {
    let record = |id: u64, pid: u32| Bytes::new(big).number(id, 2).number(0, 2).number(u64::from(pid), 4);
    let one =
        |cpu, time: u64, pid, record: Bytes| Made { cpu, time: 5_000_000_000 + time, pid, record: record.to };
    let loc = |offset: u64, len: u64| len << 16 | offset;
    vec![
        one(0, 1000, 71, record(100, 71).numbers(8, [0x7f00_0000_1234, 0x40_1000, 6])),
        one(1, 2600, 72, record(102, 72).numbers(4, [loc(28, 7), 72, 120, 1, 0]).raw(b"worker\0\0")),
        one(
            1,
            4000,
            0,
            record(101, 0).numbers(4, [1, 0]).numbers(8, [0xffff_ffff_8100_1024, 0xffff_ffff_8100_1040]),
        ),
        one(0, 5000, 71, record(5, 71).number(0xffff_ffff_8100_1045, 8).raw(b"B 3 t0 0 ld 0 0\n\0\0\0\0")),
        one(0, 7000, 99, record(103, 99).numbers(4, [74, 0]).number(-22_i64 as u64, 8)),
        one(1, 9400, 71, record(104, 71)),
    ]
}

/// Bytes of a page of the ring buffer.
pub const PAGE: usize = 4096;

/// The pages of a CPU: an event in each, so that there are several; the second says that events were lost before it.
fn pages(big: bool, cpu: u32) -> Vec<Vec<u8>> {
    let word = |kind: u64, delta: u64| if big { kind << 27 | delta } else { delta << 5 | kind };
    let mut pages = Vec::new();
    for event in events(big).iter().filter(|event| event.cpu == cpu) {
        let (length, missed) = (event.record.len() as u64, pages.len() == 1);
        // A time stamp before the event, and the event with a length of its own.
        let data = Bytes::new(big)
            .numbers(4, [word(30, 20), 0, word(0, 30), length + 4])
            .raw(&event.record)
            .raw(&vec![0; event.record.len().next_multiple_of(4) - event.record.len()]);
        let flags = if missed { 3 << 30 } else { 0 };
        let page = Bytes::new(big)
            .number(event.time - 50, 8)
            .number(data.to.len() as u64 | flags, 8)
            .raw(&data.to)
            .number(if missed { LOST - 3 } else { 0 }, 8);
        let mut page = page.to;
        page.resize(PAGE, 0);
        pages.push(page);
    }
    pages
}

const STATS: [&[u8]; 2] = [
    b"CPU: 0\nentries: 0\noverrun: 3\ndropped events: 0\n\0",
    b"CPU: 1\nentries: 0\noverrun: 0\ndropped events: 1\n\0",
];

fn initial(big: bool, version: u8) -> Bytes {
    Bytes::new(big).raw(b"\x17\x08\x44tracing").raw(&[version, 0, u8::from(big), 8]).number(PAGE as u64, 4)
}

/// A file of version 6.
pub fn version_6(big: bool) -> Vec<u8> {
    let p = parts(big);
    let mut to =
        initial(big, b'6').raw(&[p.header, p.ftrace, p.events, p.symbols, p.printk, p.tasks].concat());
    to = to.number(2, 4).raw(b"options  \0");
    for stats in STATS {
        to = to.number(2, 2).text(4, stats);
    }
    to = to.number(4, 2).text(4, b"local [mono]\0").number(0, 2).raw(b"flyrecord\0");
    let data: [Vec<u8>; 2] = [0, 1].map(|cpu| pages(big, cpu).concat());
    let mut place = (to.to.len() + 32).next_multiple_of(PAGE) as u64;
    let start = place;
    for data in &data {
        to = to.numbers(8, [place, data.len() as u64]);
        place += data.len() as u64;
    }
    let mut file = to.to;
    file.resize(start as usize, 0);
    file.extend(data.concat());
    file
}

/// How a file of version 7 is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    None,
    Zstd,
    Zlib,
}

impl Packing {
    fn pack(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::None => bytes.to_vec(),
            Self::Zstd => zstd::bulk::compress(bytes, 3).unwrap(),
            Self::Zlib => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
                std::io::Write::write_all(&mut encoder, bytes).unwrap();
                encoder.finish().unwrap()
            }
        }
    }
}

/// A file of version 7.
pub fn version_7(big: bool, packing: Packing) -> Vec<u8> {
    let p = parts(big);
    let packed = u64::from(packing != Packing::None);
    let name = match packing {
        Packing::None => "none",
        Packing::Zstd => "zstd",
        Packing::Zlib => "zlib",
    };
    let mut to = initial(big, b'7').raw(name.as_bytes()).raw(b"\x001.0\0");
    let first = to.to.len();
    to = to.number(0, 8);
    let section = |to: Bytes, id: u64, bytes: &[u8]| {
        let to = to.number(id, 2).number(packed, 2).number(0, 4);
        if packed == 0 {
            return to.text(8, bytes);
        }
        let small = packing.pack(bytes);
        to.number(small.len() as u64 + 8, 8).numbers(4, [small.len() as u64, bytes.len() as u64]).raw(&small)
    };
    let mut options = Bytes::new(big);
    for (id, bytes) in [(16, &p.header), (17, &p.ftrace), (18, &p.events), (19, &p.symbols), (21, &p.tasks)] {
        options = options.number(id, 2).number(8, 4).number(to.to.len() as u64, 8);
        to = section(to, id, bytes);
    }
    for stats in STATS {
        options = options.number(2, 2).text(4, stats);
    }
    // The buffer, whose section has the CPUs one after another, each from a page's begin on.
    let place = to.to.len() as u64;
    to = to.number(3, 2).number(packed, 2).number(0, 4).number(0, 8);
    let mut buffer = Bytes::new(big).number(place, 8).raw(b"\0mono\0").numbers(4, [PAGE as u64, 2]);
    for cpu in [0, 1] {
        to.to.resize(to.to.len().next_multiple_of(PAGE), 0);
        let start = to.to.len() as u64;
        let pages = pages(big, cpu);
        if packed == 0 {
            to = to.raw(&pages.concat());
        } else {
            // Two pages in a chunk.
            let chunks: Vec<Vec<u8>> = pages.chunks(2).map(<[Vec<u8>]>::concat).collect();
            to = to.number(chunks.len() as u64, 4);
            for chunk in chunks {
                let small = packing.pack(&chunk);
                to = to.numbers(4, [small.len() as u64, chunk.len() as u64]).raw(&small);
            }
        }
        let size = to.to.len() as u64 - start - 4 * packed;
        buffer = buffer.number(u64::from(cpu), 4).numbers(8, [start, size]);
    }
    let size = Bytes::new(big).number(to.to.len() as u64 - place - 16, 8).to;
    to.to[place as usize + 8..place as usize + 16].copy_from_slice(&size);
    // The options are a list of two sections.
    let second = to.to.len() as u64;
    let more = Bytes::new(big).number(3, 2).text(4, &buffer.to).number(0, 2).number(8, 4).number(0, 8);
    to = section(to, 0, &more.to);
    let options_at = to.to.len() as u64;
    let options = options.number(0, 2).number(8, 4).number(second, 8);
    to = section(to, 0, &options.to);
    let at = Bytes::new(big).number(options_at, 8);
    to.to[first..first + 8].copy_from_slice(&at.to);
    to.to
}

/// Fields of the samples: identifier, instruction, thread, time, CPU, period, raw.
const FIELDS: u64 = 1 << 16 | 1 | 1 << 1 | 1 << 2 | 1 << 7 | 1 << 8 | 1 << 10;
/// Fields of samples of accesses: instruction, thread, time, address, weight, source.
const MEM_FIELDS: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 14 | 1 << 15;
/// Bytes of an attribute.
const ATTR: usize = 128;

fn attr(big: bool, kind: u64, config: u64, fields: u64) -> Vec<u8> {
    // `sample_id_all` is the nineteenth bit from the one that is written first.
    let flags = if big { 1 << 45 } else { 1 << 18 };
    let attr = Bytes::new(big).numbers(4, [kind, ATTR as u64]).numbers(8, [config, 1, fields, 0, flags]);
    let mut attr = attr.to;
    attr.resize(ATTR, 0);
    attr
}

fn record(big: bool, kind: u64, body: &[u8]) -> Vec<u8> {
    let size = body.len().next_multiple_of(8);
    let mut record = Bytes::new(big).number(kind, 4).numbers(2, [0, size as u64 + 8]).raw(body).to;
    record.resize(size + 8, 0);
    record
}

/// The name of thread 71 and 72, then the samples: those of the second CPU first, in two rounds.
fn perf_records(big: bool) -> Vec<Vec<u8>> {
    let new = || Bytes::new(big);
    let ids = |time: u64| new().numbers(4, [0, 0]).number(time, 8).numbers(4, [0, 0]).number(1, 8).to;
    let mut records: Vec<Vec<u8>> = [71, 72]
        .map(|tid| record(big, 3, &new().numbers(4, [tid, tid]).raw(b"worker\0\0").raw(&ids(0)).to))
        .into();
    let lost = new().numbers(8, [1, LOST]).raw(&ids(5_000_000_001)).to;
    records.push(record(big, 2, &lost));
    for cpu in [1, 0] {
        for event in events(big).iter().filter(|event| event.cpu == cpu) {
            let raw = (event.record.len() + 4).next_multiple_of(8) - 4;
            let mut padded = event.record.clone();
            padded.resize(raw, 0);
            let sample = new()
                .numbers(8, [1, 0xffff_ffff_8100_0000])
                .numbers(4, [u64::from(event.pid), u64::from(event.pid)])
                .number(event.time, 8)
                .numbers(4, [u64::from(cpu), 0])
                .number(1, 8)
                .text(4, &padded);
            records.push(record(big, 9, &sample.to));
        }
        records.push(record(big, 68, &[]));
    }
    records
}

fn tracing_data(big: bool) -> Vec<u8> {
    let p = parts(big);
    let head =
        Bytes::new(big).raw(b"\x17\x08\x44tracing0.6\0").raw(&[u8::from(big), 8]).number(PAGE as u64, 4);
    head.raw(&[p.header, p.ftrace, p.events, p.symbols, p.printk, p.tasks].concat()).to
}

const fn magic(big: bool) -> &'static [u8; 8] {
    if big { b"2ELIFREP" } else { b"PERFILE2" }
}

/// A file of perf with one event, and the records.
fn perf_file_of(big: bool, attr: &[u8], data: &[u8], tracing: Option<&[u8]>) -> Vec<u8> {
    let (ids, attrs) = (104_u64, 112_u64);
    let start = attrs + ATTR as u64 + 16;
    let features = u64::from(tracing.is_some()) << 1;
    let mut to = Bytes::new(big)
        .raw(magic(big))
        .numbers(8, [104, ATTR as u64 + 16, attrs, ATTR as u64 + 16, start, data.len() as u64, 0, 0])
        .numbers(8, [features, 0, 0, 0])
        .number(1, 8)
        .raw(attr)
        .numbers(8, [ids, 8])
        .raw(data);
    if let Some(tracing) = tracing {
        let place = to.to.len() as u64 + 16;
        to = to.numbers(8, [place, tracing.len() as u64]).raw(tracing);
    }
    to.to
}

/// A file of perf, with or without compressed records.
pub fn perf_file(big: bool, compressed: bool) -> Vec<u8> {
    let mut data = perf_records(big).concat();
    if compressed {
        data = compress(big, &data);
    }
    perf_file_of(big, &attr(big, 2, 100, FIELDS), &data, Some(&tracing_data(big)))
}

/// One stream, cut into two records in the middle of a record, padded as newer perf does.
fn compress(big: bool, data: &[u8]) -> Vec<u8> {
    let packed = zstd::bulk::compress(data, 3).unwrap();
    let (first, second) = packed.split_at(packed.len() / 2);
    let first = record(big, 83, &Bytes::new(big).text(8, first).to);
    [first, record(big, 83, &Bytes::new(big).text(8, second).to)].concat()
}

/// What perf writes into a pipe.
pub fn perf_pipe(big: bool) -> Vec<u8> {
    let new = || Bytes::new(big);
    let event = new().raw(&attr(big, 2, 100, FIELDS)).number(1, 8).to;
    let mut tracing = tracing_data(big);
    tracing.resize(tracing.len().next_multiple_of(8), 0);
    let mut to = new().raw(magic(big)).number(16, 8).raw(&record(big, 64, &event)).to;
    to.extend(record(big, 66, &new().number(tracing.len() as u64, 4).to));
    to.extend(tracing);
    to.extend(perf_records(big).concat());
    to
}

/// Sampled accesses: thread, address and operation (2 a load, 4 a store).
pub const ACCESSES: [(u64, u64, u64); 5] = [
    (71, 0x7f00_0000_1000, 2),
    (71, 0x7f00_0000_2008, 4),
    (72, 0x7f00_0000_3000, 2),
    (71, 0xffff_8880_0000_0000, 2),
    (71, 0x7f00_0000_1040, 6),
];

/// A file of `perf mem record`.
pub fn perf_mem(big: bool) -> Vec<u8> {
    let mut data = Vec::new();
    for (i, (tid, address, op)) in ACCESSES.into_iter().enumerate() {
        let sample = Bytes::new(big)
            .number(0x40_1000, 8)
            .numbers(4, [tid, tid])
            .numbers(8, [1000 + i as u64, address, 300, op | 0x8 << 5]);
        data.extend(record(big, 9, &sample.to));
    }
    perf_file_of(big, &attr(big, 4, 0x1cd, MEM_FIELDS), &data, None)
}

/// Every form of a file of trace-cmd.
pub fn trace_dats() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for big in [false, true] {
        let order = if big { "big" } else { "little" };
        all.push((format!("v6-{order}"), version_6(big)));
        for packing in [Packing::None, Packing::Zstd, Packing::Zlib] {
            all.push((format!("v7-{order}-{packing:?}").to_lowercase(), version_7(big, packing)));
        }
    }
    all
}

/// Every form of a file of perf with events.
pub fn perf_datas() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for big in [false, true] {
        let order = if big { "big" } else { "little" };
        all.push((format!("file-{order}"), perf_file(big, false)));
        all.push((format!("packed-{order}"), perf_file(big, true)));
        all.push((format!("pipe-{order}"), perf_pipe(big)));
    }
    all
}
