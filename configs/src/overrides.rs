//! `--set KEY=VALUE`.

use std::fmt;
use std::str::FromStr;

use crate::error::{ConfigError, Problem, ProblemKind, nearest};
use crate::schema::KeyDef;
use crate::value::{Entry, Place, is_bare, parse_assignment};
use crate::{kernel_keys, machine_keys};

/// One `KEY=VALUE`: wins over every file.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    text: String,
    key: String,
    entries: Vec<Entry>,
}

impl Override {
    /// Takes `tlb.stlb.entries=2048` apart.
    ///
    /// The value is read as TOML (`2048`, `true`, `"14 cycles"`), or where it is none as a bare string
    /// (`14 cycles`, `lru`). Whether the key exists and the value fits is checked where it is applied.
    ///
    /// # Errors
    ///
    /// If there is no `=`, no value, or no dotted key before it.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let source = format!("--set {}", text.trim());
        let wrong = |what: &str| {
            ConfigError::from(Place::of(&source).problem(None, ProblemKind::Override(what.to_owned())))
        };
        let (key, value) = text.split_once('=').ok_or_else(|| wrong("no `=`"))?;
        let (key, value) = (key.trim(), value.trim());
        if !key.split('.').all(|segment| !segment.is_empty() && segment.chars().all(is_bare)) {
            return Err(wrong("no dotted key before `=`"));
        }
        if value.is_empty() {
            return Err(wrong("no value after `=`"));
        }
        let entries = parse_assignment(&source, key, value);
        Ok(Self { text: text.trim().to_owned(), key: key.to_owned(), entries })
    }

    /// The dotted key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is wrong if only a file can give the key.
    pub(crate) fn file_only(&self) -> Option<Problem> {
        let place = Place::of(&format!("--set {}", self.text));
        matches!(self.key.as_str(), "base" | "description")
            .then(|| place.problem(Some(&self.key), ProblemKind::FileOnly))
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Override {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        Self::parse(text)
    }
}

/// Deals overrides out to the machine (first) and the kernel (second) by their keys, which form one
/// namespace.
///
/// # Errors
///
/// A key that neither has, with the nearest valid one.
pub fn split_overrides(overrides: &[Override]) -> Result<(Vec<Override>, Vec<Override>), ConfigError> {
    let (machine_keys, kernel_keys) = (machine_keys(), kernel_keys());
    let (mut machine, mut kernel, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for item in overrides {
        if names_part_of(machine_keys, &item.key) {
            machine.push(item.clone());
        } else if names_part_of(kernel_keys, &item.key) {
            kernel.push(item.clone());
        } else if let Some(problem) = item.file_only() {
            problems.push(problem);
        } else {
            let all = machine_keys.iter().chain(kernel_keys).filter(|k| k.overridable()).map(|k| k.key);
            let nearest = nearest(&item.key, all).to_owned();
            let place = Place::of(&format!("--set {}", item.text));
            problems.push(place.problem(Some(&item.key), ProblemKind::UnknownKey { nearest }));
        }
    }
    if problems.is_empty() { Ok((machine, kernel)) } else { Err(ConfigError::new(problems)) }
}

/// Whether `key` is a key of `keys` or a table that holds some.
fn names_part_of(keys: &[KeyDef], key: &str) -> bool {
    keys.iter().any(|def| {
        def.overridable()
            && def.key.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}
