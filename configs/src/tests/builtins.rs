use daxsim_types::{PageSize, Time};

use super::{kernel_text, machine_text};
use crate::kernel::{BusyTest, Mismatch, SwBits, WpCallback};
use crate::machine::{HostFrames, host_table_bytes};
use crate::machine_schema::optional;
use crate::reader::is_inside;
use crate::{
    KeyValue, builtin_kernels, builtin_machines, describe_kernel, describe_machine, kernel_keys, load_kernel,
    load_machine, machine_keys, parse_kernel, parse_machine,
};

#[test]
fn every_builtin_loads_and_has_a_description() {
    let machines = builtin_machines().unwrap();
    assert_eq!(
        machines.iter().map(|b| b.name).collect::<Vec<_>>(),
        [
            "skylake-sp-optane",
            "ice-lake-sp",
            "sapphire-rapids",
            "emerald-rapids",
            "granite-rapids",
            "xeon-6242",
            "cascadelake-optane-1dimm",
            "icelake-optane200",
            "nvdimm-n",
            "sapphire-cxl",
            "zen2-rome",
            "zen3-milan",
            "zen4-genoa",
            "zen5-turin",
            "i7-7800x",
            "i9-11900k",
            "i9-12900k",
            "ryzen-5900x",
            "i9-7980xe",
            "i7-1165g7",
            "i9-13900k",
            "core-ultra-285k",
            "ryzen-7950x",
            "ryzen-9950x",
            "emr-guest",
            "haswell-ep",
            "qemu-tcg",
            "champsim",
        ]
    );
    let kernels = builtin_kernels().unwrap();
    assert_eq!(
        kernels.iter().map(|b| b.name).collect::<Vec<_>>(),
        ["linux-6.12", "linux-7.2", "dax-patch-v1"]
    );
    assert!(machines.iter().chain(&kernels).all(|b| !b.description.is_empty()));
    for b in machines {
        assert_eq!(load_machine(b.name, &[]).unwrap().name, b.name);
    }
    for b in kernels {
        assert_eq!(load_kernel(b.name, &[]).unwrap().name, b.name);
    }
}

#[test]
fn memory_costs_what_was_measured() {
    let m = load_machine("skylake-sp-optane", &[]).unwrap();
    assert_eq!(m.cpu.clock.period_ps(), 455);
    assert_eq!((m.cpu.milli_cpi, m.cpu.fill_buffers), (900, 12));
    assert_eq!(m.cache.l3.size / 64 / u64::from(m.cache.l3.ways), 49_152);
    // OptaneStudy 02-best_case_latency.
    assert_eq!(m.cache.l3.latency + m.dram.read_latency, Time(81_400));
    // 169.4 in sequence: of four lines one comes from the media, three from the buffer.
    let [media, buffered] =
        [m.pmem.read_latency_media, m.pmem.read_latency_buffered].map(|time| time.as_ns());
    let sequential = m.cache.l3.latency.as_ns() + (media + 3.0 * buffered) / 4.0;
    assert!((sequential / 169.4 - 1.0).abs() < 0.05, "{sequential}");
    assert!(((m.cache.l3.latency.as_ns() + media) / 305.0 - 1.0).abs() < 0.03);
    assert_eq!(m.cost.clwb_issue + m.pmem.write_latency, Time(62_300));
    assert_eq!(m.dram.line_occupancy, Time(3005));
    assert_eq!(m.tlb.dtlb_4k.hit_penalty, Time::ZERO);
    assert_eq!(m.tlb.stlb.sets(), 128);
}

#[test]
fn the_machine_of_the_recordings_is_where_they_say() {
    let m = load_machine("qemu-tcg", &[]).unwrap();
    assert_eq!((m.cpu.count, m.mmu.pcid, m.mmu.rewalk_before_fault), (4, false, true));
    assert_eq!((m.pmem.base, m.pmem.capacity, m.pmem.dimms), (0x1_4020_0000, (1 << 30) - (2 << 20), 1));
}

#[test]
fn kernels_differ_in_the_knobs_of_the_series() {
    let old = load_kernel("linux-6.12", &[]).unwrap();
    let v1 = load_kernel("dax-patch-v1", &[]).unwrap();
    let new = load_kernel("linux-7.2", &[]).unwrap();
    assert_eq!(old.dax.pte_block_sw_bits, SwBits { special: true, devmap: true });
    assert_eq!(old.dax.pmd_block_sw_bits, SwBits { special: false, devmap: true });
    assert_eq!(new.dax.pmd_zero_sw_bits, SwBits { special: true, devmap: false });
    assert_eq!(v1.dax.pte_zero_sw_bits, SwBits::default());
    let of = |f: fn(&crate::kernel::DaxKnobs) -> bool| [&old, &v1, &new].map(|k| f(&k.dax));
    assert_eq!(of(|d| d.fresh_write_stores_rw), [true, false, true]);
    assert_eq!(of(|d| d.upgrade_sets_d_4k), [true, false, false]);
    assert_eq!(of(|d| d.upgrade_sets_d_2m), [true, true, true]);
    assert_eq!(of(|d| d.memtype_lookup), [true, true, false]);
    assert_eq!(of(|d| d.zap_forces_flush_if_dirty), [false, true, true]);
    assert_eq!(
        [old, v1, new].map(|k| (k.dax.wp_callback_fsdax, k.dax.mismatch_4k, k.dax.busy_test)),
        [
            (WpCallback::PfnMkwrite, Mismatch::NoPage, BusyTest::RefAboveOne),
            (WpCallback::PageMkwrite, Mismatch::Sigbus, BusyTest::RefNonZero),
            (WpCallback::PfnMkwrite, Mismatch::Sigbus, BusyTest::RefNotMapcount),
        ]
    );
}

fn as_file(values: &[KeyValue]) -> String {
    values.iter().map(|v| v.to_toml() + "\n").collect()
}

#[test]
fn a_description_is_a_file_that_loads_to_the_same() {
    for b in builtin_machines().unwrap() {
        let spec = load_machine(b.name, &[]).unwrap();
        let values = describe_machine(&spec);
        let table = |key: &str| optional().iter().copied().find(|table| is_inside(key, table));
        let there: Vec<_> = values.iter().filter_map(|v| table(v.key)).collect();
        let left_out = |key: &str| table(key).is_some_and(|table| !there.contains(&table));
        assert_eq!(values.len(), machine_keys().iter().filter(|k| !left_out(k.key)).count());
        assert_eq!(there.contains(&"tlb.dtlb_2m"), spec.tlb.dtlb_2m.is_some());
        let back = parse_machine(&format!("{}.toml", b.name), &as_file(&values), &[]).unwrap();
        assert_eq!(back, spec);
    }
    for b in builtin_kernels().unwrap() {
        let spec = load_kernel(b.name, &[]).unwrap();
        let values = describe_kernel(&spec);
        assert_eq!(values.len(), kernel_keys().len());
        let back = parse_kernel(&format!("{}.toml", b.name), &as_file(&values), &[]).unwrap();
        assert_eq!(back, spec);
    }
}

#[test]
fn a_second_stage_needs_room_for_its_tables() {
    let text = |page: &str, gap: &str| {
        format!(
            "base = \"skylake-sp-optane\"\n[nested]\npage_size = \"{page}\"\nframes = \"random\"\ntlb = 4\npml4e = 2\n\
             pdpte = 2\npde = 8\n[dram]\ncapacity = \"{gap}\"\n"
        )
    };
    let spec = parse_machine("guest.toml", &text("4K", "16 GiB"), &[]).unwrap();
    let nested = spec.nested.as_ref().unwrap();
    assert_eq!((nested.levels, nested.frames, nested.seed), (4, HostFrames::Random, 0));
    // 48 GiB of guest-physical addresses: 96 MiB of last-level entries, 192 KiB, and one table for each level above.
    assert_eq!(host_table_bytes(4, PageSize::Size4K, 48 << 30), (96 << 20) + (192 << 10) + 4096 + 4096);
    assert_eq!(host_table_bytes(4, PageSize::Size2M, 48 << 30), (192 << 10) + 4096 + 4096);
    let back = parse_machine("guest.toml", &as_file(&describe_machine(&spec)), &[]).unwrap();
    assert_eq!(back.nested, spec.nested);
    // 32 GiB is where persistent memory begins.
    let full = parse_machine("guest.toml", &text("4K", "32 GiB"), &[]).unwrap_err().to_string();
    assert!(full.contains("nested.page_size: \"4K\", with 0x0 bytes between"), "{full}");
    let geometry = parse_machine("a.toml", "base = \"skylake-sp-optane\"\n[psc]\npde_ways = 5\n", &[]);
    let geometry = geometry.unwrap_err().to_string();
    assert!(geometry.contains("psc.pde_ways: 32 entries, 5 ways: expected entries / ways"), "{geometry}");
}

#[test]
fn a_description_shows_units() {
    let values = describe_machine(&load_machine("skylake-sp-optane", &[]).unwrap());
    let of = |key: &str| values.iter().find(|v| v.key == key).unwrap().value.clone();
    assert_eq!(of("cpu.clock"), "2.2 GHz");
    assert_eq!(of("cpu.cpi"), "0.9");
    assert_eq!(of("cost.exception_entry"), "715 cycles");
    assert_eq!(of("cache.transfer"), "47.5 ns");
    assert_eq!(of("cache.l3.size"), "33 MiB");
    assert_eq!(of("pmem.base"), "0x800000000");
    assert_eq!(of("pmem.ait_block"), "4 KiB");
    assert_eq!(of("pmem.buffer_replacement"), "sampled");
    assert_eq!(of("tlb.stlb.page_sizes"), r#"["4K", "2M"]"#);
    assert_eq!(of("tlb.stlb.index"), "xor");
}

/// Every cost of a processor that is no access to memory has its basis and trust beside it.
#[test]
fn the_costs_of_a_machine_are_shown_with_basis_and_trust() {
    for b in builtin_machines().unwrap() {
        let values = describe_machine(&load_machine(b.name, &[]).unwrap());
        let of = |key: &str| values.iter().find(|v| v.key == key).map(|v| v.value.as_str());
        let costs = values.iter().filter_map(|v| {
            v.key
                .strip_prefix("cost.")
                .or(v.key.strip_prefix("ipi."))
                .or(v.key.strip_suffix("cpi").map(|_| "cpi"))
        });
        assert!(
            costs
                .filter(|c| !c.contains('.') && *c != "rar_entries")
                .all(|c| of(&format!("trust.{c}")).is_some())
        );
        let fitted = matches!(b.name, "emr-guest" | "haswell-ep" | "zen3-milan");
        assert_eq!(of("trust.cpi").is_some_and(|basis| basis.contains("fitted")), fitted, "{}", b.name);
        let skylake = matches!(
            b.name,
            "skylake-sp-optane"
                | "cascadelake-optane-1dimm"
                | "nvdimm-n"
                | "qemu-tcg"
                | "xeon-6242"
                | "haswell-ep"
                | "i7-7800x"
                | "i9-7980xe"
                | "champsim"
        );
        assert_eq!(
            of("trust.invpcid"),
            Some(if skylake { r#"["stated", "B"]"# } else { r#"["assumed", "C"]"# })
        );
    }
}

#[test]
fn files_are_named_after_themselves_and_keys_are_unique() {
    for keys in [machine_keys(), kernel_keys()] {
        let mut names: Vec<_> = keys.iter().map(|k| k.key).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), keys.len());
    }
    assert!(machine_keys().iter().all(|m| !kernel_keys().iter().any(|k| k.key == m.key && m.overridable())));
    assert!(machine_text("qemu-tcg").contains("base = \"nvdimm-n\""));
    assert!(kernel_text("dax-patch-v1").contains("base = \"linux-6.12\""));
}

#[test]
fn every_file_is_built_in() {
    for (folder, files) in [
        ("machines", crate::builtin::machine_files()),
        ("kernels", crate::builtin::kernel_files()),
        ("semantics", crate::builtin::semantics_files()),
    ] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|f| f.unwrap().file_name().into_string().unwrap())
            .collect();
        let mut builtins: Vec<_> = files.iter().map(|b| format!("{}.toml", b.name)).collect();
        names.sort();
        builtins.sort();
        assert_eq!(names, builtins);
    }
}
