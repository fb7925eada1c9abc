//! No text makes the loader panic.

use proptest::prelude::*;

use super::{kernel_text, machine_text};
use crate::{Override, describe_machine, load_machine, parse_kernel, parse_machine, split_overrides};

/// Replaces `length` bytes at `at` (both in thousandths) by `with`.
fn mutate(text: &str, edits: &[(usize, usize, String)]) -> String {
    let mut text = text.to_owned();
    for (at, length, with) in edits {
        let boundary = |mut i: usize| {
            i = i.min(text.len());
            while !text.is_char_boundary(i) {
                i -= 1;
            }
            i
        };
        let start = boundary(at * text.len() / 10_000);
        let end = boundary(start + length);
        text.replace_range(start..end, with);
    }
    text
}

fn edits() -> impl Strategy<Value = Vec<(usize, usize, String)>> {
    let with = prop_oneof![
        3 => "[0-9a-z\\[\\]\"=. \n#-]{0,6}",
        1 => Just("99999999999999999999".to_owned()),
        1 => Just("\"0 ns\"".to_owned()),
        1 => Just("0".to_owned()),
        1 => Just("[tlb.stlb]\n".to_owned()),
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec((0..10_000usize, 0..40usize, with), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_machines(edits in edits()) {
        match parse_machine("m.toml", &mutate(machine_text("skylake-sp-optane"), &edits), &[]) {
            Ok(spec) => prop_assert!(!describe_machine(&spec).is_empty()),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn mutated_kernels(edits in edits()) {
        if let Err(error) = parse_kernel("k.toml", &mutate(kernel_text("linux-7.2"), &edits), &[]) {
            prop_assert!(!error.problems().is_empty());
        }
    }

    #[test]
    fn any_text(text in "\\PC{0,80}") {
        prop_assert!(parse_machine("m.toml", &text, &[]).is_err());
    }

    #[test]
    fn any_override(key in "(cpu|tlb|pmem)\\.[a-z_.0-9]{0,12}", value in "\\PC{0,20}") {
        if let Ok(item) = Override::parse(&format!("{key}={value}")) {
            let _ = split_overrides(std::slice::from_ref(&item));
            let _ = load_machine("skylake-sp-optane", &[item]);
        }
    }

    #[test]
    fn what_is_described_reads_back(
        count in 1..=256u16,
        mhz in 1..=10_000u64,
        ns in 0..10_000u64,
        line in 1..=64u64,
        rate in 1..=100_000u64,
    ) {
        let texts = [
            format!("cpu.count={count}"),
            format!("cpu.clock={mhz} MHz"),
            format!("cost.iret={ns} ns"),
            format!("pmem.media_line={} B", line * 64),
            format!("pmem.interleave={} B", line * 64),
            format!("pmem.ait_block={} B", line * 64),
            format!("pmem.media_read_bandwidth={rate} MB/s"),
        ];
        let overrides: Vec<_> = texts.iter().map(|t| Override::parse(t).unwrap()).collect();
        let spec = load_machine("skylake-sp-optane", &overrides).unwrap();
        let text: String = describe_machine(&spec).iter().map(|v| v.to_toml() + "\n").collect();
        prop_assert_eq!(parse_machine("skylake-sp-optane.toml", &text, &[]).unwrap(), spec);
    }
}
