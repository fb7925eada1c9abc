//! A timeline as folded stacks, which flame-graph tools read: `mkwrite;fs;ext4_dax_huge_fault 1234`.

use std::collections::BTreeMap;

use super::Timeline;

/// One line for each stack of kind, part and kernel function, in order, with its picoseconds over all CPUs.
#[must_use]
pub fn folded(timeline: &Timeline) -> String {
    let mut stacks: BTreeMap<[&str; 3], u64> = BTreeMap::new();
    for slice in &timeline.slices {
        for stretch in slice.stretches.iter().filter(|stretch| stretch.took_ps > 0) {
            *stacks.entry([&slice.name, &stretch.part, &stretch.function]).or_default() += stretch.took_ps;
        }
    }
    let line = |(stack, ps): (&[&str; 3], &u64)| format!("{} {ps}\n", stack.map(frame).join(";"));
    stacks.iter().map(line).collect()
}

/// A name without what separates frames.
fn frame(name: &str) -> String {
    name.replace([';', ' '], "_")
}
