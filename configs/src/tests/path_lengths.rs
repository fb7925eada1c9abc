//! Path lengths: their provenance, and the prices of knobs. That they add up to what was counted on real kernels is tested where
//! faults and system calls are simulated, in the simulator's `path_lengths`.

use crate::kernel::{Basis, CommonPath, PathLength, Trust};
use crate::{builtin_kernels, describe_kernel, load_kernel};

type Triple = [i64; 3];

fn common(kernel: &str) -> CommonPath {
    load_kernel(kernel, &[]).unwrap().path_length.common
}

fn sum(blocks: &[PathLength]) -> Triple {
    let add = |f: fn(&PathLength) -> u32| blocks.iter().map(|b| i64::from(f(b))).sum();
    [add(|b| b.instructions), add(|b| b.loads), add(|b| b.stores)]
}

/// What a knob adds has the same price in every kernel, so that one knob can be switched by itself.
#[test]
fn the_price_of_a_knob_does_not_depend_on_the_kernel() {
    let of_knobs = |c: &CommonPath| {
        let counts = [c.count_mapping_4k, c.count_mapping_2m, c.zap_counted, c.temp_ref];
        [counts.as_slice(), &[c.memtype_lookup, c.memtype_lookup_ram]]
            .concat()
            .iter()
            .map(|b| sum(&[*b]))
            .collect::<Vec<_>>()
    };
    let old = of_knobs(&common("linux-6.12"));
    assert!(old.iter().flatten().all(|n| *n > 0));
    assert_eq!(old, of_knobs(&common("linux-7.2")));
    assert_eq!(old, of_knobs(&common("dax-patch-v1")));
}

#[test]
fn every_path_length_is_shown_with_its_basis_and_trust() {
    for kernel in builtin_kernels().unwrap() {
        let spec = load_kernel(kernel.name, &[]).unwrap();
        let paths: Vec<_> =
            describe_kernel(&spec).into_iter().filter(|v| v.key.starts_with("path_length.")).collect();
        assert!(paths.len() > 60);
        for path in paths {
            let [.., basis, trust] = path.value.trim_matches(['[', ']']).split(", ").collect::<Vec<_>>()[..]
            else {
                panic!("{} = {}", path.key, path.value);
            };
            let known = ["\"derived\"", "\"fitted\"", "\"stated\"", "\"assumed\""];
            assert!(known.contains(&basis), "{} = {}", path.key, path.value);
            let assumed = basis == "\"assumed\"";
            assert!(trust == "\"C\"" || trust == "\"B\"" && !assumed, "{} = {}", path.key, path.value);
        }
    }
}

#[test]
fn a_path_length_can_be_given_by_its_instructions() {
    let set = super::set(&["path_length.common.grab_entry=1000", "path_length.common.exit=[5, 2, 1]"]);
    let c = load_kernel("linux-6.12", &set).unwrap().path_length.common;
    assert_eq!(sum(&[c.grab_entry]), [1000, 240, 160]);
    assert_eq!(sum(&[c.exit]), [5, 2, 1]);
    assert_eq!((c.exit.source.basis, c.exit.source.trust), (Basis::Given, Trust::C));
    let wrong = super::set(&["path_length.common.exit=[5, 2]"]);
    assert!(
        super::message(load_kernel("linux-6.12", &wrong))
            .contains("[instructions, loads, stores, basis, trust]")
    );
}
