use super::*;

const SWEEP: &str = r#"
title = "A title"
question = "Why?"
inputs = ["a/script.txt", "b.lackey"]
machines = ["m"]
set = ["tree.pti=true"]
metrics = ["cycles", "tlb.stlb.misses"]
where = ["tlb.stlb.entries >= 128 * tlb.stlb.ways"]
cost = "tlb.stlb.entries / 1024"
budgets = [1, 2]

[[key]]
name = "tlb.stlb.entries"
values = [512, 1024, 2048]

[[key]]
name = "tlb.stlb.ways"
from = 4
to = 16
scale = "log"
steps = 3

[[key]]
name = "flush"
values = ["interrupts", "lazy"]
set = [[], ["tlb_flush.mechanism=lazy"]]
cost = [0, 5]

[[objective]]
name = "time"
minimise = "cycles + cost"
"#;

fn parse(text: &str) -> Result<Sweep, String> {
    parse_sweep("mine.toml", text).map_err(|error| error.to_string())
}

/// The sweep with one text in place of another.
fn with(of: &str, with: &str) -> Result<Sweep, String> {
    assert!(SWEEP.contains(of), "{of}");
    parse(&SWEEP.replacen(of, with, 1))
}

#[test]
fn a_grid_has_every_combination_that_the_constraints_allow() {
    let sweep = parse(SWEEP).unwrap();
    let all = sweep.designs().unwrap();
    let levels = |design: &Design| design.levels.iter().map(|l| l.text.clone()).collect::<Vec<_>>().join(" ");
    let expected = [
        "512 4 interrupts",
        "512 4 lazy",
        "1024 4 interrupts",
        "1024 4 lazy",
        "1024 8 interrupts",
        "1024 8 lazy",
        "2048 4 interrupts",
        "2048 4 lazy",
        "2048 8 interrupts",
        "2048 8 lazy",
        "2048 16 interrupts",
        "2048 16 lazy",
    ];
    assert_eq!(all.designs.iter().map(levels).collect::<Vec<_>>(), expected);
    assert_eq!((all.grid, all.left_out), (Some(18), 6));
    let lazy = &all.designs[1];
    let set = ["tree.pti=true", "tlb.stlb.entries=512", "tlb.stlb.ways=4", "tlb_flush.mechanism=lazy"];
    assert_eq!(lazy.set(&sweep.set), set);
    assert_eq!((lazy.levels[2].cost, lazy.machine.as_str(), &lazy.kernel), (5.0, "m", &None));
}

#[test]
fn a_level_can_map_files() {
    let sweep = with("cost = [0, 5]", "maps = [[], [\"db@0x1000+4K\"]]").unwrap();
    let designs = sweep.designs().unwrap().designs;
    assert_eq!(designs[0].maps(&["a@0+4K".to_owned()]), ["a@0+4K"]);
    assert_eq!(designs[1].maps(&["a@0+4K".to_owned()]), ["a@0+4K", "db@0x1000+4K"]);
}

#[test]
fn ranges_are_spread_evenly_or_by_factors() {
    let texts = |key: &str| -> Vec<String> {
        let sweep =
            parse(&format!("title = \"t\"\ninputs = [\"i\"]\nmetrics = [\"cycles\"]\n[[key]]\n{key}"))
                .unwrap();
        sweep.designs().unwrap().designs.iter().map(|design| design.levels[0].set[0].clone()).collect()
    };
    let name = "name = \"tlb.stlb.entries\"\n";
    let of = |values: &[&str]| values.iter().map(|v| format!("tlb.stlb.entries={v}")).collect::<Vec<_>>();
    assert_eq!(
        texts(&format!("{name}from = 1\nto = 512\nscale = \"log\"\nsteps = 10")),
        of(&["1", "2", "4", "8", "16", "32", "64", "128", "256", "512"])
    );
    assert_eq!(texts(&format!("{name}from = 10\nto = 20\nsteps = 3")), of(&["10", "15", "20"]));
    assert_eq!(
        texts(&format!("{name}from = 100\nto = 1000\nsteps = 4\nmultiple = 128")),
        of(&["128", "384", "640", "1000"])
    );
    assert_eq!(texts(&format!("{name}from = 1\nto = 3\nsteps = 9")), of(&["1", "2", "3"]));
    assert_eq!(
        texts(&format!("{name}from = 0.5\nto = 2\nsteps = 3\nscale = \"log\"\nunit = \"cycles\"")),
        of(&["0.5 cycles", "1 cycles", "2 cycles"])
    );
}

#[test]
fn a_latin_hypercube_draws_each_value_of_each_key_equally_often() {
    let sample = "\n[sample]\nmethod = \"latin-hypercube\"\ncount = 12\nseed = 7\n[[key]]\nname = \"tlb.stlb.entries\"";
    let text =
        SWEEP.replacen("\n[[key]]\nname = \"tlb.stlb.entries\"", sample, 1).replacen("where", "findings", 1);
    let sweep = parse(&text).unwrap();
    let designs = sweep.designs().unwrap().designs;
    assert_eq!(designs.len(), 12);
    for (key, levels) in [(0, 3), (1, 3), (2, 2)] {
        let mut count = std::collections::BTreeMap::new();
        designs.iter().for_each(|design| *count.entry(design.levels[key].text.clone()).or_insert(0) += 1);
        assert_eq!(count.into_values().collect::<Vec<_>>(), vec![12 / levels; levels], "key {key}");
    }
    assert_eq!(sweep.designs().unwrap().designs, designs, "the seed decides");
    let other = parse(&text.replacen("seed = 7", "seed = 8", 1)).unwrap();
    assert_ne!(other.designs().unwrap().designs, designs);
}

#[test]
fn samples_draw_from_a_whole_range_and_within_it() {
    let text = SWEEP.replacen("steps = 3", "", 1).replacen("where", "findings", 1)
        + "\n[sample]\nmethod = \"random\"\ncount = 200\n";
    let all = parse(&text).unwrap().designs().unwrap();
    assert_eq!((all.designs.len(), all.grid), (200, None));
    let ways: Vec<f64> = all.designs.iter().map(|design| design.levels[1].text.parse().unwrap()).collect();
    assert!(ways.iter().all(|ways| (4.0..=16.0).contains(ways) && ways.fract() == 0.0));
    assert!(ways.iter().filter(|ways| **ways < 8.0).count() > 60, "half of a log range is below its middle");
}

#[test]
fn what_is_wrong_is_said_with_file_line_and_column() {
    let problem = |of: &str, text: &str| with(of, text).unwrap_err();
    for (of, text, expected) in [
        ("title = \"A title\"\n", "", "mine.toml: title: missing key"),
        (
            "name = \"tlb.stlb.entries\"",
            "name = \"tlb.stlb.entry\"",
            "mine.toml:13:8: name: \"tlb.stlb.entry=512\": expected a key of machine or kernel, such as tlb.stlb.entries",
        ),
        ("steps = 3", "", "only samples draw from the whole range"),
        ("steps = 3", "stepz = 3", "mine.toml:21:1: stepz: unknown key: the nearest valid key is `steps`"),
        ("from = 4", "from = 40", "to: 40 to 16: expected two numbers above 0, ascending"),
        ("values = [512, 1024, 2048]", "values = [512, 512]", "the same value twice"),
        (
            "values = [512, 1024, 2048]",
            "",
            "mine.toml:12:1: values: neither: expected either values, or from and to",
        ),
        ("cost = [0, 5]", "cost = [0]", "cost: 1 numbers: expected as many as there are values, 2"),
        ("set = [[], [", "set = [[", "set: 1 arrays: expected as many as there are values, 2"),
        ("tlb_flush.mechanism=lazy", "tlb_flush.mech=lazy", "such as tlb_flush.mechanism"),
        (
            "128 * tlb.stlb.ways",
            "128 * tlb.stlb.way",
            "mine.toml:8:9: where: `tlb.stlb.entries >= 128 * tlb.stlb.way` with tlb.stlb.way",
        ),
        (
            "128 * tlb.stlb.ways",
            "128 *",
            "where: \"tlb.stlb.entries >= 128 *\", at character 26 the end: expected a number, a name or `(`",
        ),
        ("minimise = \"cycles + cost\"", "", "minimise: both or neither"),
        ("name = \"flush\"", "name = \"tlb.stlb.ways\"", "key: \"tlb.stlb.ways\" twice"),
        (
            "budgets = [1, 2]",
            "[search]\nmethod = \"halving\"\nfirst = 100\nobjective = \"speed\"",
            "search.objective: \"speed\"",
        ),
        (
            "name = \"flush\"",
            "name = \"cycles\"",
            "key: the name \"cycles\": expected a name that no other column",
        ),
        (
            "cost = [0, 5]",
            "maps = [[\"db@0x1000+4K\"]]",
            "maps: 1 arrays: expected as many as there are values, 2",
        ),
        ("budgets = [1, 2]", "[sample]\nmethod = \"random\"", "sample.count"),
    ] {
        let found = problem(of, text);
        assert!(found.contains(expected), "{text}: {found}");
    }
    let free = SWEEP.replacen("cost = \"tlb.stlb.entries / 1024\"\n", "", 1).replacen("cost = [0, 5]", "", 1);
    let found = parse(&free).unwrap_err();
    assert!(found.contains("cost: none, and an objective names it"), "{found}");
}

#[test]
fn a_space_that_is_too_large_is_refused() {
    let more = "steps = 3".to_owned()
        + &(0..4)
            .map(|n| {
                format!(
                    "\n[[key]]\nname = \"k{n}\"\nvalues = [{}]\nset = [{}]",
                    (0..50).map(|n| n.to_string()).collect::<Vec<_>>().join(","),
                    "[],".repeat(50)
                )
            })
            .collect::<String>();
    let error = with("steps = 3", &more).unwrap().designs().unwrap_err();
    assert_eq!(error, "112500000 points: expected at most 1000000; a [sample] runs some of them");
}

#[test]
fn paths_are_relative_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, SWEEP.replacen("[\"m\"]", "[\"m\", \"./n.toml\"]", 1)).unwrap();
    let sweep = load_sweep(path.to_str().unwrap()).unwrap();
    assert_eq!(sweep.name, "mine");
    assert_eq!(sweep.input_path(&sweep.inputs[1]), folder.path().join("b.lackey"));
    assert_eq!(sweep.config_path("m"), "m");
    assert_eq!(sweep.config_path("./n.toml"), folder.path().join("./n.toml").display().to_string());
}
