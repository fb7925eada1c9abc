//! `--set tlb.stlb.entries=2048` alone: a TLB that grows or shrinks keeps its number of sets, and a replacement that its new ways
//! can have.

use std::collections::BTreeMap;

use crate::overrides::Override;
use crate::value::{Entry, Value};

/// Follows up an override of a TLB's `entries` with the `ways` that keep its sets, where the old ways would not fit the new
/// size; and new ways with a `replacement`, where the old one cannot stand on them: tree-PLRU if that can, otherwise LRU. What
/// is overridden itself is never touched, and what cannot be made to fit is left for the checks to refuse.
pub(crate) fn follow_size(
    file: &BTreeMap<String, Entry>,
    overrides: &[Override],
    merged: &mut BTreeMap<String, Entry>,
) {
    let given: Vec<&Entry> = overrides.iter().flat_map(Override::entries).collect();
    let is_given = |key: &str| given.iter().any(|other| other.key == key);
    for change in &given {
        let Some((array, name)) = change.key.rsplit_once('.').filter(|(array, _)| array.starts_with("tlb."))
        else {
            continue;
        };
        let (ways_key, replacement_key) = (format!("{array}.ways"), format!("{array}.replacement"));
        if name == "entries"
            && !is_given(&ways_key)
            && let Some(ways) = ways_that_keep_sets(file, array, change)
        {
            let value = Value::Integer(ways);
            merged.insert(ways_key.clone(), Entry { key: ways_key.clone(), value, ..(*change).clone() });
        }
        if matches!(name, "entries" | "ways")
            && !is_given(&replacement_key)
            && let Some(ways) = number(merged, &ways_key)
            && let Some(value) = other_replacement(merged, &replacement_key, ways)
        {
            let entry = Entry { key: replacement_key.clone(), value, ..(*change).clone() };
            merged.insert(replacement_key, entry);
        }
    }
}

fn number(entries: &BTreeMap<String, Entry>, key: &str) -> Option<i128> {
    match entries.get(key)?.value {
        Value::Integer(n) if n > 0 => Some(n),
        _ => None,
    }
}

/// The ways with which a resized array keeps its sets, if it cannot keep its ways.
fn ways_that_keep_sets(file: &BTreeMap<String, Entry>, array: &str, resized: &Entry) -> Option<i128> {
    let entries = number(file, &format!("{array}.entries"))?;
    let ways = number(file, &format!("{array}.ways"))?;
    let Value::Integer(wanted) = resized.value else { return None };
    let fits = wanted % ways == 0 && u32::try_from(wanted / ways).is_ok_and(u32::is_power_of_two);
    let sets = entries / ways;
    (!fits && wanted > 0 && sets > 0 && wanted % sets == 0).then(|| wanted / sets)
}

/// What takes the place of a replacement that cannot stand on so many ways; `None` if it can.
fn other_replacement(entries: &BTreeMap<String, Entry>, key: &str, ways: i128) -> Option<Value> {
    let Value::Text(now) = &entries.get(key)?.value else { return None };
    let tree = ways.count_ones() == 1 && ways <= 64;
    let stands = match now.as_str() {
        "plru" => tree,
        "mru3-plru4" => ways == 12,
        _ => true,
    };
    (!stands).then(|| Value::Text(if tree { "plru" } else { "lru" }.to_owned()))
}
