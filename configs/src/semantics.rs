//! The DAX insert semantics: complete tables of `[dax]` knobs that a kernel names by `semantics = "..."`.
//!
//! A kernel file says what belongs to the tree, `semantics/*.toml` what the DAX series changed, so that either can be
//! exchanged alone. Text for a semantics is the name of a builtin or a path, and after it any number of
//! `+KNOB@NAME`: that knob as in semantics NAME. `merged+upgrade_sets_d_4k@pre-series` is the merged code with the one
//! difference that the upgrade sets D as before the series.

use std::collections::BTreeMap;
use std::path::Path;

use crate::builtin;
use crate::describe::{KeyValue, describe_kernel};
use crate::error::{ConfigError, ProblemKind, nearest};
use crate::kernel::KernelSpec;
use crate::load::{Category, Document, gather};
use crate::reader::is_inside;
use crate::value::{Entry, Place, Value};

/// The key of a kernel file, and of `--set`, that names the semantics.
pub(crate) const KEY: &str = "semantics";

const SEMANTICS: Category =
    Category { what: "semantics", folder: "semantics", builtins: builtin::semantics_files, optional: || &[] };

/// The knobs that `entry` (`semantics = TEXT`) stands for; paths in it are relative to `folder`.
pub(crate) fn layer(entry: &Entry, folder: &Path) -> Result<Vec<Entry>, ConfigError> {
    let wrong = |found: String| {
        let expected = "the name of a builtin semantics or a path, then any +KNOB@NAME".to_owned();
        ConfigError::from(entry.place.problem(Some(KEY), ProblemKind::BadValue { found, expected }))
    };
    let Value::Text(text) = &entry.value else { return Err(wrong(entry.value.to_string())) };
    let (name, mut rest) = split_name(text, folder);
    let mut knobs = table(entry, name, folder)?;
    while let Some(text) = rest {
        let Some((knob, text)) = text.split_once('@') else { return Err(wrong(format!("{text:?}, no @"))) };
        let (other, more) = split_name(text, folder);
        rest = more;
        let key = format!("dax.{knob}");
        let mut other = table(entry, other, folder)?;
        let Some(value) = other.remove(&key) else {
            let near = nearest(&key, knobs.keys().map(String::as_str));
            let near = near.trim_start_matches("dax.");
            return Err(wrong(format!("no knob {knob:?}, did you mean {near:?}?")));
        };
        knobs.insert(key, value);
    }
    Ok(knobs.into_values().collect())
}

/// The name that `text` begins with, and what follows its `+`. A `+` in the path of a file that is there belongs to it.
fn split_name<'t>(text: &'t str, folder: &Path) -> (&'t str, Option<&'t str>) {
    let mut splits =
        text.match_indices('+').filter_map(|(at, _)| text.split_at_checked(at)).chain([(text, "")]);
    let of_file = splits.clone().rfind(|(name, _)| folder.join(name).is_file());
    let (name, rest) = of_file.or_else(|| splits.next()).unwrap_or((text, ""));
    (name, rest.strip_prefix('+'))
}

/// The knobs of one named semantics, by full key.
fn table(entry: &Entry, name: &str, folder: &Path) -> Result<BTreeMap<String, Entry>, ConfigError> {
    let mut knobs = BTreeMap::new();
    for entry in entries(&entry.place, name, folder)? {
        if is_inside(&entry.key, "dax") {
            knobs.insert(entry.key.clone(), entry);
        } else if entry.key != "description" {
            let expected = "a key of [dax]: a semantics holds nothing else".to_owned();
            let found = format!("the key {:?}", entry.key);
            return Err(entry.key_place.problem(None, ProblemKind::BadValue { found, expected }).into());
        }
    }
    Ok(knobs)
}

/// The one-line description of a builtin semantics.
pub(crate) fn description(name: &str) -> Result<String, ConfigError> {
    let entries = entries(&Place::of(name), name, Path::new(""))?;
    Ok(match entries.into_iter().rfind(|e| e.key == "description").map(|e| e.value) {
        Some(Value::Text(text)) => text,
        _ => String::new(),
    })
}

/// What the document `name` and its bases say, the bases first; `place` asked for it.
fn entries(place: &Place, name: &str, folder: &Path) -> Result<Vec<Entry>, ConfigError> {
    let unknown = |kind| ConfigError::from(place.problem(Some(KEY), kind));
    let document = Document::find_from(&SEMANTICS, name, folder).map_err(unknown)?.map_err(|p| *p)?;
    let mut layers = Vec::new();
    gather(&SEMANTICS, &document, &mut Vec::new(), &mut layers)?;
    Ok(layers.concat())
}

/// A knob that two semantics set differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnobDifference {
    /// The knob, without `dax.`.
    pub knob: &'static str,
    /// Its value in the first.
    pub from: String,
    /// Its value in the second.
    pub to: String,
    /// What it means.
    pub doc: &'static str,
}

/// The `[dax]` knobs that `from` and `to` set differently, in the order of the documentation.
#[must_use]
pub fn knob_differences(from: &KernelSpec, to: &KernelSpec) -> Vec<KnobDifference> {
    let knobs = |spec| -> Vec<KeyValue> { describe_kernel(spec) };
    let pairs = knobs(from).into_iter().zip(knobs(to));
    pairs
        .filter_map(|(a, b)| {
            let knob = a.key.strip_prefix("dax.")?;
            (a.value != b.value).then_some(KnobDifference { knob, from: a.value, to: b.value, doc: a.doc })
        })
        .collect()
}
