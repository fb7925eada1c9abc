//! The keys of one table: taken by name and kind, and what is left over is unknown.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::error::{Problem, ProblemKind, nearest};
use crate::units;
use crate::value::{Entry, Place, Value};

/// Keys of a table with the defaults of its file below them.
pub(crate) struct Fields {
    place: Place,
    entries: BTreeMap<String, Entry>,
    asked: RefCell<Vec<&'static str>>,
    problems: RefCell<Vec<Problem>>,
}

impl Fields {
    pub(crate) fn new(place: Place, defaults: &[Entry], own: Vec<Entry>) -> Self {
        let entries = defaults.iter().cloned().chain(own).map(|entry| (entry.key.clone(), entry)).collect();
        Self { place, entries, asked: RefCell::default(), problems: RefCell::default() }
    }

    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    /// Where a key is, or the table if it is not there.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        self.entries.get(key).map_or(&self.place, |entry| &entry.place).clone()
    }

    /// The keys that were asked for.
    pub(crate) fn asked(&self) -> Vec<&'static str> {
        self.asked.borrow().clone()
    }

    fn entry(&self, key: &'static str) -> Option<&Entry> {
        self.asked.borrow_mut().push(key);
        self.entries.get(key)
    }

    pub(crate) fn has(&self, key: &'static str) -> bool {
        self.entry(key).is_some()
    }

    /// Records a value that cannot be.
    pub(crate) fn bad(&self, key: &'static str, found: String, expected: &str) {
        let place = self.entries.get(key).map_or(&self.place, |entry| &entry.place);
        let kind = ProblemKind::BadValue { found, expected: expected.to_owned() };
        self.problems.borrow_mut().push(place.problem(Some(key), kind));
    }

    /// The value of a key, if it is there and `read` can read it; a problem is recorded if it is there and cannot be.
    fn optional<T>(
        &self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = &self.entry(key)?.value;
        let read = read(value);
        if read.is_none() {
            self.bad(key, value.to_string(), expected);
        }
        read
    }

    /// As [`Self::optional`], and that it is missing is a problem, too.
    fn required<T>(
        &self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        if !self.has(key) {
            let kind = ProblemKind::MissingKey { expected: expected.to_owned() };
            self.problems.borrow_mut().push(self.place.problem(Some(key), kind));
        }
        self.optional(key, expected, read)
    }

    pub(crate) fn text(&self, key: &'static str, expected: &str) -> Option<String> {
        self.required(key, expected, text)
    }

    pub(crate) fn optional_text(&self, key: &'static str) -> Option<String> {
        self.optional(key, "text", text)
    }

    pub(crate) fn texts(&self, key: &'static str, expected: &str) -> Option<Vec<String>> {
        self.required(key, expected, texts)
    }

    /// None are an empty list.
    pub(crate) fn optional_texts(&self, key: &'static str, expected: &str) -> Vec<String> {
        self.optional(key, expected, texts).unwrap_or_default()
    }

    pub(crate) fn number(&self, key: &'static str, expected: &str) -> Option<f64> {
        self.required(key, expected, number)
    }

    /// One number or several.
    pub(crate) fn numbers(&self, key: &'static str, expected: &str) -> Option<Vec<f64>> {
        self.required(key, expected, numbers)
    }

    /// A whole number; `default` if it is missing.
    pub(crate) fn count(&self, key: &'static str, default: u64) -> Option<u64> {
        if !self.has(key) {
            return Some(default);
        }
        self.optional(key, "a whole number, 0 or more", |value| match value {
            Value::Integer(n) => u64::try_from(*n).ok(),
            _ => None,
        })
    }

    /// Whether something is so; not, if it is missing.
    pub(crate) fn flag(&self, key: &'static str) -> Option<bool> {
        if !self.has(key) {
            return Some(false);
        }
        self.optional(key, "true or false", |value| match value {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    /// A size with its unit; `default` if it is missing.
    pub(crate) fn size(&self, key: &'static str, default: u64) -> Option<u64> {
        if !self.has(key) {
            return Some(default);
        }
        let expected = "a size above 0 with its unit (B, KiB, MiB, GiB), such as \"4 KiB\"";
        self.optional(key, expected, |value| match value {
            Value::Text(text) => units::parse_size(text).filter(|bytes| *bytes > 0),
            _ => None,
        })
    }

    /// One of several words; the first if it is missing and `optional`.
    pub(crate) fn choice<T: Copy>(
        &self,
        key: &'static str,
        names: &[(&str, T)],
        optional: bool,
    ) -> Option<T> {
        let all: Vec<String> = names.iter().map(|(name, _)| format!("{name:?}")).collect();
        let expected = format!("one of {}", all.join(", "));
        if optional && !self.has(key) {
            return names.first().map(|(_, value)| *value);
        }
        self.required(key, &expected, |value| {
            let Value::Text(text) = value else { return None };
            names.iter().find(|(name, _)| name == text).map(|(_, value)| *value)
        })
    }

    /// Numbers, texts, `true` and `false` in an array, as `--set` takes them.
    pub(crate) fn scalars(&self, key: &'static str, expected: &str) -> Option<Vec<String>> {
        self.required(key, expected, |value| match value {
            Value::Array(items) => items.iter().map(scalar).collect(),
            _ => None,
        })
    }

    /// Arrays of texts in an array.
    pub(crate) fn lists_of_texts(&self, key: &'static str, expected: &str) -> Option<Vec<Vec<String>>> {
        self.required(key, expected, |value| match value {
            Value::Array(lists) => lists.iter().map(texts).collect(),
            _ => None,
        })
    }

    /// Everything that was wrong with the keys that were asked for.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    /// Everything that was wrong. A key that nobody asked for is unknown, unless it is a default of the whole file.
    pub(crate) fn finish(self, defaults: &[Entry]) -> Vec<Problem> {
        let asked = self.asked.into_inner();
        let mut problems = self.problems.into_inner();
        for entry in self.entries.values() {
            let is_default = defaults.iter().any(|default| default == entry);
            if !asked.contains(&entry.key.as_str()) && !is_default {
                let nearest = nearest(&entry.key, asked.iter().copied()).to_owned();
                problems.push(entry.key_place.problem(Some(&entry.key), ProblemKind::UnknownKey { nearest }));
            }
        }
        problems
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Integer(n) => Some(n.to_string()),
        Value::Float(n) if n.is_finite() => Some(n.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        other => text(other),
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(items) => items.iter().map(text).collect(),
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(n) => Some(*n as f64),
        Value::Float(n) if n.is_finite() => Some(*n),
        _ => None,
    }
}

fn numbers(value: &Value) -> Option<Vec<f64>> {
    match value {
        Value::Array(items) if !items.is_empty() => items.iter().map(number).collect(),
        Value::Array(_) => None,
        one => number(one).map(|n| vec![n]),
    }
}
