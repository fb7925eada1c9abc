//! Which points are best in each sweep.

use serde::{Deserialize, Serialize};

use super::SweepResults;
use super::matching::Matched;
use crate::sweep::Point;

/// The best points of an input by an objective.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BestChange {
    /// The input; empty if the sweeps have one each, with different names.
    pub input: String,
    /// The objective.
    pub objective: String,
    /// Where the base is best: the first of several.
    pub base: String,
    /// The value there.
    pub base_value: f64,
    /// Where the new sweep is best: the place of the base if it still is.
    pub new: String,
    /// The value there.
    pub new_value: f64,
}

/// For each input, and each objective that both have and want the same way.
pub(super) fn best(base: &SweepResults, new: &SweepResults, matched: &Matched<'_>) -> Vec<BestChange> {
    let at = matched.keys.iter().position(|key| key == "input");
    let input = |place: &[String]| at.and_then(|at| place.get(at)).cloned().unwrap_or_default();
    let mut inputs: Vec<String> = Vec::new();
    for (place, _) in &matched.base {
        if !inputs.contains(&input(place)) {
            inputs.push(input(place));
        }
    }
    let mut all = Vec::new();
    for name in &inputs {
        for (from, objective) in base.head.objectives.iter().enumerate() {
            let same =
                |o: &crate::sweep::Objective| o.name == objective.name && o.maximise == objective.maximise;
            let Some(to) = new.head.objectives.iter().position(same) else { continue };
            let of = |points: &[(Vec<String>, &Point)], at: usize| -> Vec<(Vec<String>, f64)> {
                let here =
                    points.iter().filter(|(place, point)| input(place) == *name && point.error.is_none());
                let valued =
                    here.filter_map(|(place, p)| Some((place.clone(), p.objectives.get(at).copied()??)));
                valued.collect()
            };
            let before = bests(&of(&matched.base, from), objective.maximise);
            let after = bests(&of(&matched.new, to), objective.maximise);
            let Some((place, value)) = before.first() else { continue };
            let still = after.iter().find(|(other, _)| other == place).or(after.first());
            let Some((new_place, new_value)) = still else { continue };
            all.push(BestChange {
                input: at.map_or_else(String::new, |at| matched.level(at, name)),
                objective: objective.name.clone(),
                base: matched.short(place),
                base_value: *value,
                new: matched.short(new_place),
                new_value: *new_value,
            });
        }
    }
    all
}

/// The points with the best value, in order.
fn bests(valued: &[(Vec<String>, f64)], maximise: bool) -> Vec<(Vec<String>, f64)> {
    let values = valued.iter().map(|(_, value)| *value);
    let best = if maximise {
        values.fold(f64::NEG_INFINITY, f64::max)
    } else {
        values.fold(f64::INFINITY, f64::min)
    };
    valued.iter().filter(|(_, value)| *value == best).cloned().collect()
}
