//! Points of which one run may serve several.
//!
//! The simulator tells of a configuration that follows a run whether its own run would have been the same (`daxsim_sim::alike`). Here is
//! told which points are worth trying: those that differ in what may be followed, and in nothing else.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Which points may follow each other. Two that may have the same, others most likely not: no result hangs on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Family(u64);

impl Family {
    /// Of what else a run depends on, and of every key of machine and kernel.
    pub fn of(what: &[&str], settings: &BTreeMap<&'static str, String>) -> Self {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        settings.iter().filter(|(key, _)| !may_differ(key)).for_each(|setting| setting.hash(&mut hasher));
        Self(hasher.finish())
    }
}

/// Whether points may follow each other that differ in a key.
pub fn may_differ(key: &str) -> bool {
    let stlb = ["entries", "ways", "ways_4k", "ways_2m", "ways_1g", "replacement", "index"];
    match key.split_once('.') {
        Some(("tlb", rest)) => rest.strip_prefix("stlb.").is_some_and(|rest| stlb.contains(&rest)),
        Some(("psc", rest)) => !["latency", "resume"].contains(&rest),
        Some(("mmu", rest)) => rest == "walkers",
        None => key == "semantics",
        // A kernel is only ever asked.
        Some(("dax" | "tree" | "arch" | "tlb_flush" | "path_length", _)) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use daxsim_configs::{describe_kernel, describe_machine, load_kernel, load_machine};
    use daxsim_sim::alike::may_follow;

    use super::*;

    #[test]
    fn a_machine_with_another_value_of_a_key_may_follow_if_the_key_says_so() {
        let plain = load_machine("skylake-sp-optane", &[]).unwrap();
        let keys = describe_machine(&plain);
        assert_eq!(keys.iter().filter(|key| may_differ(key.key)).count(), 16, "stlb 7, psc 8, walkers");
        for (set, expected) in [
            ("tlb.stlb.entries=768", true),
            ("tlb.stlb.ways=6", true),
            ("tlb.stlb.replacement=fifo", true),
            ("tlb.stlb.hit_penalty=3 cycles", false),
            ("tlb.dtlb_4k.ways=8", false),
            ("psc.pde=4", true),
            ("psc.latency=3 cycles", false),
            ("mmu.walkers=4", true),
            ("mmu.pcid=false", false),
            ("cpu.window=1", false),
        ] {
            let other = load_machine("skylake-sp-optane", &[set.parse().unwrap()]).unwrap();
            assert!(other != plain, "{set}");
            assert_eq!(may_follow(&plain, &other), expected, "{set}");
            assert_eq!(may_differ(set.split('=').next().unwrap()), expected, "{set}");
        }
    }

    #[test]
    fn every_key_of_a_kernel_may_differ() {
        let kernel = load_kernel("linux-7.2", &[]).unwrap();
        let keys = describe_kernel(&kernel);
        let fixed: Vec<&str> = keys.iter().map(|key| key.key).filter(|key| !may_differ(key)).collect();
        assert_eq!(fixed, ["description"], "which is for people");
    }
}
