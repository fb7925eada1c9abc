//! Successive halving: all configurations run a short part of the traces, the best of them a longer one, and so on.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use daxsim_configs::sweep::Halving;
use daxsim_reports::sweep::Round;

use super::document;
use super::journal::Outcome;
use super::plan::{Plan, Point};

/// What a search ran.
#[derive(Default)]
pub struct Search {
    /// The points of all rounds.
    pub points: Vec<Point>,
    /// What they came out as.
    pub outcomes: BTreeMap<String, Outcome>,
    /// The rounds.
    pub rounds: Vec<Round>,
}

/// The lengths of the rounds: the last is all.
pub fn lengths(plan: &Plan, halving: &Halving) -> Result<Vec<Option<u64>>> {
    let mut longest = 0;
    for (at, name) in plan.sweep.inputs.iter().enumerate() {
        let Some(length) = plan.length(at)? else {
            bail!(
                "{name}: a search by halving needs traces of accesses that fit into --memory: only these can be cut short"
            );
        };
        longest = longest.max(length);
    }
    let mut lengths = Vec::new();
    let mut length = halving.first;
    while length < longest {
        lengths.push(Some(length));
        length = length.saturating_mul(u64::from(halving.factor));
    }
    lengths.push(None);
    Ok(lengths)
}

/// The points of a round, as those who run it get them.
pub struct Heat<'a> {
    /// Which round, from 0.
    pub round: usize,
    /// Accesses of each thread at most.
    pub accesses: Option<u64>,
    /// The configurations, by their places.
    pub designs: &'a [usize],
    /// The points.
    pub points: &'a [Point],
}

/// Runs the rounds, each by `run`.
pub fn run(
    plan: &Plan,
    halving: &Halving,
    run: impl Fn(&Heat<'_>) -> Result<BTreeMap<String, Outcome>>,
) -> Result<Search> {
    let mut search = Search::default();
    let mut designs: Vec<usize> = (0..plan.designs.len()).collect();
    for (round, accesses) in lengths(plan, halving)?.into_iter().enumerate() {
        let points = plan.points(&designs, accesses)?;
        let outcomes = run(&Heat { round, accesses, designs: &designs, points: &points })?;
        search.rounds.push(Round { accesses, designs: designs.len() as u64 });
        let keep = designs.len().div_ceil(halving.factor as usize);
        designs = best(plan, halving, &designs, &points, &outcomes, keep);
        search.points.extend(points);
        search.outcomes.extend(outcomes);
        if designs.is_empty() {
            break;
        }
    }
    Ok(search)
}

/// Those with the best mean rank over the inputs, in their order. What has no value takes no part any more.
fn best(
    plan: &Plan,
    halving: &Halving,
    designs: &[usize],
    points: &[Point],
    outcomes: &BTreeMap<String, Outcome>,
    keep: usize,
) -> Vec<usize> {
    let mut ranks: BTreeMap<usize, Option<usize>> = designs.iter().map(|design| (*design, Some(0))).collect();
    for input in 0..plan.inputs.len() {
        let mut valued: Vec<(f64, usize)> = Vec::new();
        for point in points.iter().filter(|point| point.input == input) {
            let metrics = outcomes.get(&point.id()).and_then(|outcome| outcome.as_ref().ok());
            let value = metrics.and_then(|m| document::objective(plan, point, m, &halving.objective));
            match value {
                Some(value) => valued.push((value, point.design)),
                None => {
                    ranks.insert(point.design, None);
                }
            }
        }
        valued.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (value, design) in &valued {
            // Equal values have equal ranks.
            let rank = valued.partition_point(|(other, _)| other < value);
            ranks.entry(*design).and_modify(|sum| *sum = sum.map(|sum| sum + rank));
        }
    }
    let mut ranked: Vec<(usize, usize)> =
        ranks.into_iter().filter_map(|(design, rank)| Some((rank?, design))).collect();
    ranked.sort_unstable();
    ranked.truncate(keep);
    let mut kept: Vec<usize> = ranked.into_iter().map(|(_, design)| design).collect();
    kept.sort_unstable();
    kept
}
