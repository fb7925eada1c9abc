//! The words of a line, with their columns, and typed access to them.

use std::path::Path;

use super::number::parse_number;
use super::op::Prot;
use crate::TraceError;
use crate::error::quote;

/// A place in a script, to build errors from.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub file: &'a Path,
    pub line: u32,
}

impl Place<'_> {
    pub fn error(self, column: Option<u32>, found: String, expected: impl Into<String>) -> TraceError {
        TraceError::Script {
            file: self.file.to_owned(),
            line: self.line,
            column,
            found,
            expected: expected.into(),
        }
    }
}

/// A word and its column from 1.
#[derive(Clone, Copy)]
pub(super) struct Word<'a> {
    pub text: &'a str,
    pub column: u32,
}

/// The words of one line.
pub(super) struct Words<'a> {
    pub place: Place<'a>,
    rest: std::iter::Peekable<std::vec::IntoIter<Word<'a>>>,
    /// Column behind the last word.
    end: u32,
    /// The form of the operation, for messages about missing or surplus words.
    pub form: &'static str,
}

impl<'a> Words<'a> {
    pub fn new(place: Place<'a>, line: &'a str) -> Self {
        let words: Vec<_> = split(line).collect();
        let end = words.last().map_or(1, |w| w.column + w.text.len() as u32);
        Self { place, rest: words.into_iter().peekable(), end, form: "<thread> <op> <args>" }
    }

    pub fn next_word(&mut self) -> Option<Word<'a>> {
        self.rest.next()
    }

    /// The next word; its absence is an error.
    pub fn word(&mut self, what: &str) -> Result<Word<'a>, TraceError> {
        self.rest.next().ok_or_else(|| {
            let expected = format!("{what}, as in `{}`", self.form);
            self.place.error(Some(self.end), "the end of the line".into(), expected)
        })
    }

    /// Whether there is another word.
    pub fn more(&mut self) -> bool {
        self.rest.peek().is_some()
    }

    /// No more words.
    pub fn end(&mut self) -> Result<(), TraceError> {
        match self.rest.next() {
            None => Ok(()),
            Some(w) => {
                let expected = format!("the end of the line, as in `{}`", self.form);
                Err(self.place.error(Some(w.column), quote(w.text.as_bytes()), expected))
            }
        }
    }

    pub fn number(&mut self, what: &str) -> Result<u64, TraceError> {
        Ok(self.number_at(what)?.0)
    }

    /// A number and its word.
    pub fn number_at(&mut self, what: &str) -> Result<(u64, Word<'a>), TraceError> {
        let w = self.word(what)?;
        Ok((self.number_of(w, w.text, what)?, w))
    }

    /// The number in a part of a word.
    pub fn number_of(&self, w: Word<'_>, text: &str, what: &str) -> Result<u64, TraceError> {
        parse_number(text).map_err(|form| self.bad(w, format!("{what}, a number {form}")))
    }

    /// A number of at most `max`.
    pub fn small(&mut self, what: &str, max: u64) -> Result<u64, TraceError> {
        let (n, w) = self.number_at(what)?;
        if n > max {
            return Err(self.bad(w, format!("{what} of at most {max}")));
        }
        Ok(n)
    }

    pub fn prot(&mut self) -> Result<Prot, TraceError> {
        self.one_of("the access rights", &[("r", Prot::R), ("rw", Prot::RW), ("none", Prot::NONE)])
    }

    /// One of a few words.
    pub fn one_of<T: Copy>(&mut self, what: &str, choices: &[(&str, T)]) -> Result<T, TraceError> {
        let w = self.word(what)?;
        match choices.iter().find(|(name, _)| *name == w.text) {
            Some(&(_, value)) => Ok(value),
            None => {
                let names: Vec<_> = choices.iter().map(|&(name, _)| name).collect();
                Err(self.bad(w, format!("{what}: {}{}", names.join(", "), did_you_mean(w.text, &names))))
            }
        }
    }

    pub fn bad(&self, w: Word<'_>, expected: String) -> TraceError {
        self.place.error(Some(w.column), quote(w.text.as_bytes()), expected)
    }
}

fn split(line: &str) -> impl Iterator<Item = Word<'_>> {
    let mut at = 0;
    line.split_ascii_whitespace().map(move |text| {
        // The words come in order and do not overlap, so each is found behind the one before.
        let start = line.get(at..).and_then(|rest| rest.find(text)).unwrap_or(0) + at;
        at = start + text.len();
        Word { text, column: start as u32 + 1 }
    })
}

/// ` (did you mean ..?)` if a name is near.
pub(super) fn did_you_mean(text: &str, names: &[&str]) -> String {
    let near = names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&text.to_ascii_lowercase(), name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 3 && *distance < name.len())
        .min();
    near.map_or_else(String::new, |(_, name)| format!(" (did you mean `{name}`?)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_know_their_columns() {
        let columns: Vec<_> = split("  ab\tb  ab").map(|w| (w.text, w.column)).collect();
        assert_eq!(columns, [("ab", 3), ("b", 6), ("ab", 9)]);
    }

    #[test]
    fn near_names_are_proposed_and_far_ones_are_not() {
        assert_eq!(did_you_mean("mysnc", &["msync", "map"]), " (did you mean `msync`?)");
        assert_eq!(did_you_mean("MAP", &["msync", "map"]), " (did you mean `map`?)");
        assert_eq!(did_you_mean("quux", &["msync", "map"]), "");
        assert_eq!(did_you_mean("x", &["ld"]), "");
    }
}
