use super::*;
use crate::load::{load_kernel, load_machine};
use crate::overrides::{Override, split_overrides};

fn parse(text: &str) -> Result<Vec<ValidationPoint>, String> {
    read::points([("mine.toml".to_owned(), text.to_owned())]).map_err(|error| error.to_string())
}

const POINT: &str = r#"
[[point]]
id = "a"
about = "what"
machine = "m"
probe = "chase"
x = [256, 512]
expect = [14, 23.5]
tolerance = { absolute = 1 }
source = "s"
trust = "A"
"#;

#[test]
fn every_builtin_point_has_a_machine_that_loads() {
    let points = builtin_points().unwrap();
    assert!(points.len() > 50, "{}", points.len());
    for point in points {
        let set: Vec<Override> = point.set.iter().map(|text| Override::parse(text).unwrap()).collect();
        let (of_machine, of_kernel) = split_overrides(&set).unwrap();
        let machine = load_machine(&point.machine, &of_machine);
        assert!(machine.is_ok(), "{} ({}): {}", point.place, point.id, machine.unwrap_err());
        let kernel = load_kernel(&point.kernel, &of_kernel);
        assert!(kernel.is_ok(), "{} ({}): {}", point.place, point.id, kernel.unwrap_err());
    }
}

#[test]
fn a_point_has_defaults_for_what_it_leaves_out() {
    let points = parse(POINT).unwrap();
    let [point] = points.as_slice() else { panic!("{points:?}") };
    let chase = ProbeSpec::Chase {
        stride: 4096,
        spread: false,
        page: PageSize::Size4K,
        seed: 42,
        metric: ChaseMetric::Cycles,
    };
    assert_eq!(point.probe, chase);
    assert_eq!(point.take, Take::Values { x: vec![256.0, 512.0], expect: vec![14.0, 23.5] });
    assert_eq!((point.tolerance, point.trust), (Tolerance::Absolute(1.0), Trust::A));
    assert_eq!((point.place.as_str(), point.set.len(), &point.note), ("mine.toml:2", 0, &None));
}

#[test]
fn keys_outside_the_points_are_defaults_of_the_whole_file() {
    let text = r#"
machine = "common"
probe = "chase"
tolerance = { relative = 0.1 }
source = "s"
trust = "B"
stride = "64 B"
[[point]]
id = "first"
about = "takes them"
take = "difference"
x = [512, 256]
expect = 9
[[point]]
id = "second"
about = "has its own"
machine = "own"
probe = "ad-update"
bit = "D"
x = 64
expect = 700
tolerance = { absolute = 5 }
"#;
    let points = parse(text).unwrap();
    let [first, second] = points.as_slice() else { panic!("{points:?}") };
    assert_eq!((first.machine.as_str(), first.tolerance), ("common", Tolerance::Relative(0.1)));
    assert_eq!(first.take, Take::Difference { x: [512.0, 256.0], expect: 9.0 });
    assert_eq!((second.machine.as_str(), second.tolerance), ("own", Tolerance::Absolute(5.0)));
    assert_eq!(second.probe, ProbeSpec::AdUpdate { dirty: true }, "a stride means nothing to it");
}

#[track_caller]
fn refused(change: (&str, &str), message: &str) {
    let text = POINT.replace(change.0, change.1);
    assert_ne!(text, POINT, "{change:?} changes nothing");
    let error = parse(&text).unwrap_err();
    assert!(error.contains(message), "{change:?}: {error}");
}

#[test]
fn what_is_wrong_is_named_with_its_place_and_what_was_expected() {
    refused(("machine = \"m\"\n", ""), "mine.toml:2:1: machine: missing key: expected the name of a builtin");
    refused(("\"chase\"", "\"chaise\""), "mine.toml:6:9: probe: \"chaise\": expected one of \"chase\"");
    refused(("source", "sauce"), "mine.toml:10:1: sauce: unknown key: the nearest valid key is `source`");
    refused(("[14, 23.5]", "[14]"), "mine.toml:8:10: expect: 1 value: expected as many as x has, 2");
    refused(("256, 512", "256, 512.5"), "x: the number 512.5: expected whole KiB");
    refused(("\"A\"", "\"Z\""), "trust: \"Z\": expected one of \"A\", \"B\", \"C\", \"M\"");
    refused(
        ("absolute = 1", "absolute = 1, relative = 0.1"),
        "tolerance: tolerance.absolute, tolerance.relative",
    );
    refused(("absolute = 1", "absolute = \"1\""), "tolerance.absolute: \"1\": expected a number");
    refused(("{ absolute = 1 }", "1"), "tolerance: none: expected one of absolute, relative");
    refused(
        ("absolute = 1", "absolute = -1"),
        "tolerance.absolute: the number -1: expected a number, 0 or more",
    );
    refused(("absolute = 1", "mean_relative = -0.1"), "tolerance.mean_relative: the number -0.1: expected a");
    refused(("absolute = 1", "range = [2, 1]"), "tolerance.range: 2 to 1: expected the least first");
    refused(("absolute = 1", "range = [1]"), "tolerance.range: 1 value: expected two");
    refused(("x = [", "take = \"knee\"\nrise = 0\nx = ["), "expect: an array: expected one of x");
    refused(("[[point]]", "[point]"), "point: a table: expected tables that begin with [[point]]");
    refused(("[[point]]", "id = \"x\"\n[[point]]"), "id: \"x\": expected the key inside a [[point]]");
    refused(("[[point]]", "mashine = \"x\"\n[[point]]"), "mine.toml:2:1: mashine: unknown key");
    refused(("x = [256", "x = [256,"), "invalid TOML");
    let twice = parse(&format!("{POINT}{POINT}")).unwrap_err();
    assert!(twice.contains("id: \"a\": expected a name that no other point has, as mine.toml:2"), "{twice}");
}

#[test]
fn a_file_without_points_is_refused() {
    for text in ["", "machine = \"m\"\n"] {
        let error = parse(text).unwrap_err();
        assert!(error.contains("mine.toml: point: missing key: expected at least one [[point]]"), "{error}");
    }
}

#[test]
fn a_relative_tolerance_of_zero_is_refused() {
    let text = POINT.replace("[14, 23.5]", "[14, 0]").replace("absolute", "relative");
    let error = parse(&text).unwrap_err();
    assert!(error.contains("expect: 0: expected no 0 with a relative tolerance"), "{error}");
}

#[test]
fn a_knee_is_one_of_its_ascending_x_with_a_rise_above_zero() {
    let knee = |x: &str, rise: &str, expect: &str| {
        let text = POINT.replace(
            "x = [256, 512]\nexpect = [14, 23.5]",
            &format!("take = \"knee\"\nx = {x}\nrise = {rise}\nexpect = {expect}"),
        );
        parse(&text)
    };
    let point = knee("[128, 256, 512]", "5", "256").unwrap().remove(0);
    assert_eq!(point.take, Take::Knee { x: vec![128.0, 256.0, 512.0], rise: 5.0, expect: 256.0 });
    for (x, rise, expect, message) in [
        ("[256, 128]", "5", "256", "ascending"),
        ("[128, 256]", "0", "128", "rise: the number 0: expected a number above 0"),
        ("[128, 256]", "5", "256", "one of x, not the last"),
        ("[128, 256]", "5", "200", "one of x, not the last"),
    ] {
        let error = knee(x, rise, expect).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn two_cpus_play_with_a_line() {
    let ping = |cpus: &str| {
        let text = POINT.replace(
            "probe = \"chase\"\nx = [256, 512]\nexpect = [14, 23.5]",
            &format!("probe = \"cacheline-ping\"\ncpus = {cpus}\nexpect = 47.5"),
        );
        parse(&text)
    };
    let point = ping("[0, 15]").unwrap().remove(0);
    assert_eq!(point.probe, ProbeSpec::CachelinePing { cpus: [0, 15] });
    assert_eq!(point.take, Take::Value { expect: 47.5 });
    for cpus in ["[0]", "[1, 1]", "[0, 1.5]", "[0, 70000]", "[-1, 2]"] {
        let error = ping(cpus).unwrap_err();
        assert!(error.contains("expected an array of two different CPUs"), "{cpus}: {error}");
    }
}
