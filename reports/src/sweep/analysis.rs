//! Which points are best, and what each key does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::front::front;
use super::{Point, Sweep};

/// Values of a number that stand for themselves; more are put into four groups with as many points each.
const MOST_LEVELS: usize = 12;
/// Groups of a number with more values.
const GROUPS: usize = 4;
/// Pairs of keys that are told of.
const MOST_PAIRS: usize = 5;
/// Budgets that are told of if none were asked for.
const MOST_BUDGETS: usize = 12;

/// What came out for one input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// The input.
    pub input: String,
    /// Rows of the points that no other is better than in every objective, from 0.
    pub front: Vec<usize>,
    /// For each objective its best point.
    pub best: Vec<Best>,
    /// For each objective but the cost, and each budget, the best point within it.
    pub within: Vec<Ranked>,
    /// What each key does to each objective, the strongest first.
    pub effects: Vec<Effect>,
    /// Which two keys do together what neither does alone, the strongest first.
    pub pairs: Vec<Pair>,
}

/// The best point by an objective.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The objective.
    pub objective: String,
    /// Its row, from 0.
    pub row: usize,
    /// Its value.
    pub value: f64,
}

/// The best point within a budget.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// The objective.
    pub objective: String,
    /// What may be spent.
    pub budget: f64,
    /// What the point costs.
    pub cost: f64,
    /// Its row, from 0.
    pub row: usize,
    /// Its value.
    pub value: f64,
}

/// What a key does to an objective.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// The objective.
    pub objective: String,
    /// The key.
    pub key: String,
    /// Mean of the objective at each value of the key, or in each group of values.
    pub means: Vec<(String, f64)>,
    /// The largest of these means less the smallest, as a part of the mean of all points.
    pub span: f64,
    /// Share of the variance of the objective that differences between these means explain, 0 to 1.
    pub share: f64,
}

/// What two keys do together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The objective.
    pub objective: String,
    /// The keys.
    pub keys: [String; 2],
    /// Share of the variance that the two explain together and not one by one.
    pub share: f64,
}

/// The analysis of each input, of the points that went furthest.
pub(super) fn of(sweep: &Sweep, budgets: &[f64]) -> Vec<Analysis> {
    let longest = sweep.longest();
    let mut by_input: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut inputs: Vec<&str> = Vec::new();
    for (row, point) in sweep.points.iter().enumerate() {
        if !inputs.contains(&point.input.as_str()) {
            inputs.push(&point.input);
        }
        if point.error.is_none() && point.accesses == longest {
            by_input.entry(&point.input).or_default().push(row);
        }
    }
    let one = |input: &&str| one(sweep, input, by_input.get(input).map_or(&[], Vec::as_slice), budgets);
    inputs.iter().map(one).collect()
}

fn one(sweep: &Sweep, input: &str, rows: &[usize], budgets: &[f64]) -> Analysis {
    let points: Vec<(usize, &Point)> =
        rows.iter().filter_map(|row| Some((*row, sweep.points.get(*row)?))).collect();
    let mut analysis = Analysis { input: input.to_owned(), ..Analysis::default() };
    analysis.front = front_of(sweep, &points);
    for (at, objective) in sweep.objectives.iter().enumerate() {
        let sign = if objective.maximise { -1.0 } else { 1.0 };
        let valued: Vec<(usize, &Point, f64)> = points
            .iter()
            .filter_map(|(row, point)| Some((*row, *point, sign * point.objectives.get(at).copied()??)))
            .collect();
        let Some(best) = least(&valued) else { continue };
        analysis.best.push(Best { objective: objective.name.clone(), row: best.0, value: sign * best.2 });
        if objective.name == "cost" {
            continue;
        }
        for (budget, (row, point, value)) in within(&valued, budgets) {
            let (objective, cost) = (objective.name.clone(), point.cost.unwrap_or_default());
            analysis.within.push(Ranked { objective, budget, cost, row, value: sign * value });
        }
        let (effects, pairs) = sensitivity(sweep, &objective.name, sign, &valued);
        analysis.effects.extend(effects);
        analysis.pairs.extend(pairs);
    }
    analysis
}

fn front_of(sweep: &Sweep, points: &[(usize, &Point)]) -> Vec<usize> {
    let signed = |point: &Point| -> Option<Vec<f64>> {
        let values = sweep.objectives.iter().zip(&point.objectives);
        values.map(|(o, value)| value.map(|v| if o.maximise { -v } else { v })).collect()
    };
    let valued: Vec<(usize, Vec<f64>)> =
        points.iter().filter_map(|(row, point)| Some((*row, signed(point)?))).collect();
    if sweep.objectives.is_empty() {
        return Vec::new();
    }
    let values: Vec<Vec<f64>> = valued.iter().map(|(_, values)| values.clone()).collect();
    front(&values).into_iter().filter_map(|at| valued.get(at).map(|(row, _)| *row)).collect()
}

/// The least; of equals the cheapest, then the first.
fn least<'a>(valued: &[(usize, &'a Point, f64)]) -> Option<(usize, &'a Point, f64)> {
    let cost = |point: &Point| point.cost.unwrap_or_default();
    valued.iter().copied().min_by(|a, b| a.2.total_cmp(&b.2).then(cost(a.1).total_cmp(&cost(b.1))))
}

/// The best within each budget; without budgets, within each cost at which the best gets better.
fn within<'a>(valued: &[(usize, &'a Point, f64)], budgets: &[f64]) -> Vec<(f64, (usize, &'a Point, f64))> {
    let mut costed: Vec<(f64, (usize, &Point, f64))> =
        valued.iter().filter_map(|v| Some((v.1.cost?, *v))).collect();
    costed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.2.total_cmp(&b.1.2)));
    let mut steps: Vec<(f64, (usize, &Point, f64))> = Vec::new();
    for (cost, valued) in costed {
        if steps.last().is_none_or(|(_, best)| valued.2 < best.2) {
            steps.push((cost, valued));
        }
    }
    if budgets.is_empty() {
        // The finest steps say least.
        let every = steps.len().div_ceil(MOST_BUDGETS).max(1);
        let last = steps.len().saturating_sub(1);
        return steps
            .iter()
            .copied()
            .enumerate()
            .filter(|(at, _)| at % every == 0 || *at == last)
            .map(|(_, s)| s)
            .collect();
    }
    let affordable =
        |budget: &f64| steps.iter().rev().find(|(cost, _)| cost <= budget).map(|(_, best)| (*budget, *best));
    budgets.iter().filter_map(affordable).collect()
}

/// A key, or machine, kernel or semantics where there are several: which group each point is in.
struct Factor {
    name: String,
    groups: Vec<String>,
    of: Vec<usize>,
}

fn sensitivity(
    sweep: &Sweep,
    objective: &str,
    sign: f64,
    valued: &[(usize, &Point, f64)],
) -> (Vec<Effect>, Vec<Pair>) {
    let values: Vec<f64> = valued.iter().map(|(_, _, value)| sign * value).collect();
    let mean = mean(&values);
    let total: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    if values.len() < 2 || total <= 0.0 {
        return (Vec::new(), Vec::new());
    }
    let factors = factors(sweep, valued);
    let between = |of: &[usize], groups: usize| -> f64 {
        let cells = cells(&values, of, groups);
        cells
            .iter()
            .filter(|cell| cell.1 > 0)
            .map(|(sum, n)| *n as f64 * (sum / *n as f64 - mean).powi(2))
            .sum()
    };
    let alone: Vec<f64> = factors.iter().map(|f| between(&f.of, f.groups.len())).collect();
    let effect = |(factor, alone): (&Factor, &f64)| {
        let cells = cells(&values, &factor.of, factor.groups.len());
        let means: Vec<f64> = cells.iter().map(|(sum, n)| sum / (*n).max(1) as f64).collect();
        let most = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let least = means.iter().copied().fold(f64::INFINITY, f64::min);
        Effect {
            objective: objective.to_owned(),
            key: factor.name.clone(),
            span: (most - least) / mean.abs().max(f64::MIN_POSITIVE),
            share: alone / total,
            means: factor.groups.iter().cloned().zip(means).collect(),
        }
    };
    let mut effects: Vec<Effect> = factors.iter().zip(&alone).map(effect).collect();
    effects.sort_by(|a, b| b.share.total_cmp(&a.share));
    let mut pairs = Vec::new();
    for (at, (a, alone_a)) in factors.iter().zip(&alone).enumerate() {
        for (b, alone_b) in factors.iter().zip(&alone).skip(at + 1) {
            let both: Vec<usize> = a.of.iter().zip(&b.of).map(|(x, y)| x * b.groups.len() + y).collect();
            let together = between(&both, a.groups.len() * b.groups.len());
            let share = ((together - alone_a - alone_b) / total).max(0.0);
            pairs.push(Pair {
                objective: objective.to_owned(),
                keys: [a.name.clone(), b.name.clone()],
                share,
            });
        }
    }
    pairs.sort_by(|a, b| b.share.total_cmp(&a.share));
    pairs.truncate(MOST_PAIRS);
    (effects, pairs)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Sum and count of the values of each group.
fn cells(values: &[f64], of: &[usize], groups: usize) -> Vec<(f64, u64)> {
    let mut cells = vec![(0.0, 0); groups];
    for (value, group) in values.iter().zip(of) {
        if let Some(cell) = cells.get_mut(*group) {
            *cell = (cell.0 + value, cell.1 + 1);
        }
    }
    cells
}

/// Every factor with at least two groups.
fn factors(sweep: &Sweep, valued: &[(usize, &Point, f64)]) -> Vec<Factor> {
    let texts = |of: fn(&Point) -> &str| -> Vec<String> {
        valued.iter().map(|(_, point, _)| of(point).to_owned()).collect()
    };
    let mut all: Vec<(String, Vec<String>)> = vec![
        ("machine".to_owned(), texts(|p| &p.machine)),
        ("kernel".to_owned(), texts(|p| &p.kernel)),
        ("semantics".to_owned(), texts(|p| &p.semantics)),
    ];
    for (at, key) in sweep.keys.iter().enumerate() {
        let level = |point: &Point| point.levels.get(at).cloned().unwrap_or_default();
        all.push((key.clone(), valued.iter().map(|(_, point, _)| level(point)).collect()));
    }
    all.into_iter().map(|(name, texts)| grouped(name, &texts)).filter(|f| f.groups.len() > 1).collect()
}

fn grouped(name: String, texts: &[String]) -> Factor {
    let mut groups: Vec<String> = Vec::new();
    for text in texts {
        if !groups.contains(text) && groups.len() <= MOST_LEVELS {
            groups.push(text.clone());
        }
    }
    let numbers: Option<Vec<f64>> = texts.iter().map(|text| number(text)).collect();
    match numbers {
        Some(numbers) if groups.len() > MOST_LEVELS => quarters(name, &numbers),
        Some(_) => {
            groups.sort_by(|a, b| number(a).unwrap_or(0.0).total_cmp(&number(b).unwrap_or(0.0)));
            by_text(name, groups, texts)
        }
        None => {
            for text in texts {
                if !groups.contains(text) {
                    groups.push(text.clone());
                }
            }
            by_text(name, groups, texts)
        }
    }
}

fn by_text(name: String, groups: Vec<String>, texts: &[String]) -> Factor {
    let of = texts.iter().map(|text| groups.iter().position(|group| group == text).unwrap_or(0)).collect();
    Factor { name, groups, of }
}

/// Groups with about as many points each, by the number.
fn quarters(name: String, numbers: &[f64]) -> Factor {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let edges: Vec<f64> =
        (1..GROUPS).filter_map(|n| sorted.get(n * sorted.len() / GROUPS).copied()).collect();
    let of: Vec<usize> =
        numbers.iter().map(|number| edges.iter().filter(|edge| number >= *edge).count()).collect();
    let group = |at: usize| -> String {
        let inside = || numbers.iter().zip(&of).filter(|(_, group)| **group == at).map(|(number, _)| *number);
        let (low, high) =
            (inside().fold(f64::INFINITY, f64::min), inside().fold(f64::NEG_INFINITY, f64::max));
        if low == high { format!("{low}") } else { format!("{low} to {high}") }
    };
    let groups = (0..GROUPS).map(group).collect();
    Factor { name, groups, of }
}

/// The number that a text begins with, if a unit at most follows.
pub(super) fn number(text: &str) -> Option<f64> {
    let first = text.split_once(' ').map_or(text, |(number, _)| number);
    first.parse().ok().filter(|number: &f64| number.is_finite())
}
