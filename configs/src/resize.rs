//! `--set tlb.stlb.entries=2048` alone: a TLB that grows or shrinks keeps its number of sets.

use std::collections::BTreeMap;

use crate::overrides::Override;
use crate::value::{Entry, Value};

/// Follows up an override of a TLB's `entries` with the `ways` that keep its sets, where the old ways would not fit the new
/// size. An override of `ways` is never touched, and what cannot be made to fit is left for the checks to refuse.
pub(crate) fn keep_sets(
    file: &BTreeMap<String, Entry>,
    overrides: &[Override],
    merged: &mut BTreeMap<String, Entry>,
) {
    let given: Vec<&Entry> = overrides.iter().flat_map(Override::entries).collect();
    for resized in &given {
        let Some(array) = resized.key.strip_suffix(".entries").filter(|a| a.starts_with("tlb.")) else {
            continue;
        };
        let ways_key = format!("{array}.ways");
        if given.iter().any(|other| other.key == ways_key) {
            continue;
        }
        let number = |key: &str| match file.get(key)?.value {
            Value::Integer(n) if n > 0 => Some(n),
            _ => None,
        };
        let (Some(entries), Some(ways)) = (number(&resized.key), number(&ways_key)) else { continue };
        let Value::Integer(wanted) = resized.value else { continue };
        let fits = wanted % ways == 0 && u32::try_from(wanted / ways).is_ok_and(u32::is_power_of_two);
        let sets = entries / ways;
        if !fits && wanted > 0 && sets > 0 && wanted % sets == 0 {
            let value = Value::Integer(wanted / sets);
            merged.insert(ways_key.clone(), Entry { key: ways_key, value, ..(*resized).clone() });
        }
    }
}
