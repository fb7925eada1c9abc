//! The path lengths of work that no single fault shows: slopes of system calls over pages.
//!
//! Counted on Debian kernels 6.12.117 and 7.2.12 in QEMU's TCG, mitigations=off, one pinned thread: instructions, loads, stores.
//! The totals of faults are tested where faults are simulated, in the simulator's `path_lengths`.

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

/// The totals scatter by steps of the test program's log, so the slopes from one page to 32 do: what a page costs lies
/// between the least and the greatest of the pairs `(one page, 32 pages)`.
fn check_slope(what: &str, page: Triple, pairs: &[(Triple, Triple)]) {
    for (figure, name) in ["instructions", "loads", "stores"].iter().enumerate() {
        let slopes = pairs.iter().map(|(one, many)| (many[figure] - one[figure]) as f64 / 31.0);
        let (least, most) = slopes.fold((f64::MAX, f64::MIN), |(l, m), s| (l.min(s), m.max(s)));
        let page = page[figure] as f64;
        assert!((least..=most).contains(&page), "{what}, {name}: {page} not in {least:.1}..={most:.1}");
    }
}

fn msync_page(c: &CommonPath) -> Triple {
    sum(&[c.writeback_entry, c.writeback_vma, c.flush_request, c.flush_func])
}

#[test]
fn a_page_of_msync() {
    check_slope(
        "6.12",
        msync_page(&common("linux-6.12")),
        &[
            ([20_994, 4952, 3379], [71_984, 14_454, 8736]),
            ([12_937, 2563, 1895], [67_807, 13_183, 7984]),
            ([19_985, 4703, 3180], [71_908, 14_407, 8714]),
        ],
    );
    check_slope(
        "7.2",
        msync_page(&common("linux-7.2")),
        &[
            ([17_723, 3951, 2750], [79_555, 16_646, 10_526]),
            ([17_723, 3951, 2750], [76_279, 15_625, 9885]),
            ([20_842, 4904, 3338], [76_126, 15_561, 9855]),
            ([17_588, 3901, 2722], [76_126, 15_561, 9855]),
        ],
    );
}

/// madvise(DONTNEED) and munmap of dirty pages. 6.12 counts no mappings.
#[test]
fn a_page_of_unmapping() {
    check_slope(
        "6.12",
        sum(&[common("linux-6.12").zap_entry]),
        &[
            ([18_294, 4191, 2647], [19_232, 4478, 2642]),
            ([14_098, 2909, 1896], [15_034, 3194, 1889]),
            ([20_859, 4594, 3739], [21_238, 4876, 3234]),
            ([25_056, 5877, 4491], [25_293, 6124, 3957]),
            ([25_056, 5877, 4491], [28_805, 7206, 4610]),
        ],
    );
    let new = common("linux-7.2");
    check_slope(
        "7.2",
        sum(&[new.zap_entry, new.zap_counted]),
        &[
            ([15_986, 3625, 2422], [37_726, 9462, 5759]),
            ([15_986, 3625, 2422], [34_455, 8441, 5137]),
            ([26_082, 6158, 4619], [40_674, 10_121, 6502]),
            ([30_639, 7541, 5467], [40_557, 10_085, 6480]),
            ([26_073, 6153, 4620], [40_557, 10_085, 6480]),
        ],
    );
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
