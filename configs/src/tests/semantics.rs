use std::fs;

use super::{message, set};
use crate::kernel::{KernelSpec, WpCallback};
use crate::{builtin_semantics, knob_differences, load_kernel, parse_kernel};

/// The tree of Linux 7.2 with another insert semantics.
fn with(semantics: &str) -> KernelSpec {
    load_kernel("linux-7.2", &set(&[&format!("semantics={semantics}")])).unwrap()
}

fn knobs(from: &str, to: &str) -> Vec<&'static str> {
    knob_differences(&with(from), &with(to)).into_iter().map(|d| d.knob).collect()
}

#[test]
fn every_builtin_is_complete_and_described() {
    let all = builtin_semantics().unwrap();
    assert_eq!(
        all.iter().map(|b| b.name).collect::<Vec<_>>(),
        ["pre-series", "patch-v1", "v1-intent", "merged"]
    );
    for info in all {
        assert!(!info.description.is_empty());
        assert_eq!(with(info.name).semantics, info.name);
    }
}

#[test]
fn a_semantics_brings_its_knobs_and_leaves_the_tree() {
    let (old, new) = (load_kernel("linux-6.12", &[]).unwrap(), load_kernel("linux-7.2", &[]).unwrap());
    let mixed = with("pre-series");
    assert_eq!(mixed.dax, old.dax);
    assert_eq!((&mixed.tree, &mixed.path_length), (&new.tree, &new.path_length));
    assert_eq!(load_kernel("dax-patch-v1", &[]).unwrap().dax, with("patch-v1").dax);
}

#[test]
fn the_intent_of_the_posting_is_one_knob_away() {
    assert_eq!(knobs("patch-v1", "v1-intent"), ["fresh_write_stores_rw"]);
}

#[test]
fn every_knob_can_be_exchanged_alone_or_is_refused_with_its_reason() {
    for (base, other) in
        [("pre-series", "merged"), ("merged", "pre-series"), ("patch-v1", "merged"), ("merged", "patch-v1")]
    {
        for knob in knobs(base, other) {
            let override_ = set(&[&format!("semantics={base}+{knob}@{other}")]);
            match load_kernel("linux-7.2", &override_) {
                Ok(spec) => assert_eq!(
                    knob_differences(&with(base), &spec).iter().map(|d| d.knob).collect::<Vec<_>>(),
                    [knob]
                ),
                // A dirty entry must be writable, and a counted page be referenced: these go together in pairs.
                Err(error) => {
                    let reasons = ["shadow-stack", "validate_page_before_insert"];
                    let stated = reasons.iter().any(|reason| error.to_string().contains(reason));
                    assert!(stated, "{base}+{knob}@{other}: {error}");
                }
            }
        }
    }
}

#[test]
fn several_knobs_can_be_exchanged_at_once() {
    let spec = with("merged+wp_callback_fsdax@patch-v1+memtype_lookup@pre-series");
    assert_eq!((spec.dax.wp_callback_fsdax, spec.dax.memtype_lookup), (WpCallback::PageMkwrite, true));
}

#[test]
fn a_knob_set_by_hand_wins_over_the_semantics() {
    let spec = load_kernel("linux-7.2", &set(&["dax.memtype_lookup=true", "semantics=merged"])).unwrap();
    assert!(spec.dax.memtype_lookup);
}

#[test]
fn a_file_is_a_semantics_too() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.toml"), "base = \"merged\"\ndax.upgrade_sets_d_4k = true\n").unwrap();
    let kernel = folder.path().join("k.toml");
    fs::write(&kernel, "base = \"linux-7.2\"\nsemantics = \"mine.toml\"\n").unwrap();
    let spec = load_kernel(&kernel.display().to_string(), &[]).unwrap();
    let differences = knob_differences(&with("merged"), &spec);
    assert_eq!(differences.len(), 1);
    assert_eq!((differences[0].knob, differences[0].from.as_str()), ("upgrade_sets_d_4k", "false"));
}

#[test]
fn what_is_no_semantics_is_refused() {
    let refused = |text: &str| message(load_kernel("linux-7.2", &set(&[&format!("semantics={text}")])));
    assert_eq!(
        refused("mergd"),
        "--set semantics=mergd: semantics: unknown semantics `mergd`: did you mean `merged`? builtin semantics: \
         pre-series, patch-v1, v1-intent, merged; or give a path to a .toml file"
    );
    assert_eq!(
        refused("merged+upgrade_sets_d@pre-series"),
        "--set semantics=merged+upgrade_sets_d@pre-series: semantics: no knob \"upgrade_sets_d\", did you mean \
         \"upgrade_sets_d_2m\"?: expected the name of a builtin semantics or a path, then any +KNOB@NAME"
    );
    assert!(refused("merged+memtype_lookup").contains("\"memtype_lookup\", no @"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    fs::write(&path, "base = \"merged\"\ntree.pti = true\n").unwrap();
    assert!(refused(&path.display().to_string()).contains("a semantics holds nothing else"));
    let text = "base = \"linux-7.2\"\nsemantics = 3\n";
    assert!(message(parse_kernel("k.toml", text, &[])).starts_with("k.toml:2:13: semantics: the number 3"));
}
