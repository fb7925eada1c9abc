//! What is known of the points of a sweep, from the journals of all workers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::journal::{self, Entry, Outcome};
use crate::inputs;

/// The folder of the journals in that of a sweep.
pub const FOLDER: &str = "journal";

/// What is known.
#[derive(Default)]
pub struct Store {
    folder: PathBuf,
    /// The hash of this program's bytes.
    program: String,
    /// Journals of this program.
    own: BTreeSet<PathBuf>,
    /// Journals of other programs: what they hold may not be what this one would get.
    foreign: BTreeSet<PathBuf>,
    /// How far each journal was read.
    read: BTreeMap<PathBuf, u64>,
    finished: BTreeMap<String, Outcome>,
    /// Points that were begun, by journal, and not finished in it.
    begun: BTreeMap<PathBuf, BTreeSet<String>>,
    /// Points with different results.
    conflicts: BTreeSet<String>,
    /// Bytes that are no whole frame.
    damaged: u64,
}

impl Store {
    /// Reads the journals of a sweep.
    pub fn open(out: &Path) -> Result<Self> {
        Self::of_program(out, program()?)
    }

    fn of_program(out: &Path, program: String) -> Result<Self> {
        let mut store = Self { folder: out.join(FOLDER), program, ..Self::default() };
        store.refresh()?;
        Ok(store)
    }

    /// The hash of this program's bytes.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// How many journals are of other programs.
    pub fn foreign(&self) -> usize {
        self.foreign.len()
    }

    /// Reads what was appended since.
    pub fn refresh(&mut self) -> Result<()> {
        let failed = || format!("{}: the journals cannot be read", self.folder.display());
        for path in journal::list(&self.folder).with_context(failed)? {
            let from = self.read.get(&path).copied().unwrap_or(0);
            let part = journal::read(&path, from)
                .with_context(|| format!("{}: the journal cannot be read", path.display()))?;
            self.damaged += part.damaged;
            for entry in part.entries {
                self.take(&path, entry);
            }
            self.read.insert(path, part.end);
        }
        Ok(())
    }

    fn take(&mut self, path: &Path, entry: Entry) {
        if let Entry::Program(hash) = &entry {
            let list = if *hash == self.program { &mut self.own } else { &mut self.foreign };
            list.insert(path.to_owned());
        }
        if !self.own.contains(path) {
            return;
        }
        let begun = self.begun.entry(path.to_owned()).or_default();
        let (id, outcome) = match entry {
            Entry::Program(_) => return,
            Entry::Begun(id) => {
                begun.insert(id);
                return;
            }
            Entry::Finished(id, outcome) => (id, outcome),
        };
        begun.remove(&id);
        match (self.finished.get(&id), &outcome) {
            (Some(Ok(before)), Ok(now)) if before != now => {
                self.conflicts.insert(id);
            }
            // A result is one, whatever went wrong at another time.
            (Some(Ok(_)), _) => {}
            _ => {
                self.finished.insert(id, outcome);
            }
        }
    }

    /// What a point came out as.
    pub fn outcome(&self, id: &str) -> Option<&Outcome> {
        self.finished.get(id)
    }

    /// Whether a point has a result.
    pub fn has_result(&self, id: &str) -> bool {
        matches!(self.finished.get(id), Some(Ok(_)))
    }

    /// Forgets failures: they are tried again.
    pub fn forget_failures(&mut self) {
        self.finished.retain(|_, outcome| outcome.is_ok());
    }

    /// Points in which a worker died: one may have taken it along.
    pub fn suspects(&self) -> BTreeSet<String> {
        let abandoned = self.begun.iter().filter(|(_, ids)| !ids.is_empty());
        let abandoned = abandoned.filter(|(path, _)| journal::is_abandoned(path));
        abandoned.flat_map(|(_, ids)| ids).filter(|id| !self.has_result(id)).cloned().collect()
    }

    /// Whether others are at work.
    pub fn others(&self, own: &Path) -> bool {
        self.read.keys().any(|path| path != own && !journal::is_abandoned(path))
    }

    /// Points of which two runs disagree.
    pub fn conflicts(&self) -> &BTreeSet<String> {
        &self.conflicts
    }

    /// Bytes of journals that are no whole frame.
    pub const fn damaged(&self) -> u64 {
        self.damaged
    }
}

/// The hash of this program's bytes: results of another build are not taken for its own.
fn program() -> Result<String> {
    let path = std::env::current_exe().context("the program does not find itself")?;
    Ok(inputs::provenance(&path, "program")?.sha256)
}

#[cfg(test)]
mod tests {
    use super::super::journal::Journal;
    use super::*;

    #[test]
    fn the_journals_of_all_workers_are_one_store() {
        let out = tempfile::tempdir().unwrap();
        let folder = out.path().join(FOLDER);
        let (mut one, mut other) =
            (Journal::create(&folder, "p").unwrap(), Journal::create(&folder, "p").unwrap());
        let mut foreign = Journal::create(&folder, "another").unwrap();
        let done = |id: &str, n: f64| Entry::Finished(id.to_owned(), Ok(vec![Some(n)]));
        let failed = |id: &str| Entry::Finished(id.to_owned(), Err("no".to_owned()));
        for entry in [Entry::Begun("a".into()), done("a", 1.0), Entry::Begun("b".into()), failed("c")] {
            one.append(&entry).unwrap();
        }
        foreign.append(&done("b", 7.0)).unwrap();
        let mut store = Store::of_program(out.path(), "p".to_owned()).unwrap();
        assert_eq!(store.foreign(), 1);
        assert_eq!(store.outcome("a"), Some(&Ok(vec![Some(1.0)])));
        assert_eq!((store.has_result("b"), store.has_result("c")), (false, false));
        assert!(store.suspects().is_empty(), "its worker lives");
        assert!(store.others(other.path()) && store.conflicts().is_empty());
        drop(one);
        assert_eq!(store.suspects().into_iter().collect::<Vec<_>>(), ["b"]);
        for entry in [done("a", 1.0), done("b", 2.0), done("c", 3.0)] {
            other.append(&entry).unwrap();
        }
        store.refresh().unwrap();
        assert!(store.suspects().is_empty() && store.conflicts().is_empty());
        assert!(["a", "b", "c"].iter().all(|id| store.has_result(id)));
        other.append(&done("b", 2.5)).unwrap();
        store.refresh().unwrap();
        assert_eq!(store.conflicts().iter().collect::<Vec<_>>(), ["b"]);
    }
}
