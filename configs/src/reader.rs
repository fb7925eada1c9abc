//! The way of merged entries into a spec, and of a spec into text.

use std::collections::BTreeMap;

use daxsim_types::CpuClock;

use crate::cost::PathLength;
use crate::describe::KeyValue;
use crate::error::{Problem, ProblemKind, nearest};
use crate::kind::{Context, Parsed};
use crate::schema::{Field, KeyDef};
use crate::units;
use crate::value::{Entry, Place, Value, parse_assignment};

/// Merged entries on their way to a spec.
pub(crate) struct Reader<'a> {
    /// Named in the problem of a missing key.
    source: &'a str,
    entries: &'a BTreeMap<String, Entry>,
    parsed: BTreeMap<&'static str, Parsed>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// Checks every entry against `keys`; of a table in `optional` either all keys are there or none.
    pub fn new(
        source: &'a str,
        entries: &'a BTreeMap<String, Entry>,
        keys: &'static [KeyDef],
        optional: &[&str],
    ) -> Self {
        let mut reader = Self { source, entries, parsed: BTreeMap::new(), problems: Vec::new() };
        reader.find_unknown(keys, optional);
        let context = reader.context();
        for (number, def) in (1..).zip(keys) {
            let group = optional.iter().find(|group| is_inside(def.key, group));
            match entries.get(def.key) {
                Some(entry) => match def.kind.parse(&entry.value, &context) {
                    Some(parsed) => drop(reader.parsed.insert(def.key, numbered(parsed, number))),
                    None => reader.bad(def.key, entry.value.to_string(), def.kind.expected()),
                },
                None if group.is_some_and(|group| !entries.keys().any(|key| is_inside(key, group))) => {}
                None if def.default.is_some() => {
                    let given = default_of(def).and_then(|value| def.kind.parse(&value, &context));
                    reader.parsed.extend(given.map(|parsed| (def.key, numbered(parsed, number))));
                }
                None => {
                    let kind = ProblemKind::MissingKey { expected: def.kind.expected() };
                    reader.problems.push(Place::of(source).problem(Some(def.key), kind));
                }
            }
        }
        reader
    }

    fn find_unknown(&mut self, keys: &[KeyDef], optional: &[&str]) {
        for (key, entry) in self.entries {
            if keys.iter().any(|def| def.key == key) || is_absent(entry, optional) {
                continue;
            }
            let members: Vec<&str> = keys.iter().map(|def| def.key).filter(|k| is_inside(k, key)).collect();
            if members.is_empty() {
                let nearest = nearest(key, keys.iter().map(|def| def.key)).to_owned();
                let kind = ProblemKind::UnknownKey { nearest };
                self.problems.push(entry.key_place.problem(Some(key), kind));
            } else if entry.value != Value::Table {
                let example = members.first().copied().unwrap_or_default();
                let expected = format!("a table with keys such as {example}");
                self.bad(key, entry.value.to_string(), expected);
            }
        }
    }

    /// What cycles and media lines are, or a stand-in where the file does not say it rightly.
    fn context(&self) -> Context {
        let text = |key: &str| match self.entries.get(key).map(|e| &e.value) {
            Some(Value::Text(s)) => Some(s.as_str()),
            _ => None,
        };
        Context {
            period_ps: text("cpu.clock").and_then(units::parse_clock).map_or(1000, CpuClock::period_ps),
            media_line: text("pmem.media_line").and_then(units::parse_size).unwrap_or(256).clamp(1, 1 << 20),
        }
    }

    /// The value of `key`, unless it is absent or wrong.
    pub fn get<T: Field>(&self, key: &str) -> Option<T> {
        self.parsed.get(key).and_then(T::from_parsed)
    }

    /// Whether any key of the optional table `group` is there.
    pub fn has(&self, group: &str) -> bool {
        self.entries.keys().any(|key| is_inside(key, group))
    }

    /// Whether the file that is read gives `key` itself, rather than its base or an override.
    pub fn is_own(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.place.source == self.source)
    }

    /// Records a value that cannot be.
    pub fn bad(&mut self, key: &str, found: String, expected: String) {
        let place = self.entries.get(key).map_or_else(|| Place::of(self.source), |e| e.place.clone());
        self.problems.push(place.problem(Some(key), ProblemKind::BadValue { found, expected }));
    }

    /// Every problem so far.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}

/// A path length with the number of its key.
fn numbered(parsed: Parsed, number: u16) -> Parsed {
    match parsed {
        Parsed::Path(path) => Parsed::Path(PathLength { key: number, ..path }),
        other => other,
    }
}

/// The default of a key as a file would give it.
fn default_of(def: &KeyDef) -> Option<Value> {
    parse_assignment("", def.key, def.default?).pop().map(|entry| entry.value)
}

/// Whether `key` lies in the table `table`.
pub(crate) fn is_inside(key: &str, table: &str) -> bool {
    key.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'))
}

/// Whether the entry takes an optional table away: `tlb.dtlb_2m = "absent"`.
pub(crate) fn is_absent(entry: &Entry, optional: &[&str]) -> bool {
    entry.value == Value::Text("absent".to_owned()) && optional.contains(&entry.key.as_str())
}

/// Collects the values of a spec for [`crate::describe_machine`] and [`crate::describe_kernel`].
pub(crate) struct Shown {
    context: Context,
    keys: &'static [KeyDef],
    values: Vec<KeyValue>,
}

impl Shown {
    pub fn new(context: Context, keys: &'static [KeyDef]) -> Self {
        Self { context, keys, values: Vec::with_capacity(keys.len()) }
    }

    pub fn put<T: Field>(&mut self, key: &'static str, value: &T) {
        if let Some(def) = self.keys.iter().find(|def| def.key == key) {
            let (value, quoted) = def.kind.show(&value.to_parsed(), &self.context);
            self.values.push(KeyValue { key, value, accepts: def.kind.expected(), doc: def.doc, quoted });
        }
    }

    pub fn into_values(self) -> Vec<KeyValue> {
        self.values
    }
}
