use daxsim_types::Time;

use super::{message, set};
use crate::{Override, load_kernel, load_machine, split_overrides};

#[test]
fn an_override_wins_over_the_file() {
    let m = load_machine(
        "skylake-sp-optane",
        &set(&[
            "tlb.stlb.entries=3072",
            " cost.iret = 10 cycles ",
            "cost.invlpg=\"5 ns\"",
            "tlb.stlb.index=linear",
            "mmu.pcid=false",
            "pmem.base=0x1000000000",
            "tlb.dtlb_4k.page_sizes=[\"4K\"]",
            "cpu.cpi=1",
            "cpu.count=2",
            "cpu.count=3",
        ]),
    )
    .unwrap();
    assert_eq!(m.tlb.stlb.entries, 3072);
    assert_eq!((m.cost.iret, m.cost.invlpg), (Time(4550), Time(5000)));
    assert!(!m.mmu.pcid);
    assert_eq!((m.pmem.base, m.cpu.milli_cpi, m.cpu.count), (0x10_0000_0000, 1000, 3));
    let k = load_kernel("linux-7.2", &set(&["dax.mismatch_4k=nopage", "path_length.xfs.read=7"])).unwrap();
    assert_eq!(
        (k.dax.mismatch_4k, k.path_length.xfs.read.instructions),
        (crate::kernel::Mismatch::NoPage, 7)
    );
}

#[test]
fn a_cost_that_is_given_loses_its_trust() {
    use crate::machine::{Basis, Source, Trust};
    let trust = |texts: &[&str]| load_machine("skylake-sp-optane", &set(texts)).unwrap().trust.unwrap();
    let stated = Source { basis: Basis::Stated, trust: Trust::B };
    assert_eq!((trust(&[]).iret, trust(&["cost.iret=10 cycles"]).iret), (stated, Source::GIVEN));
    assert_eq!(trust(&["cpu.cpi=1", "cpu.count=2"]).cpi, Source::GIVEN);
    let measured = trust(&["cost.iret=10 cycles", r#"trust.iret=["measured", "A"]"#]);
    assert_eq!(measured.iret, Source { basis: Basis::Measured, trust: Trust::A });
    assert_eq!(measured.invlpg, trust(&[]).invlpg);
    let without = load_machine("skylake-sp-optane", &set(&["trust=absent", "cpu.cpi=1"])).unwrap();
    assert_eq!(without.trust, None);
}

#[test]
fn cycles_follow_an_overridden_clock() {
    let m = load_machine("skylake-sp-optane", &set(&["cpu.clock=1 GHz"])).unwrap();
    assert_eq!(m.cost.exception_entry, Time(715_000));
    assert_eq!(m.cache.transfer, Time(47_500));
}

#[test]
fn a_table_can_be_given_or_taken_whole() {
    let sizes = "tlb.dtlb_4k.page_sizes=[\"4K\", \"1G\"]";
    let m = load_machine("skylake-sp-optane", &set(&["tlb.dtlb_1g=absent", sizes])).unwrap();
    assert_eq!(m.tlb.dtlb_1g, None);
    let m = load_machine("skylake-sp-optane", &set(&["tlb.stlb={entries = 64, ways = 64}"])).unwrap();
    assert_eq!((m.tlb.stlb.entries, m.tlb.stlb.ways), (64, 64));
    let texts = ["tlb.dtlb_1g=absent", "tlb.dtlb_1g.ways=1"];
    assert_eq!(
        message(load_machine("skylake-sp-optane", &set(&texts))).lines().next().unwrap(),
        "machines/skylake-sp-optane.toml: tlb.dtlb_1g.entries: missing key: expected an integer in 1..=65536"
    );
}

#[test]
fn what_is_no_assignment_is_refused() {
    let of = |text| message(Override::parse(text));
    let form = "expected KEY=VALUE, such as tlb.stlb.entries=2048";
    assert_eq!(of("cpu.count"), format!("--set cpu.count: no `=`: {form}"));
    assert_eq!(of("=4"), format!("--set =4: no dotted key before `=`: {form}"));
    assert_eq!(of("cpu..count=4"), format!("--set cpu..count=4: no dotted key before `=`: {form}"));
    assert_eq!(of("cpu count=4"), format!("--set cpu count=4: no dotted key before `=`: {form}"));
    assert_eq!(of("cpu.count= "), format!("--set cpu.count=: no value after `=`: {form}"));
}

#[test]
fn an_override_is_checked_like_a_file() {
    let of = |text| message(load_machine("skylake-sp-optane", &set(&[text])));
    assert_eq!(
        of("tlb.stlb.ways=0"),
        "--set tlb.stlb.ways=0: tlb.stlb.ways: the number 0: expected an integer in 1..=65536"
    );
    assert_eq!(
        of("tlb.stlb.ways=5"),
        "--set tlb.stlb.ways=5: tlb.stlb.ways: 1536 entries, 5 ways: expected entries to be a multiple of ways"
    );
    assert_eq!(
        of("cost.iret=14"),
        "--set cost.iret=14: cost.iret: the number 14: expected a time up to 1 s with its unit \
         (cycles, ps, ns, us, ms), such as \"14 cycles\" or \"81.4 ns\""
    );
    assert_eq!(
        of("tlb.stlb.entires=1"),
        "--set tlb.stlb.entires=1: tlb.stlb.entires: unknown key: the nearest valid key is `tlb.stlb.entries`"
    );
    assert_eq!(
        of("tlb.stlb=1"),
        "--set tlb.stlb=1: tlb.stlb: the number 1: expected a table with keys such as tlb.stlb.entries"
    );
    assert_eq!(of("base=qemu-tcg"), "--set base=qemu-tcg: base: only a file can give this key");
}

#[test]
fn overrides_are_dealt_out_by_key() {
    let all = set(&["cpu.count=4", "dax.mismatch_4k=nopage", "tree.pti=true", "tlb.dtlb_2m=absent"]);
    let (machine, kernel) = split_overrides(&all).unwrap();
    assert_eq!(machine.iter().map(Override::key).collect::<Vec<_>>(), ["cpu.count", "tlb.dtlb_2m"]);
    assert_eq!(
        kernel.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["dax.mismatch_4k=nopage", "tree.pti=true"]
    );
    let wrong = set(&["cpu.cuont=4", "path_length.ext4.raed=1", "description=x"]);
    assert_eq!(
        message(split_overrides(&wrong)),
        "--set cpu.cuont=4: cpu.cuont: unknown key: the nearest valid key is `cpu.count`\n\
         --set description=x: description: only a file can give this key\n\
         --set path_length.ext4.raed=1: path_length.ext4.raed: unknown key: the nearest valid key is \
         `path_length.ext4.read`"
    );
}

#[test]
fn a_resized_tlb_keeps_its_sets_unless_ways_are_given_too() {
    let stlb = |texts: &[&str]| {
        load_machine("skylake-sp-optane", &set(texts)).map(|m| (m.tlb.stlb.entries, m.tlb.stlb.ways))
    };
    assert_eq!(stlb(&["tlb.stlb.entries=2048"]).ok(), Some((2048, 16)));
    assert_eq!(stlb(&["tlb.stlb.entries=3072"]).ok(), Some((3072, 12)), "the old ways fit");
    assert_eq!(stlb(&["tlb.stlb.entries=2048", "tlb.stlb.ways=8"]).ok(), Some((2048, 8)));
    assert!(stlb(&["tlb.stlb.entries=2048", "tlb.stlb.ways=12"]).is_err());
    assert!(stlb(&["tlb.stlb.entries=2000"]).is_err());
}

#[test]
fn a_resized_tlb_gets_a_replacement_that_its_ways_can_have_unless_one_is_given() {
    use crate::machine::Replacement;
    let stlb = |texts: &[&str]| {
        load_machine("skylake-sp-optane", &set(texts)).map(|m| (m.tlb.stlb.ways, m.tlb.stlb.replacement))
    };
    assert_eq!(stlb(&["tlb.stlb.entries=3072"]).ok(), Some((12, Replacement::Mru3Plru4)));
    assert_eq!(stlb(&["tlb.stlb.entries=2048"]).ok(), Some((16, Replacement::Plru)));
    assert_eq!(stlb(&["tlb.stlb.entries=640"]).ok(), Some((5, Replacement::Lru)));
    assert_eq!(stlb(&["tlb.stlb.ways=6"]).ok(), Some((6, Replacement::Lru)));
    let fifo = ["tlb.stlb.entries=2048", "tlb.stlb.replacement=fifo"];
    assert_eq!(stlb(&fifo).ok(), Some((16, Replacement::Fifo)));
    assert!(stlb(&["tlb.stlb.ways=6", "tlb.stlb.replacement=plru"]).is_err());
}
