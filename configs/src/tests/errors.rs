use super::{kernel_text, machine_text, message, place};
use crate::{parse_kernel, parse_machine};

/// What is wrong with `foo.toml`, a copy of the Skylake machine with `from` replaced by `to`.
fn machine(from: &str, to: &str) -> String {
    let text = machine_text("skylake-sp-optane");
    assert!(text.contains(from), "{from}");
    message(parse_machine("foo.toml", &text.replacen(from, to, 1), &[]))
}

/// What is wrong with `foo.toml`, which changes one thing of the Skylake machine.
fn derived(text: &str) -> String {
    message(parse_machine("foo.toml", &format!("base = \"skylake-sp-optane\"\n{text}"), &[]))
}

const TIME: &str = "with its unit (cycles, ps, ns, us, ms), such as \"14 cycles\" or \"81.4 ns\"";

#[test]
fn text_that_is_not_toml() {
    assert_eq!(
        message(parse_machine("foo.toml", "[cpu\ncount = 4\nclock = \n", &[])),
        "foo.toml:1:5: invalid TOML: unclosed table, expected `]`"
    );
    assert_eq!(
        message(parse_machine("foo.toml", "a = 1\nb = x\nc = \n", &[])),
        "foo.toml:2:5: invalid TOML: string values must be quoted, expected literal string\n\
         foo.toml:3:5: invalid TOML: string values must be quoted, expected literal string"
    );
    assert_eq!(
        message(parse_machine("foo.toml", "a = 1\na = 2\n", &[])),
        "foo.toml:2:1: invalid TOML: duplicate key"
    );
}

#[test]
fn unknown_keys() {
    assert_eq!(
        derived("[tlb.stlb]\nentires = 4"),
        "foo.toml:3:1: tlb.stlb.entires: unknown key: the nearest valid key is `tlb.stlb.entries`"
    );
    assert_eq!(
        derived("  \"tlb.stlb.ways\" = 4"),
        "foo.toml:2:3: \"tlb.stlb.ways\": unknown key: the nearest valid key is `tlb.stlb.ways`"
    );
    assert_eq!(
        derived("cpus.count = 4"),
        "foo.toml:2:6: cpus.count: unknown key: the nearest valid key is `cpu.count`"
    );
    let text = kernel_text("linux-7.2").replace("flush_ceiling_pages", "flush_ceilling_pages");
    let line = text.lines().position(|l| l.starts_with("flush_ceilling_pages")).unwrap() + 1;
    assert_eq!(
        message(parse_kernel("bar.toml", &text, &[])),
        format!(
            "bar.toml:{line}:1: tree.flush_ceilling_pages: unknown key: the nearest valid key is \
             `tree.flush_ceiling_pages`\n\
             bar.toml: tree.flush_ceiling_pages: missing key: expected an integer in 0..=1048576"
        )
    );
}

#[test]
fn missing_keys() {
    assert_eq!(
        machine("iret = ", "# iret = "),
        format!("foo.toml: cost.iret: missing key: expected a time up to 1 s {TIME}")
    );
    let optional = |key: &str| {
        crate::machine_schema::optional().iter().any(|table| crate::reader::is_inside(key, table))
    };
    let required = crate::machine_keys().iter().filter(|k| k.default.is_none() && !optional(k.key)).count();
    let empty = message(parse_machine("foo.toml", "", &[]));
    let told = empty.lines().count() - 1;
    assert!(told > 3);
    assert_eq!(empty.lines().last().unwrap(), format!("... and {} more problems", required - told));
}

#[test]
fn wrong_types() {
    let of = |value: &str| derived(&format!("cpu.count = {value}"));
    let expected = "expected an integer in 1..=256";
    for (value, found) in [
        ("\"4\"", "\"4\""),
        ("0", "the number 0"),
        ("257", "the number 257"),
        ("-1", "the number -1"),
        ("4.0", "the number 4.0"),
        ("true", "true"),
        ("[4]", "an array"),
        ("{}", "a table"),
        ("2026-11-22", "a date or time"),
        ("99999999999999999999", "the number 99999999999999999999"),
        ("9999999999999999999999999999999999999999", "a number too large for any integer"),
    ] {
        assert_eq!(of(value), format!("foo.toml:2:13: cpu.count: {found}: {expected}"));
    }
    assert_eq!(derived("mmu.pcid = 1"), "foo.toml:2:12: mmu.pcid: the number 1: expected true or false");
    assert_eq!(
        derived("tlb.stlb = 3"),
        "foo.toml:2:12: tlb.stlb: the number 3: expected a table with keys such as tlb.stlb.entries"
    );
    assert_eq!(
        derived("tlb.stlb.index = \"hash\""),
        "foo.toml:2:18: tlb.stlb.index: \"hash\": expected one of \"linear\", \"xor\", \"skewed\""
    );
    for sizes in ["[]", "[\"8K\"]", "[4096]", "[\"4K\", \"4K\"]"] {
        assert_eq!(
            derived(&format!("tlb.stlb.page_sizes = {sizes}")),
            "foo.toml:2:23: tlb.stlb.page_sizes: an array: expected an array of one or more of \
             \"4K\", \"2M\", \"1G\", each at most once"
        );
    }
    assert_eq!(
        derived("cpu.cpi = 0"),
        "foo.toml:2:11: cpu.cpi: the number 0: expected cycles per instruction in 0.001..=1000, such as 0.9"
    );
    for cpi in ["inf", "nan", "-0.5"] {
        assert!(derived(&format!("cpu.cpi = {cpi}")).contains("expected cycles per instruction"));
    }
    assert_eq!(derived("description = \"\""), "foo.toml:2:15: description: \"\": expected one line of text");
}

#[test]
fn wrong_units() {
    assert_eq!(
        derived("cost.iret = \"14 KiB\""),
        format!("foo.toml:2:13: cost.iret: \"14 KiB\": expected a time up to 1 s {TIME}")
    );
    assert_eq!(
        derived("cache.transfer = 47.5"),
        format!(
            "foo.toml:2:18: cache.transfer: the number 47.5: expected a time above zero, up to 1 s {TIME}"
        )
    );
    assert_eq!(
        derived("cache.transfer = \"0 ns\""),
        format!("foo.toml:2:18: cache.transfer: \"0 ns\": expected a time above zero, up to 1 s {TIME}")
    );
    assert_eq!(
        derived("cost.iret = \"99999999999999999999999 ns\""),
        format!("foo.toml:2:13: cost.iret: \"99999999999999999999999 ns\": expected a time up to 1 s {TIME}")
    );
    assert_eq!(
        derived("cache.l3.size = \"33 MB\""),
        "foo.toml:2:17: cache.l3.size: \"33 MB\": expected a size in 64 B..=4 GiB, a multiple of 64 B with its \
         unit (B, KiB, MiB, GiB, TiB), such as \"32 KiB\""
    );
    assert_eq!(
        derived("cpu.clock = \"2.2 GB/s\""),
        "foo.toml:2:13: cpu.clock: \"2.2 GB/s\": expected a frequency in 1 MHz..=10 GHz with its unit \
         (Hz, kHz, MHz, GHz), such as \"2.2 GHz\""
    );
    assert_eq!(
        derived("pmem.media_read_bandwidth = \"6.5 GHz\""),
        "foo.toml:2:29: pmem.media_read_bandwidth: \"6.5 GHz\": expected a bandwidth in 1 MB/s..=10000 GB/s \
         with its unit (MB/s, GB/s, MiB/s, GiB/s), such as \"21.3 GB/s\""
    );
    assert_eq!(
        derived("pmem.base = 0x140100000"),
        "foo.toml:2:13: pmem.base: the number 5369757696: expected an address below 2^52, a multiple of 2 MiB, \
         such as 0x140200000"
    );
}

#[test]
fn impossible_geometry() {
    for (text, expected) in [
        ("tlb.stlb.ways = 0", "2:17: tlb.stlb.ways: the number 0: expected an integer in 1..=65536"),
        ("tlb.stlb.ways = 1537", "2:17: tlb.stlb.ways: 1536 entries, 1537 ways: expected 1..=1536 ways"),
        (
            "tlb.dtlb_4k.ways = 3",
            "2:20: tlb.dtlb_4k.ways: 64 entries, 3 ways: expected entries to be a multiple of ways",
        ),
        (
            "tlb.stlb.ways = 1",
            "2:17: tlb.stlb.ways: 1536 entries, 1 way: 1536 sets: expected entries / ways to be a power of two",
        ),
        ("cache.l1d.ways = 513", "2:18: cache.l1d.ways: 512 lines of 64 B, 513 ways: expected 1..=512 ways"),
        (
            "cache.l3.ways = 7",
            "2:17: cache.l3.ways: 540672 lines of 64 B, 7 ways: expected size to be a multiple of 64 B x ways",
        ),
        (
            "cache.l2.size = \"1.5 MiB\"",
            "@cache.l2 ways: cache.l2.ways: 24576 lines of 64 B, 16 ways: 1536 sets: \
             expected size / (64 B x ways) to be a power of two",
        ),
        (
            "cache.l3.slices = 5",
            "2:19: cache.l3.slices: 5 slices of 49152 sets: expected a divisor of the sets, size / (64 B x ways)",
        ),
        ("cache.l1d.ways = 64", "2:18: cache.l1d.ways: 512 lines of 64 B, 64 ways: expected 1..=32 ways"),
        ("pmem.dimms = 0", "2:14: pmem.dimms: the number 0: expected an integer in 1..=64"),
        (
            "pmem.buffer_lines = 0",
            "2:21: pmem.buffer_lines: the number 0: expected an integer in 1..=1048576",
        ),
        (
            "dram.capacity = \"0 B\"",
            "2:17: dram.capacity: \"0 B\": expected a size in 4 KiB..=64 TiB, a multiple of 4 KiB with its unit \
             (B, KiB, MiB, GiB, TiB), such as \"32 KiB\"",
        ),
        (
            "pmem.base = 0x40000000",
            "2:13: pmem.base: 0x40000000: expected at or above the end of main memory, 0x400000000",
        ),
        (
            "pmem.base = 0xfffffffe00000",
            "@pmem capacity: pmem.capacity: an end at 0x100003ffe00000: expected an end \
             at or below 2^46 (mmu.physical_bits)",
        ),
        (
            "pmem.interleave = \"320 B\"",
            "2:19: pmem.interleave: 320 B: expected a multiple of pmem.media_line, 256 B",
        ),
        (
            "pmem.ait_block = \"320 B\"",
            "2:18: pmem.ait_block: 320 B: expected a multiple of pmem.media_line, 256 B",
        ),
        (
            "pmem.ait_entries = 3",
            "2:20: pmem.ait_entries: 3 entries, 16 ways: expected entries / pmem.ait_ways to be a power of two, or 0 \
             entries",
        ),
        (
            "pmem.ait_entries = 48",
            "2:20: pmem.ait_entries: 48 entries, 16 ways: expected entries / pmem.ait_ways to be a power of two, or \
             0 entries",
        ),
        (
            "pmem.wear_writes_most = 9",
            "2:25: pmem.wear_writes_most: 9: expected at least pmem.wear_writes_least, 13400",
        ),
    ] {
        let expected = match expected.strip_prefix('@').and_then(|e| e.split_once(": ")) {
            Some((at, rest)) => {
                let (section, key) = at.split_once(' ').unwrap();
                format!("{}: {rest}", place(section, key))
            }
            None => format!("foo.toml:{expected}"),
        };
        assert_eq!(derived(text), expected);
    }
}

#[test]
fn main_memory_that_cannot_be_built() {
    for (text, expected) in [
        (
            "dram.preset = \"DDR4-2667V\"",
            "2:15: dram.preset: \"DDR4-2667V\": expected \"DDR4-2666V\", or another of DDR4-2400R, DDR4-2666V, DDR4-2933Y, \
             DDR4-3200AA, DDR5-4800BN, DDR5-5600AN, DDR5-6400AN",
        ),
        ("dram.ranks = 3", "2:14: dram.ranks: 3: expected a power of two"),
        ("dram.row_size = \"3 KiB\"", "2:17: dram.row_size: 3072 B: expected a power of two"),
        (
            "dram.write_high = 33",
            "2:19: dram.write_high: 33: expected at most 32, the lines of dram.write_queue",
        ),
        ("dram.write_low = 26", "2:18: dram.write_low: 26: expected less than 26, dram.write_high"),
        (
            "dram.mapping = \"row bank lane\"",
            "2:16: dram.mapping: \"row bank lane\": expected the words row, rank, group, bank, column and channel, the most \
             significant first, each perhaps with :N for N bits of it, such as \"row rank bank column group channel\"",
        ),
        (
            "dram = { timing = \"banks\", mapping = \"row bank column group channel\" }",
            "2:38: dram.mapping: no values of rank: expected 2 values of rank, as the machine has",
        ),
        (
            "dram = { timing = \"banks\", refresh = \"same-bank\" }",
            "2:38: dram.refresh: same-bank, with 1 GiB a device of DDR4-2666V: expected all-bank or off: no such time is known for these devices",
        ),
        (
            "dram = { timing = \"banks\", density = \"32Gb\" }",
            "2:38: dram.density: 4 GiB a device with DDR4-2666V: expected a density that the preset has a refresh time for",
        ),
        (
            "dram = { timing = \"banks\", channels = 1, ranks = 1, device_width = \"x16\", capacity = \"8 GiB\" }",
            "2:86: dram.capacity: 0x200000000 bytes: expected at most 0x100000000, the bytes of 1 channel of 1 rank",
        ),
    ] {
        assert_eq!(derived(text), format!("foo.toml:{expected}"));
    }
}

#[test]
fn page_sizes_have_one_first_level_array() {
    assert_eq!(
        derived("tlb.dtlb_2m = \"absent\""),
        format!(
            "{}: tlb.dtlb_4k.page_sizes: no first-level array holds 2M pages: expected \"2M\" here or a table for it",
            place("tlb.dtlb_4k", "page_sizes")
        )
    );
    assert_eq!(
        derived("tlb.dtlb_2m.page_sizes = [\"2M\", \"1G\"]"),
        format!(
            "{}: tlb.dtlb_1g.page_sizes: 1G pages, which tlb.dtlb_2m holds too: expected each page size in one \
             first-level array",
            place("tlb.dtlb_1g", "page_sizes")
        )
    );
    assert_eq!(
        derived("tlb.dtlb_1g.page_sizes = [\"4K\"]").lines().next().unwrap(),
        "foo.toml:2:26: tlb.dtlb_1g.page_sizes: no 1G pages: expected \"1G\" among the sizes of this array"
    );
}

#[test]
fn knobs_that_contradict_each_other() {
    let text = "base = \"dax-patch-v1\"\ndax.fresh_write_sets_d = true\n";
    assert_eq!(
        message(parse_kernel("k.toml", text, &[])),
        "k.toml:2:26: dax.fresh_write_sets_d: true with dax.fresh_write_stores_rw = false: expected false: \
         a read-only entry with D set is a shadow-stack page"
    );
    let text = "base = \"linux-7.2\"\ndax.refcount_per_map = 2\ntree.flush_ceiling_pages = 0\n";
    assert_eq!(
        message(parse_kernel("k.toml", text, &[])),
        "k.toml:2:24: dax.refcount_per_map: the number 2: expected an integer in 0..=1"
    );
}

#[test]
fn one_problem_does_not_hide_the_next() {
    assert_eq!(
        derived("[cpu]\ncount = 0\ncpi = \"x\"\n[tlb.stlb]\nways = 5\nwayz = 1\n[pmem]\ndimms = 6.0"),
        "foo.toml:3:9: cpu.count: the number 0: expected an integer in 1..=256\n\
         foo.toml:4:7: cpu.cpi: \"x\": expected cycles per instruction in 0.001..=1000, such as 0.9\n\
         foo.toml:6:8: tlb.stlb.ways: 1536 entries, 5 ways: expected entries to be a multiple of ways\n\
         foo.toml:7:1: tlb.stlb.wayz: unknown key: the nearest valid key is `tlb.stlb.ways`\n\
         foo.toml:9:9: pmem.dimms: the number 6.0: expected an integer in 1..=64"
    );
}

#[test]
fn columns_count_characters() {
    assert_eq!(
        derived("\"µ\".x = 1\r\n\tcpu = { count = \"é\" }"),
        "foo.toml:2:5: \"µ\".x: unknown key: the nearest valid key is `cpu.cpi`\n\
         foo.toml:3:18: cpu.count: \"é\": expected an integer in 1..=256"
    );
}

#[test]
fn replacement_that_the_ways_do_not_allow() {
    for (text, expected) in [
        (
            "tlb.stlb.replacement = \"plru\"",
            "tlb.stlb.replacement: \"plru\" with 12 ways: expected a power of two up to 64 ways, \
             or another tlb.stlb.replacement",
        ),
        (
            "tlb.dtlb_4k.replacement = \"mru3-plru4\"",
            "tlb.dtlb_4k.replacement: \"mru3-plru4\" with 4 ways: expected 12 ways, three groups of four, \
             or another tlb.dtlb_4k.replacement",
        ),
        (
            "tlb.stlb.replacement = \"mru3-plru4\"\ntlb.stlb.index = \"skewed\"",
            "tlb.stlb.replacement: \"mru3-plru4\" in a skewed array: expected \"lru\", \"random\" or \"fifo\"",
        ),
        (
            "tlb.dtlb_4k.replacement = \"plru\"\ntlb.dtlb_4k.ways_4k = 2",
            "tlb.dtlb_4k.replacement: \"plru\" where a page size has some of the ways only: \
             expected \"lru\", \"random\" or \"fifo\"",
        ),
        (
            "tlb.stlb.entries = 2048\ntlb.stlb.ways = 16",
            "foo.toml:3:17: tlb.stlb.ways: \"mru3-plru4\" with 16 ways: expected 12 ways, three groups of four, \
             or another tlb.stlb.replacement",
        ),
        ("tlb.stlb.ways_2m = 13", "tlb.stlb.ways_2m: 13 of 12 ways: expected 0..=12"),
        ("tlb.stlb.coalesce = 3", "tlb.stlb.coalesce: 3: expected 1, 2, 4 or 8"),
        ("tlb.dtlb_2m.coalesce = 4", "tlb.dtlb_2m.coalesce: 4 without 4K pages: expected 1"),
    ] {
        let told = derived(text);
        assert!(told.ends_with(expected), "{told}\n{expected}");
    }
}

#[test]
fn arrays_beside_those_of_loads() {
    let array = |name: &str, sizes: &str| {
        format!(
            "[tlb.{name}]\nentries = 16\nways = 4\nreplacement = \"lru\"\nindex = \"linear\"\npage_sizes = {sizes}\n"
        )
    };
    let second = |name: &str, sizes: &str| array(name, sizes) + "hit_penalty = \"1 ns\"\n";
    for (text, expected) in [
        (
            array("dtlb_store", "[\"2M\"]"),
            "tlb.dtlb_store.page_sizes: no 4K pages: expected \"4K\" among the sizes of this array",
        ),
        (
            array("itlb_2m", "[\"2M\"]"),
            "tlb.itlb_2m.entries: no tlb.itlb_4k: expected a first level of fetches beside it",
        ),
        (
            second("itlb2", "[\"4K\"]"),
            "tlb.itlb2.entries: no tlb.itlb_4k: expected a first level of fetches beside it",
        ),
        (
            array("itlb_4k", "[\"4K\", \"2M\"]") + &array("itlb_2m", "[\"2M\"]"),
            "tlb.itlb_2m.page_sizes: 2M pages, which tlb.itlb_4k holds too: expected them in one of the two",
        ),
        (
            second("stlb_1g", "[\"4K\", \"2M\", \"1G\"]"),
            "tlb.stlb_1g.page_sizes: 2M pages, which tlb.stlb holds too: expected them in one of the two",
        ),
        (
            array("itlb_4k", "[\"4K\"]") + &array("itlb2", "[\"4K\"]"),
            "tlb.itlb2.hit_penalty: missing key: expected a time up to 1 s with its unit (cycles, ps, ns, us, ms), \
             such as \"14 cycles\" or \"81.4 ns\"",
        ),
    ] {
        let told = derived(&text);
        assert!(told.ends_with(expected), "{told}\n{expected}");
    }
    let all = array("dtlb_store", "[\"4K\", \"2M\", \"1G\"]")
        + &array("itlb_4k", "[\"4K\"]")
        + &array("itlb_2m", "[\"2M\"]")
        + &second("itlb2", "[\"4K\", \"2M\"]")
        + &second("stlb_1g", "[\"4K\", \"1G\"]");
    let text = format!("base = \"skylake-sp-optane\"\n{all}");
    let m = parse_machine("foo.toml", &text, &[]).unwrap();
    assert_eq!(m.tlb.arrays().count(), 9);
    assert_eq!(m.tlb.stlb.ways_of(daxsim_types::PageSize::Size2M), 12);
}

#[test]
fn isolation_leaves_half_the_pcids() {
    let of = |text: &str| parse_kernel("k.toml", &format!("base = \"linux-7.2\"\n{text}\n"), &[]);
    assert!(of("tree.asids = 4094").is_ok() && of("tree.pti = true").is_ok());
    assert_eq!(
        message(of("tree.pti = true\ntree.asids = 2047")),
        "k.toml:3:14: tree.asids: 2047 with tree.pti = true: expected at most 2046: a bit of the PCID is for user mode"
    );
}

#[test]
fn host_pages_of_persistent_memory_move_as_a_whole() {
    let text = "base = \"skylake-sp-optane\"\npmem.base = 0xa00200000\n[nested]\npage_size = \"1G\"\n\
                frames = \"random\"\npmem_frames = \"random\"\ntlb = 0\npml4e = 0\npdpte = 0\npde = 0\n";
    assert_eq!(
        message(parse_machine("m.toml", text, &[])),
        "m.toml:2:13: pmem.base: 0xa00200000: expected a multiple of 1G, as nested.pmem_frames moves pages of that size"
    );
    assert!(parse_machine("m.toml", &text.replace("pmem_frames = \"random\"\n", ""), &[]).is_ok());
}
