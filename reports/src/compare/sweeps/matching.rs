//! Which points of two sweeps are the same place.

use std::collections::{BTreeMap, BTreeSet};

use super::SweepResults;
use crate::ReportError;
use crate::sweep::Point;

/// What points are told apart by before the keys of the sweep.
const FIXED: [&str; 5] = ["input", "machine", "kernel", "semantics", "accesses"];

/// Points of both sweeps by their places.
#[derive(Default)]
pub(super) struct Matched<'a> {
    /// What places are made of.
    pub keys: Vec<String>,
    /// Points that ran to their end in both, in the order of the base.
    pub pairs: Vec<Pair<'a>>,
    pub only_base: Vec<String>,
    pub only_new: Vec<String>,
    pub failed: Vec<String>,
    pub varied: Vec<String>,
    pub notes: Vec<String>,
    /// All points of the base with their places, in order; one that was drawn twice is there once.
    pub base: Vec<(Vec<String>, &'a Point)>,
    /// Those of the new sweep.
    pub new: Vec<(Vec<String>, &'a Point)>,
    /// What of a place tells points apart, by its column; inputs by what their names do not share.
    shown: Vec<(usize, BTreeMap<String, String>)>,
}

/// A point of both.
pub(super) struct Pair<'a> {
    pub place: Vec<String>,
    pub short: String,
    pub base: &'a Point,
    pub new: &'a Point,
}

/// Matches the points.
pub(super) fn matched<'a>(base: &'a SweepResults, new: &'a SweepResults) -> Result<Matched<'a>, ReportError> {
    let mut matched = Matched::default();
    for name in dimensions(base, new) {
        matched.dimension(name, base, new)?;
    }
    matched.base = matched.placed(base)?;
    matched.new = matched.placed(new)?;
    let places = matched.base.iter().chain(&matched.new).map(|(place, _)| place);
    matched.shown = shown(places, &matched.keys);
    matched.pair();
    if matched.pairs.is_empty() && matched.failed.is_empty() {
        let first = |list: &[String]| list.first().map_or("none", String::as_str).to_owned();
        let (one, other) = (first(&matched.only_base), first(&matched.only_new));
        return Err(refused(base, new, format!("no point is in both; the first are {one} and {other}")));
    }
    Ok(matched)
}

fn refused(base: &SweepResults, new: &SweepResults, why: String) -> ReportError {
    ReportError::NoMatch { base: base.name.clone(), new: new.name.clone(), why }
}

/// All names of what may tell points apart, those of the base first.
fn dimensions<'a>(base: &'a SweepResults, new: &'a SweepResults) -> Vec<&'a str> {
    let mut names: Vec<&str> = FIXED.to_vec();
    for key in base.head.keys.iter().chain(&new.head.keys) {
        if !names.contains(&key.as_str()) {
            names.push(key);
        }
    }
    names
}

/// The value of a point in a dimension; `None` if its sweep has no such key.
fn value(sweep: &SweepResults, point: &Point, name: &str) -> Option<String> {
    Some(match name {
        "input" => point.input.clone(),
        "machine" => point.machine.clone(),
        "kernel" => point.kernel.clone(),
        "semantics" if point.semantics.is_empty() => "the kernel's".to_owned(),
        "semantics" => point.semantics.clone(),
        "accesses" => point.accesses.map_or_else(|| "all".to_owned(), |n| n.to_string()),
        key => {
            let at = sweep.head.keys.iter().position(|known| known == key)?;
            normal(point.levels.get(at)?)
        }
    })
}

/// A level as one text: whether a column is of whole numbers depends on its other rows.
fn normal(level: &str) -> String {
    level.parse::<f64>().map_or_else(|_| level.to_owned(), |number| number.to_string())
}

/// The values of the points that ran to their end: of one that failed, the kernel may not be known.
fn values(sweep: &SweepResults, name: &str) -> BTreeSet<String> {
    let whole = sweep.points.iter().filter(|point| point.error.is_none());
    whole.filter_map(|point| value(sweep, point, name)).collect()
}

impl<'a> Matched<'a> {
    /// Takes a dimension into the places, or says what was varied.
    fn dimension(&mut self, name: &str, base: &SweepResults, new: &SweepResults) -> Result<(), ReportError> {
        let (before, after) = (values(base, name), values(new, name));
        let has = |sweep: &SweepResults| FIXED.contains(&name) || sweep.head.keys.iter().any(|k| k == name);
        let several = |side: &str| {
            let why = format!("{side} varies `{name}`, the other has no such key");
            Err(refused(base, new, why))
        };
        match (has(base), has(new)) {
            (true, false) if before.len() > 1 => return several("the base"),
            (false, true) if after.len() > 1 => return several("the new one"),
            (true, true) => {
                if let (1, 1, Some(from), Some(to)) =
                    (before.len(), after.len(), before.first(), after.first())
                    && from != to
                {
                    self.varied.push(format!("{name} {from} against {to}"));
                } else {
                    self.keys.push(name.to_owned());
                }
            }
            (one, _) => {
                let (side, level) =
                    if one { ("the base", before.first()) } else { ("the new one", after.first()) };
                let level = level.map_or("unknown", String::as_str);
                self.notes.push(format!("`{name}` is {level} in {side} and no key of the other"));
            }
        }
        Ok(())
    }

    /// The points with their places.
    fn placed(&self, sweep: &'a SweepResults) -> Result<Vec<(Vec<String>, &'a Point)>, ReportError> {
        // Of a point that failed before its kernel was known, the kernel is the only one there is.
        let only = |key: &String| {
            let mut known = values(sweep, key);
            if known.len() == 1 { known.pop_first() } else { None }
        };
        let only: Vec<Option<String>> = self.keys.iter().map(only).collect();
        let mut placed: Vec<(Vec<String>, &Point)> = Vec::new();
        let mut known: BTreeMap<Vec<String>, &str> = BTreeMap::new();
        for point in &sweep.points {
            let of = |(key, only): (&String, &Option<String>)| {
                let found = value(sweep, point, key).filter(|found| !found.is_empty());
                found.or_else(|| only.clone()).unwrap_or_default()
            };
            let place: Vec<String> = self.keys.iter().zip(&only).map(of).collect();
            match known.insert(place.clone(), &point.id) {
                None => placed.push((place, point)),
                Some(id) if id == point.id => {}
                Some(_) => {
                    let why = format!("two points are at {}", place.join(" "));
                    return Err(ReportError::Table { name: sweep.name.clone(), why });
                }
            }
        }
        Ok(placed)
    }

    /// Tells points of both from those of one.
    fn pair(&mut self) {
        let mut after: BTreeMap<&Vec<String>, &'a Point> =
            self.new.iter().map(|(place, point)| (place, *point)).collect();
        let (mut pairs, mut only_base, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for (place, base) in &self.base {
            let short = self.short(place);
            let Some(new) = after.remove(place) else {
                only_base.push(short);
                continue;
            };
            match (base.error.is_some(), new.error.is_some()) {
                (false, false) => pairs.push(Pair { place: place.clone(), short, base, new }),
                (true, true) => failed.push(format!("{short}: in both")),
                (true, false) => failed.push(format!("{short}: in the base")),
                (false, true) => failed.push(format!("{short}: in the new one")),
            }
        }
        let only_new = self.new.iter().filter(|(place, _)| after.contains_key(place));
        let only_new = only_new.map(|(place, _)| self.short(place)).collect();
        (self.pairs, self.only_base, self.only_new, self.failed) = (pairs, only_base, only_new, failed);
    }

    /// What a value of a column of places is called.
    pub fn level(&self, at: usize, value: &str) -> String {
        let names = self.shown.iter().find(|(column, _)| *column == at).map(|(_, names)| names);
        names.and_then(|names| names.get(value)).map_or_else(|| value.to_owned(), Clone::clone)
    }

    /// A place in a few words.
    pub fn short(&self, place: &[String]) -> String {
        let word = |(at, names): &(usize, BTreeMap<String, String>)| {
            let (key, value) = (self.keys.get(*at)?, place.get(*at)?);
            let value = names.get(value).unwrap_or(value);
            Some(if key == "input" { value.clone() } else { format!("{key}={value}") })
        };
        let words: Vec<String> = self.shown.iter().filter_map(word).collect();
        if words.is_empty() { "the only point".to_owned() } else { words.join(" ") }
    }
}

/// The columns of places that have several values, with what each value is called.
fn shown<'a>(
    places: impl Iterator<Item = &'a Vec<String>>,
    keys: &[String],
) -> Vec<(usize, BTreeMap<String, String>)> {
    let places: Vec<&Vec<String>> = places.collect();
    let column =
        |at: usize| -> BTreeSet<&String> { places.iter().filter_map(|place| place.get(at)).collect() };
    let named = |at: usize| {
        let values = column(at);
        let is_input = keys.get(at).is_some_and(|key| key == "input");
        let names = if is_input { without_shared(&values) } else { BTreeMap::new() };
        (values.len() > 1).then_some((at, names))
    };
    (0..keys.len()).filter_map(named).collect()
}

/// Paths without the folders that all begin with and the names that all end with.
pub(super) fn without_shared(paths: &BTreeSet<&String>) -> BTreeMap<String, String> {
    let split: Vec<Vec<&str>> = paths.iter().map(|path| path.split('/').collect()).collect();
    let shortest = split.iter().map(Vec::len).min().unwrap_or(0);
    let all_have = |at: &dyn Fn(&[&str]) -> Option<String>| {
        let mut each = split.iter().map(|parts| at(parts));
        let first = each.next().flatten();
        first.is_some() && each.all(|other| other == first)
    };
    let most = shortest.saturating_sub(1);
    let before =
        (0..most).take_while(|n| all_have(&|parts| parts.get(*n).map(|part| (*part).to_owned()))).count();
    let from_end = |n: usize| {
        move |parts: &[&str]| {
            parts.len().checked_sub(n + 1).and_then(|at| parts.get(at)).map(|p| (*p).to_owned())
        }
    };
    let after = (0..most - before).take_while(|n| all_have(&from_end(*n))).count();
    let middle =
        |parts: &[&str]| parts.get(before..parts.len().saturating_sub(after)).unwrap_or_default().join("/");
    paths.iter().zip(&split).map(|(path, parts)| ((*path).clone(), middle(parts))).collect()
}
