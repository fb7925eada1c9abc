//! What is wrong with a configuration, where, and what would have been right.

use std::fmt;

use thiserror::Error;

/// Most problems that one [`ConfigError`] prints.
pub const MAX_PROBLEMS: usize = 20;

/// Everything that is wrong with a configuration: at least one [`Problem`], one line each.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(crate) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|p| (p.line.is_none(), p.source_name.clone(), p.line, p.column));
        Self { problems }
    }

    /// The problems, by file and position; those without a position are last.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self::new(vec![problem])
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().take(MAX_PROBLEMS).enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        match self.problems.len().saturating_sub(MAX_PROBLEMS) {
            0 => Ok(()),
            1 => f.write_str("\n... and 1 more problem"),
            more => write!(f, "\n... and {more} more problems"),
        }
    }
}

/// One thing that is wrong, printed as `file:line:column: key: what`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, `--set KEY=VALUE`, or nothing where no source is to blame.
    pub source_name: String,
    /// Line, from 1.
    pub line: Option<u32>,
    /// Column in characters, from 1.
    pub column: Option<u32>,
    /// Full dotted key.
    pub key: Option<String>,
    /// What is wrong.
    pub kind: ProblemKind,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::with_capacity(4);
        if !self.source_name.is_empty() {
            let mut place = self.source_name.clone();
            for n in [self.line, self.column].into_iter().flatten() {
                place.push_str(&format!(":{n}"));
            }
            parts.push(place);
        }
        parts.extend(self.key.clone());
        parts.push(self.kind.to_string());
        f.write_str(&parts.join(": "))
    }
}

/// The ways in which a configuration can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProblemKind {
    /// The text is not TOML.
    #[error("invalid TOML: {0}")]
    Syntax(String),
    /// No such key.
    #[error("unknown key: the nearest valid key is `{nearest}`")]
    UnknownKey {
        /// The valid key that looks most like it.
        nearest: String,
    },
    /// `--set` gives `base` or `description`.
    #[error("only a file can give this key")]
    FileOnly,
    /// A key that must be given is not.
    #[error("missing key: expected {expected}")]
    MissingKey {
        /// What its value would be.
        expected: String,
    },
    /// A value of the wrong type, in the wrong unit, out of range or impossible beside the others.
    #[error("{found}: expected {expected}")]
    BadValue {
        /// What the file says.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A file could not be read.
    #[error("cannot read the file: {0}")]
    Unreadable(String),
    /// Neither a builtin nor a file.
    #[error(
        "unknown {what} `{name}`: did you mean `{nearest}`? builtin {}: {all}; or give a path to a .toml file",
        plural(what)
    )]
    UnknownName {
        /// `machine` or `kernel`.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// The builtin whose name looks most like it.
        nearest: String,
        /// Every builtin.
        all: String,
    },
    /// A configuration inherits from itself.
    #[error("inheritance cycle: {0}")]
    Cycle(String),
    /// An override is not of the form `KEY=VALUE`.
    #[error("{0}: expected KEY=VALUE, such as tlb.stlb.entries=2048")]
    Override(String),
}

/// The candidate that looks most like `name`, or like what it would be if typed to its end; the first of equals.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> &'a str {
    let name: String = name.chars().take(80).collect();
    let typed = name.chars().count();
    let distance = |candidate: &&str| {
        let whole = strsim::damerau_levenshtein(&name, candidate);
        let begin: String = candidate.chars().take(typed).collect();
        (whole.min(strsim::damerau_levenshtein(&name, &begin)), whole)
    };
    candidates.into_iter().min_by_key(distance).unwrap_or_default()
}

/// `machines`, `studies`; `semantics` stays as it is.
fn plural(what: &str) -> String {
    match what.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if what.ends_with('s') => what.to_owned(),
        None => format!("{what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_name_begun_or_misspelt_is_recognised() {
        let machines = ["skylake-sp-optane", "qemu-tcg"];
        for (name, expected) in [
            ("skylake", "skylake-sp-optane"),
            ("skylke", "skylake-sp-optane"),
            ("qemu", "qemu-tcg"),
            ("qmeu-tcg", "qemu-tcg"),
        ] {
            assert_eq!(nearest(name, machines), expected, "{name}");
        }
        assert_eq!(nearest("linux-7", ["linux-6.12", "linux-7.2", "dax-patch-v1"]), "linux-7.2");
    }
}
