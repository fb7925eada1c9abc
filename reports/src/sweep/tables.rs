//! The tables of a sweep, as page and terminal show them.

use std::ops::Range;

use super::{Analysis, Point, Sweep};
use crate::units::{number, percent};

/// Points of a table that people read; the files have all.
pub(super) const MOST_ROWS: usize = 200;

/// Means of a key that are told of one by one.
const MOST_MEANS: usize = 8;

/// A table, and which columns are numbers.
pub(super) struct Rows {
    pub title: String,
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
    pub numbers: Range<usize>,
}

impl Sweep {
    /// What tells the points apart: the heads of columns.
    fn heads(&self) -> Vec<String> {
        let several = self.varying().into_iter().map(str::to_owned);
        several.chain(self.keys.iter().cloned()).collect()
    }

    /// Machine, kernel and semantics where there are several.
    fn varying(&self) -> Vec<&'static str> {
        // Of a point that failed, the kernel may not be known.
        let differ = |of: fn(&Point) -> &str| {
            let mut all = self.points.iter().filter(|point| point.error.is_none()).map(of);
            let first = all.next();
            all.any(|text| Some(text) != first)
        };
        let all = [
            ("machine", differ(|p| &p.machine)),
            ("kernel", differ(|p| &p.kernel)),
            ("semantics", differ(|p| &p.semantics)),
        ];
        all.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }

    fn place_cells(&self, point: &Point) -> Vec<String> {
        let several = self.varying().into_iter().map(|name| match name {
            "machine" => point.machine.clone(),
            "kernel" => point.kernel.clone(),
            _ if point.semantics.is_empty() => "the kernel's".to_owned(),
            _ => point.semantics.clone(),
        });
        several.chain(point.levels.iter().cloned()).collect()
    }

    /// What tells a point apart, in a line.
    pub(super) fn short_place(&self, row: usize) -> String {
        let Some(point) = self.points.get(row) else { return String::new() };
        let cells = self.heads().into_iter().zip(self.place_cells(point));
        let parts: Vec<String> = cells.map(|(head, cell)| format!("{head}={cell}")).collect();
        if parts.is_empty() { "the only point".to_owned() } else { parts.join(" ") }
    }

    fn objective_heads(&self) -> impl Iterator<Item = String> {
        self.objectives
            .iter()
            .map(|o| if o.unit.is_empty() { o.name.clone() } else { format!("{} ({})", o.name, o.unit) })
    }

    fn objective_cells(&self, point: &Point) -> impl Iterator<Item = String> {
        let shown = |value: &Option<f64>| value.map_or_else(|| "none".to_owned(), number);
        point.objectives.iter().map(shown).collect::<Vec<_>>().into_iter()
    }

    /// Points by their rows.
    fn listed(&self, title: String, rows: &[usize]) -> Rows {
        let heads = self.heads();
        let row = |row: &usize| {
            let point = self.points.get(*row)?;
            let place = self.place_cells(point).into_iter();
            Some(
                std::iter::once((row + 1).to_string())
                    .chain(place)
                    .chain(self.objective_cells(point))
                    .collect(),
            )
        };
        Rows {
            title,
            numbers: 1 + heads.len()..usize::MAX,
            head: std::iter::once("row".to_owned()).chain(heads).chain(self.objective_heads()).collect(),
            rows: rows.iter().take(MOST_ROWS).filter_map(row).collect(),
        }
    }

    /// The Pareto front of an input, by the last objective.
    pub(super) fn front(&self, analysis: &Analysis) -> Rows {
        let by_cost = |row: &usize| {
            let values = self.points.get(*row).map(|point| point.objectives.clone());
            values.and_then(|values| values.last().copied().flatten()).unwrap_or_default()
        };
        let mut rows = analysis.front.clone();
        rows.sort_by(|a, b| by_cost(a).total_cmp(&by_cost(b)));
        self.listed("Points that no other beats in every objective".to_owned(), &rows)
    }

    /// The best point within each budget.
    pub(super) fn within(&self, analysis: &Analysis) -> Rows {
        let rows = analysis.within.iter().map(|ranked| {
            vec![
                ranked.objective.clone(),
                number(ranked.budget),
                number(ranked.cost),
                number(ranked.value),
                self.short_place(ranked.row),
            ]
        });
        Rows {
            title: "The best point within each budget".to_owned(),
            head: ["objective", "budget", "cost", "value", "point"].map(str::to_owned).to_vec(),
            rows: rows.collect(),
            numbers: 1..4,
        }
    }

    /// What each key does.
    pub(super) fn effects(analysis: &Analysis) -> Rows {
        let shown = |(level, mean): &(String, f64)| format!("{level}: {}", number(*mean));
        let means = |means: &[(String, f64)]| {
            if means.len() <= MOST_MEANS {
                return means.iter().map(shown).collect::<Vec<_>>().join(", ");
            }
            let mut sorted: Vec<&(String, f64)> = means.iter().collect();
            sorted.sort_by(|a, b| a.1.total_cmp(&b.1));
            let ends = [("least", sorted.first()), ("most", sorted.last())];
            let ends = ends.into_iter().filter_map(|(word, mean)| Some(format!("{word} {}", shown(mean?))));
            ends.collect::<Vec<_>>().join(", ")
        };
        let rows = analysis.effects.iter().map(|effect| {
            vec![
                effect.objective.clone(),
                effect.key.clone(),
                percent(effect.share),
                percent(effect.span),
                means(&effect.means),
            ]
        });
        let head = ["objective", "key", "share of the variance", "span of the means", "mean at each value"];
        Rows {
            title: "What each key does by itself".to_owned(),
            head: head.map(str::to_owned).to_vec(),
            rows: rows.collect(),
            numbers: 2..4,
        }
    }

    /// What two keys do together.
    pub(super) fn pairs(analysis: &Analysis) -> Rows {
        let rows = analysis.pairs.iter().filter(|pair| pair.share > 0.0);
        let rows =
            rows.map(|pair| vec![pair.objective.clone(), pair.keys.join(" with "), percent(pair.share)]);
        Rows {
            title: "What two keys do together and neither alone".to_owned(),
            head: ["objective", "keys", "share of the variance"].map(str::to_owned).to_vec(),
            rows: rows.collect(),
            numbers: 2..3,
        }
    }

    /// Points that failed.
    pub(super) fn failed(&self) -> Rows {
        let failures = self.failures.iter().take(MOST_ROWS);
        Rows {
            title: "Points that failed".to_owned(),
            head: ["row", "point", "why"].map(str::to_owned).to_vec(),
            rows: failures.map(|f| vec![(f.row + 1).to_string(), f.what.clone(), f.why.clone()]).collect(),
            numbers: 0..0,
        }
    }

    /// The points of an input.
    pub(super) fn all(&self, input: &str) -> Rows {
        let of_input = self.points.iter().enumerate().filter(|(_, point)| point.input == input);
        let rows: Vec<usize> = of_input.map(|(row, _)| row).collect();
        let title = if rows.len() > MOST_ROWS {
            format!("The first {MOST_ROWS} of {} points; the files have all", rows.len())
        } else {
            "All points".to_owned()
        };
        self.listed(title, &rows)
    }

    /// How much of the space was run, in a sentence.
    pub(super) fn extent(&self) -> String {
        let space = &self.space;
        let counted = |n: u64, one: &str, many: &str| crate::units::counted(n, one, many);
        let mut text = format!(
            "{} of {} on {}",
            counted(space.run, "run", "runs"),
            counted(space.designs, "configuration", "configurations"),
            counted(space.inputs, "input", "inputs")
        );
        text += &format!(" ({}", space.sample);
        if space.left_out > 0 {
            text += &format!("; constraints left out {}", crate::units::count(space.left_out));
        }
        text += ")";
        if let (Some(share), Some(grid)) = (space.share, space.grid) {
            text += &format!(": {} of the full grid of {}", percent(share), crate::units::count(grid));
        }
        if space.failed > 0 {
            text += &format!("; {} failed", space.failed);
        }
        for round in &space.rounds {
            let length = round.accesses.map_or_else(|| "all".to_owned(), crate::units::count);
            text += &format!(
                "; {} ran {length} accesses",
                counted(round.designs, "configuration", "configurations")
            );
        }
        text + "."
    }
}
