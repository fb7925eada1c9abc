//! `daxsim compare` from outside.

use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use tempfile::TempDir;

const TRACE: &str = "../../traces/recorded/kernel-7.2/ext4/s10_msync_loop/trace.txt.xz";

fn daxsim(arguments: &[&str], folder: &Path) -> Output {
    Command::cargo_bin("daxsim").unwrap().args(arguments).current_dir(folder).output().unwrap()
}

/// One recording replayed under two kernels, into the folders `old` and `new`.
fn two_reports() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let trace = Path::new(env!("CARGO_MANIFEST_DIR")).join(TRACE);
    for (kernel, out) in [("linux-6.12", "old"), ("linux-7.2", "new")] {
        let run = daxsim(
            &["replay", trace.to_str().unwrap(), "--kernel", kernel, "--out", out, "-q"],
            folder.path(),
        );
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }
    folder
}

fn status_and_text(arguments: &[&str], folder: &TempDir) -> (i32, String, String) {
    let run = daxsim(arguments, folder.path());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (run.status.code().unwrap(), text(run.stdout), text(run.stderr))
}

#[test]
fn two_kernels_on_one_recording_differ_by_parts_that_sum_to_the_difference() {
    let folder = two_reports();
    let (status, text, _) = status_and_text(&["compare", "old", "new/report.json", "--json"], &folder);
    assert_eq!(status, 0);
    let comparison: serde_json::Value = serde_json::from_str(&text).unwrap();
    let latencies = comparison["latencies"].as_array().unwrap();
    assert!(latencies.iter().any(|l| l["kind"] == "mkwrite"), "{text}");
    for latency in latencies {
        let sum: f64 =
            latency["parts"].as_array().unwrap().iter().map(|p| p["change"].as_f64().unwrap()).sum();
        let mean = latency["values"][0]["change"].as_f64().unwrap();
        assert!((sum - mean).abs() < 0.02, "{}: {sum} against {mean}", latency["kind"]);
    }
    // The recording is of the newer kernel.
    let notes: Vec<&str> =
        comparison["notes"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
    assert!(
        matches!(notes[..], [note] if note.starts_with("of 629 recorded outcomes the base reproduced")),
        "{notes:?}"
    );
    assert_eq!(comparison["varied"][0]["what"], "kernel");
    let (_, text, _) = status_and_text(&["compare", "old", "new"], &folder);
    assert!(text.contains("Parts of mkwrite") && text.contains("The mean mkwrite went from"), "{text}");
}

#[test]
fn a_limit_that_is_passed_makes_the_exit_status_1() {
    let folder = two_reports();
    let limit =
        |text: &str| status_and_text(&["compare", "old", "new", "--quiet", "--fail-if", text], &folder);
    assert_eq!(limit("latency.mkwrite.p99 > 1us"), (1, String::new(), String::new()));
    assert_eq!(limit("latency.mkwrite.p99 > +1000%").0, 0);
    assert_eq!(limit("latency.mkwrite.p99 < -1000%").0, 0);
    let two = ["compare", "old", "new", "--fail-if", "faults.total > +0", "--fail-if", "faults.total > 1"];
    let (status, text, _) = status_and_text(&two, &folder);
    assert_eq!(status, 1);
    assert!(text.contains("FAILS: 1 of 2 limits crossed."), "{text}");
}

#[test]
fn an_unknown_number_is_refused_with_near_names() {
    let folder = two_reports();
    let arguments = ["compare", "old", "new", "--fail-if", "latency.mkwrit.p99 > +5%"];
    let (status, text, error) = status_and_text(&arguments, &folder);
    assert_eq!((status, text.as_str()), (2, ""));
    let want = "daxsim: no report has a number `latency.mkwrit.p99`; near: latency.mkwrite.p99,";
    assert!(error.starts_with(want), "{error}");
    let (status, _, error) = status_and_text(&["compare", "old", "new", "--fail-if", "nonsense"], &folder);
    assert_eq!(status, 2);
    assert!(error.contains("`nonsense` is no limit: there is no >, >=, < or <="), "{error}");
}

#[test]
fn all_forms_are_written_and_a_report_compared_with_itself_has_no_difference() {
    let folder = two_reports();
    let (status, text, _) =
        status_and_text(&["compare", "new", "new", "--out", "out", "--markdown"], &folder);
    assert_eq!(status, 0);
    assert!(text.contains("numbers are equal."), "{text}");
    let read = |name: &str| std::fs::read_to_string(folder.path().join("out").join(name)).unwrap();
    assert_eq!(read("compare.md"), text);
    assert!(read("compare.html").contains("numbers are equal."));
    assert!(read("compare.json").contains("\"changes\": []"));
}

#[test]
fn what_is_no_report_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.json"), "{\"schema\": \"other/1\"}").unwrap();
    let (status, _, error) = status_and_text(&["compare", "a.json", "a.json"], &folder);
    assert_eq!(status, 2);
    assert!(error.contains("`a.json` has the schema `other/1`"), "{error}");
    let (status, _, error) = status_and_text(&["compare", "none", "none"], &folder);
    assert_eq!(status, 2);
    assert!(error.contains("cannot read `none`"), "{error}");
}

/// A sweep of a recorded script under a kernel, in the folder of that name.
fn sweep(folder: &Path, kernel: &str, more_ceilings: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../traces/recorded/kernel-7.2/ext4/s01_read_then_write/script.txt");
    let text = format!(
        "title = \"Isolation\"\ninputs = [\"{}\"]\nkernels = [\"{kernel}\"]\nmetrics = [\"cycles\", \"latency.mkwrite.mean\"]\n\
         [[key]]\nname = \"tree.pti\"\nvalues = [false, true]\n[[key]]\nname = \"tree.flush_ceiling_pages\"\nvalues = [33{more_ceilings}]\n\
         [[objective]]\nname = \"time\"\nminimise = \"cycles\"\n",
        script.display()
    );
    std::fs::write(folder.join("sweep.toml"), text).unwrap();
    let run = daxsim(&["sweep", "sweep.toml", "--out", kernel, "-q"], folder);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn two_sweeps_are_compared_point_by_point_and_a_sweep_with_a_report_is_not() {
    let folder = two_reports();
    sweep(folder.path(), "linux-6.12", "");
    sweep(folder.path(), "linux-7.2", ", 8");
    let compared = |more: &[&str]| {
        let arguments = [&["compare", "linux-6.12", "linux-7.2/sweep.json"], more].concat();
        status_and_text(&arguments, &folder)
    };
    let (status, text, error) = compared(&["--json", "--out", "out"]);
    assert_eq!((status, error.as_str()), (0, ""), "{text}");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["varied"][0], "kernel linux-6.12 against linux-7.2");
    assert_eq!(json["matched"], 2);
    assert_eq!(json["only_new"].as_array().unwrap().len(), 2, "{text}");
    for name in ["compare.json", "compare.html", "compare.md"] {
        assert!(folder.path().join("out").join(name).metadata().unwrap().len() > 0, "{name}");
    }
    let (status, text, _) = compared(&["--fail-if", "cycles > +1%", "--fail-if", "points.failed > 0"]);
    assert_eq!(status, 1);
    assert!(text.contains("FAILS: 1 of 2 limits crossed."), "{text}");
    assert_eq!(compared(&["-q", "--fail-if", "geomean.cycles > +50%"]), (0, String::new(), String::new()));

    for sides in [["linux-7.2", "new"], ["new/report.json", "linux-7.2"]] {
        let (status, text, error) = status_and_text(&["compare", sides[0], sides[1]], &folder);
        assert_eq!((status, text.as_str()), (2, ""));
        assert!(error.contains("linux-7.2` is a sweep and `new"), "{error}");
    }
}
