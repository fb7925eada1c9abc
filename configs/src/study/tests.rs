use super::*;
use crate::load::{load_kernel, load_machine};
use crate::overrides::{Override, split_overrides};
use crate::validation::FlushCause;

const STUDY: &str = r#"
title = "A title"
question = "Why?"
probe = "shootdown"
cause = "munmap"
machine = "m"
set = ["tree.pti=true"]
metrics = ["wait_ns", "interrupts"]
x.name = "cores"
x.parameter = "threads"
x.keys = ["cpu.count"]
x.values = [1, 8]
x.set = [[], ["topology.sockets=2"]]

[[variant]]
name = "as it is"

[[variant]]
name = "many pages"
pages = 32
kernel = "k"
set = ["tlb_flush.early_ack=true"]
trust = "B"
"#;

fn parse(text: &str) -> Result<Study, String> {
    read::study("mine.toml", text).map_err(|error| error.to_string())
}

/// The study with one text in place of another.
fn problem(of: &str, with: &str) -> String {
    assert!(STUDY.contains(of), "{of}");
    parse(&STUDY.replacen(of, with, 1)).unwrap_err()
}

#[test]
fn every_builtin_study_has_points_whose_settings_are_valid() {
    for info in builtin_studies().unwrap() {
        let study = load_study(info.name).unwrap();
        assert_eq!((study.name.as_str(), &study.title), (info.name, &info.title));
        for variant in &study.variants {
            for point in &variant.points {
                let set: Vec<Override> =
                    point.set.iter().map(|text| Override::parse(text).unwrap()).collect();
                let (machine, kernel) = split_overrides(&set).unwrap();
                let place = format!("{}: {} at {}", info.name, variant.name, point.x);
                let machine = load_machine(&variant.machine, &machine);
                assert!(machine.is_ok(), "{place}: {}", machine.unwrap_err());
                let kernel = load_kernel(&variant.kernel, &kernel);
                assert!(kernel.is_ok(), "{place}: {}", kernel.unwrap_err());
            }
        }
    }
}

#[test]
fn a_point_has_the_parameters_of_file_variant_and_axis() {
    let study = parse(STUDY).unwrap();
    let [first, second] = study.variants.as_slice() else { panic!("{study:?}") };
    let shootdown = |threads, pages| StudyProbe::Shootdown {
        cause: FlushCause::Munmap,
        threads,
        pages,
        rounds: 20,
        shared: false,
    };
    let probes = |variant: &Variant| variant.points.iter().map(|p| p.probe.clone()).collect::<Vec<_>>();
    assert_eq!(probes(first), [shootdown(1, 1), shootdown(8, 1)]);
    assert_eq!(probes(second), [shootdown(1, 32), shootdown(8, 32)]);
    let all = ["tree.pti=true", "cpu.count=8", "topology.sockets=2", "tlb_flush.early_ack=true"];
    assert_eq!(second.points[1].set, all);
    assert_eq!(first.points[0].set, ["tree.pti=true", "cpu.count=1"]);
    assert_eq!((first.kernel.as_str(), second.kernel.as_str()), ("linux-7.2", "k"));
    assert_eq!((first.panel.as_str(), second.trust), ("All variants", Some(Trust::B)));
    assert_eq!(study.metrics.iter().map(|m| m.key).collect::<Vec<_>>(), ["wait_ns", "interrupts"]);
}

#[test]
fn a_key_with_a_unit_gets_the_values_in_it() {
    let text = STUDY.replace("x.keys = [\"cpu.count\"]", "x.keys = [\"ipi.delivery\"]\nx.unit = \"ns\"");
    let text =
        text.replace("x.parameter = \"threads\"\n", "").replace("x.values = [1, 8]", "x.values = [1.5, 8]");
    let study = parse(&text).unwrap();
    assert_eq!(study.variants[0].points[0].set[1], "ipi.delivery=1.5 ns");
}

#[test]
fn what_is_wrong_is_named_with_its_place_and_what_was_expected() {
    let cases = [
        ("title = \"A title\"\n", "", "mine.toml: title: missing key: expected one line of text"),
        (
            "\"shootdown\"",
            "\"shotdown\"",
            "mine.toml:4:9: probe: \"shotdown\": expected one of \"shootdown\", ",
        ),
        ("\"munmap\"", "\"unmap\"", "mine.toml:5:9: cause: \"unmap\": expected one of \"munmap\", "),
        (
            "\"wait_ns\"",
            "\"wait\"",
            "mine.toml:8:11: metrics: \"wait\": expected an array of one or more of call_ns",
        ),
        (
            "[1, 8]",
            "[8, 1]",
            "mine.toml:12:12: x.values: an array that does not ascend: expected an array of numbers",
        ),
        ("[1, 8]", "[1, 8, 9]", "mine.toml:13:9: x.set: 2 arrays: expected as many as x.values has, 3"),
        ("[1, 8]", "[1, 300]", "mine.toml:10:15: threads: the number 300: expected 1 to 256"),
        (
            "\"cpu.count\"",
            "\"cpu.counts\"",
            "x.keys: \"cpu.counts=1\": expected a key of machine or kernel, such as cpu.count",
        ),
        ("tree.pti=true", "tree.pti", "mine.toml:7:7: set: \"tree.pti\": expected KEY=VALUE"),
        (
            "early_ack=true",
            "early=true",
            "set: \"tlb_flush.early=true\": expected a key of machine or kernel, such as tlb_flush.early_ack",
        ),
        (
            "pages = 32",
            "pages = 0",
            "mine.toml:20:9: pages: the number 0: expected a whole number, 1 or more",
        ),
        ("pages = 32", "page = 32", "mine.toml:20:1: page: unknown key: the nearest valid key is `pages`"),
        (
            "machine = \"m\"",
            "machines = \"m\"",
            "mine.toml:6:1: machines: unknown key: the nearest valid key is `machine`",
        ),
        (
            "x.parameter = \"threads\"",
            "x.parameter = \"thread\"",
            "thread: unknown key: the nearest valid key is `threads`",
        ),
        (
            "\"many pages\"",
            "\"as it is\"",
            "name: \"as it is\": expected a name that no other variant of \"All variants\" has",
        ),
        ("x.name", "x.nam", "mine.toml:9:3: x.nam: unknown key"),
    ];
    for (of, with, expected) in cases {
        let found = problem(of, with);
        assert!(found.contains(expected), "{of} -> {with}:\n{found}\nexpected {expected}");
    }
    let none = parse(STUDY.split("[[variant]]").next().unwrap()).unwrap_err();
    assert_eq!(none, "mine.toml: variant: missing key: expected at least one [[variant]]");
    let unknown = load_study("shotdowns").unwrap_err().to_string();
    assert!(
        unknown.starts_with("unknown study `shotdowns`: did you mean `shootdowns`? builtin studies: "),
        "{unknown}"
    );
}
