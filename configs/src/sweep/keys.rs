//! What a sweep varies: keys with their levels, listed or in a range.

use crate::fields::Fields;
use crate::study::{problem_of, settings_in};

/// Values of a range that is listed at most.
const MAX_LEVELS: u64 = 100_000;

/// Something that is varied.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// A key of machine or kernel, or a name for several settings.
    pub name: String,
    /// What it is set to.
    pub values: Values,
    /// Whether its levels have costs.
    pub has_cost: bool,
}

/// What a key is set to.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// One of these, in order.
    Listed(Vec<Level>),
    /// Anything between two numbers; only samples can draw from it.
    Range(Range),
}

/// One value of a key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Level {
    /// As it is shown.
    pub text: String,
    /// The settings.
    pub set: Vec<String>,
    /// Of traces of accesses: ranges that map a DAX file.
    pub maps: Vec<String>,
    /// What it costs.
    pub cost: f64,
}

/// Numbers from one to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    /// The key.
    pub key: String,
    /// The least.
    pub from: f64,
    /// The greatest.
    pub to: f64,
    /// Whether factors, and not differences, are spread evenly.
    pub log: bool,
    /// What values are multiples of; with 0, they are any number.
    pub multiple: f64,
    /// Unit that follows the number; empty for none.
    pub unit: String,
}

impl Range {
    /// The level at a place from 0 to 1 in the range.
    #[must_use]
    pub fn at(&self, place: f64) -> Level {
        let exact = if self.log {
            self.from * (self.to / self.from).powf(place)
        } else {
            self.from + (self.to - self.from) * place
        };
        let number =
            if self.multiple > 0.0 { (exact / self.multiple).round() * self.multiple } else { exact };
        self.level(number.clamp(self.from.min(self.to), self.to.max(self.from)))
    }

    fn level(&self, number: f64) -> Level {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        let text = format!("{number}{unit}");
        Level { set: vec![format!("{}={text}", self.key)], text, ..Level::default() }
    }

    /// Some levels spread evenly from the first to the last, without repetition.
    fn levels(&self, steps: u64) -> Vec<Level> {
        let place = |n: u64| if steps > 1 { n as f64 / (steps - 1) as f64 } else { 0.0 };
        let mut levels: Vec<Level> = (0..steps).map(|n| self.at(place(n))).collect();
        levels.dedup();
        levels
    }
}

/// A `[[key]]`.
pub(super) fn key(f: &Fields, is_grid: bool) -> Option<Key> {
    let name = f.text("name", "a key of machine or kernel, or a name for what `set` sets");
    let unit = f.optional_text("unit").unwrap_or_default();
    let costs =
        if f.has("cost") { Some(f.numbers("cost", "a number for each of the values")?) } else { None };
    let has_values = f.has("values");
    let has_range = ["from", "to"].map(|end| f.has(end)) != [false, false];
    if has_values == has_range {
        let found = if has_values { "both" } else { "neither" };
        f.bad("values", found.to_owned(), "either values, or from and to");
        return None;
    }
    let values = if has_values { listed(f, &name?, &unit)? } else { range(f, &name?, &unit, is_grid)? };
    let values = with_costs(f, values, costs.as_deref())?;
    Some(Key { name: f.text("name", "")?, values, has_cost: costs.is_some() })
}

/// `values = [...]`, perhaps with settings for each.
fn listed(f: &Fields, name: &str, unit: &str) -> Option<Values> {
    let expected = "an array of one or more numbers, texts, true or false, no two the same";
    let texts = f.scalars("values", expected)?;
    if texts.is_empty() || texts.iter().enumerate().any(|(at, text)| texts.iter().take(at).any(|t| t == text))
    {
        f.bad("values", "an empty array or the same value twice".to_owned(), expected);
        return None;
    }
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    let texts: Vec<String> = texts.into_iter().map(|text| text + &unit).collect();
    if !f.has("set") && !f.has("maps") {
        let level = |text: &String| Level {
            text: text.clone(),
            set: vec![format!("{name}={text}")],
            ..Level::default()
        };
        let levels: Vec<Level> = texts.iter().map(level).collect();
        settable(f, &levels)?;
        return Some(Values::Listed(levels));
    }
    let of_each = |key: &'static str, read: &dyn Fn() -> Option<Vec<Vec<String>>>| {
        let lists = if f.has(key) { read()? } else { vec![Vec::new(); texts.len()] };
        if lists.len() != texts.len() {
            let expected = format!("as many as there are values, {}", texts.len());
            f.bad(key, format!("{} arrays", lists.len()), &expected);
            return None;
        }
        Some(lists)
    };
    let sets =
        of_each("set", &|| settings_in(f, "set", "an array with an array of settings for each of values"))?;
    let maps = of_each("maps", &|| {
        f.lists_of_texts("maps", "an array with an array of FILE@ADDRESS+LENGTH for each of values")
    })?;
    let level = |((text, set), maps): ((&String, Vec<String>), Vec<String>)| Level {
        text: text.clone(),
        set,
        maps,
        cost: 0.0,
    };
    Some(Values::Listed(texts.iter().zip(sets).zip(maps).map(level).collect()))
}

/// A key that machine or kernel has.
fn settable(f: &Fields, levels: &[Level]) -> Option<()> {
    let wrong = levels.iter().flat_map(|level| &level.set).find_map(|text| problem_of(text));
    if let Some((found, expected)) = wrong {
        f.bad("name", found, &format!("{expected}; or `set` with the settings of each value"));
        return None;
    }
    Some(())
}

/// `from = ..`, `to = ..`, and how the values between lie.
fn range(f: &Fields, name: &str, unit: &str, is_grid: bool) -> Option<Values> {
    const SCALES: [(&str, bool); 2] = [("linear", false), ("log", true)];
    let (from, to) = (f.number("from", "a number"), f.number("to", "a number"));
    let log = f.choice("scale", &SCALES, true);
    let steps = if f.has("steps") { Some(f.count("steps", 0)?) } else { None };
    let (from, to, log) = (from?, to?, log?);
    let is_whole = from.fract() == 0.0 && to.fract() == 0.0;
    let multiple = if f.has("multiple") {
        f.number("multiple", "a number above 0")?
    } else {
        f64::from(u8::from(is_whole))
    };
    if from >= to || log && from <= 0.0 {
        let expected = if log { "two numbers above 0, ascending" } else { "two numbers, ascending" };
        f.bad("to", format!("{from} to {to}"), expected);
        return None;
    }
    if multiple < 0.0 {
        f.bad("multiple", format!("the number {multiple}"), "a number above 0");
        return None;
    }
    let range = Range { key: name.to_owned(), from, to, log, multiple, unit: unit.to_owned() };
    settable(f, &[range.at(0.0)])?;
    match steps {
        Some(steps @ 1..=MAX_LEVELS) => Some(Values::Listed(range.levels(steps))),
        Some(steps) => {
            f.bad("steps", format!("the number {steps}"), "a whole number from 1 to 100000");
            None
        }
        None if is_grid => {
            f.bad(
                "steps",
                "none".to_owned(),
                "steps, the number of values in a full grid; only samples draw from the whole range",
            );
            None
        }
        None => Some(Values::Range(range)),
    }
}

fn with_costs(f: &Fields, values: Values, costs: Option<&[f64]>) -> Option<Values> {
    let Some(costs) = costs else { return Some(values) };
    let Values::Listed(mut levels) = values else {
        f.bad(
            "cost",
            "an array".to_owned(),
            "none for a range without steps; `cost` outside the keys can be an expression of it",
        );
        return None;
    };
    if costs.len() != levels.len() {
        f.bad(
            "cost",
            format!("{} numbers", costs.len()),
            &format!("as many as there are values, {}", levels.len()),
        );
        return None;
    }
    levels.iter_mut().zip(costs).for_each(|(level, cost)| level.cost = *cost);
    Some(Values::Listed(levels))
}
