//! Journals: what workers append while they run, in frames that are there as a whole or not at all.
//!
//! A frame is a mark, the length of its contents, their CRC-32 and the contents, one JSON object. Each worker has a file of its
//! own, which it holds locked as long as it lives; nobody else writes to it. A frame is written by one call. A worker that is killed
//! leaves a torn frame at the end at most, which readers pass over. The file is synced every five seconds and at the end: what was
//! written before a loss of power can be missing by that much, and is run again.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::progress::now;

/// Begin of every frame.
const MARK: [u8; 4] = *b"\xffDJ1";
/// Mark, length, CRC.
const HEAD: usize = 12;
/// Contents of a frame at most.
const MOST: usize = 16 << 20;
/// How long what was written may be lost to a loss of power.
const SYNC: Duration = Duration::from_secs(5);
/// How names of journals end.
const ENDING: &str = ".journal";

/// What a point came out as: its metrics, or why it failed.
pub type Outcome = Result<Vec<Option<f64>>, String>;

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// The program that writes the journal, by the hash of its bytes: the first entry.
    Program(String),
    /// A worker began with a point.
    Begun(String),
    /// A point is finished.
    Finished(String, Outcome),
}

impl Entry {
    /// Numbers are texts: they come back to the last bit.
    fn contents(&self) -> String {
        let text = |number: &Option<f64>| number.map(|n| n.to_string());
        match self {
            Self::Program(hash) => json!({ "program": hash }),
            Self::Begun(id) => json!({ "begun": id }),
            Self::Finished(id, Ok(metrics)) => {
                json!({ "id": id, "metrics": metrics.iter().map(text).collect::<Vec<_>>() })
            }
            Self::Finished(id, Err(error)) => json!({ "id": id, "error": error }),
        }
        .to_string()
    }

    fn of(contents: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(contents).ok()?;
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        if let Some(hash) = text("program") {
            return Some(Self::Program(hash));
        }
        if let Some(id) = text("begun") {
            return Some(Self::Begun(id));
        }
        let id = text("id")?;
        if let Some(error) = text("error") {
            return Some(Self::Finished(id, Err(error)));
        }
        let number = |value: &Value| match value {
            Value::Null => Some(None),
            other => other.as_str()?.parse().ok().map(Some),
        };
        let metrics = value.get("metrics")?.as_array()?.iter().map(number).collect::<Option<Vec<_>>>()?;
        Some(Self::Finished(id, Ok(metrics)))
    }

    fn frame(&self) -> Vec<u8> {
        let contents = self.contents().into_bytes();
        let length = u32::try_from(contents.len()).unwrap_or(u32::MAX);
        let mut frame = Vec::with_capacity(HEAD + contents.len());
        frame.extend_from_slice(&MARK);
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&crc32fast::hash(&contents).to_le_bytes());
        frame.extend_from_slice(&contents);
        frame
    }
}

/// The journal of this worker.
pub struct Journal {
    file: File,
    path: PathBuf,
    synced: Instant,
}

impl Journal {
    /// A new one of a program in a folder, under a name that no other has.
    pub fn create(folder: &Path, program: &str) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix("worker-").suffix(ENDING).rand_bytes(12);
        let (file, path) = builder.tempfile_in(folder)?.keep().map_err(|error| error.error)?;
        // Without locks nobody can tell that a worker died; points are run again all the same.
        let _ = file.lock();
        let mut journal = Self { file, path, synced: now() };
        journal.append(&Entry::Program(program.to_owned()))?;
        Ok(journal)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds an entry.
    pub fn append(&mut self, entry: &Entry) -> io::Result<()> {
        self.file.write_all(&entry.frame())?;
        if self.synced.elapsed() >= SYNC {
            self.sync()?;
        }
        Ok(())
    }

    /// Makes what was written safe against a loss of power.
    pub fn sync(&mut self) -> io::Result<()> {
        self.synced = now();
        self.file.sync_data()
    }
}

/// What a journal says from an offset on.
#[derive(Debug, Default, PartialEq)]
pub struct Part {
    /// Whole entries, in order.
    pub entries: Vec<Entry>,
    /// Where the next frame will begin.
    pub end: u64,
    /// Bytes before that which are no whole frame.
    pub damaged: u64,
}

/// Reads a journal from an offset on.
pub fn read(path: &Path, from: u64) -> io::Result<Part> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let mut part = parse(&bytes);
    part.end += from;
    Ok(part)
}

/// The whole frames of some bytes. What is damaged is passed over if whole frames follow.
fn parse(bytes: &[u8]) -> Part {
    let mut part = Part::default();
    let mut at = 0;
    while at < bytes.len() {
        if let Some((entry, length)) = frame_at(bytes, at) {
            part.damaged += (at as u64) - part.end;
            part.entries.push(entry);
            at += length;
            part.end = at as u64;
        } else {
            let rest = bytes.get(at + 1..).unwrap_or_default();
            let next = rest.windows(MARK.len()).position(|window| window == MARK);
            let Some(next) = next else { break };
            at += 1 + next;
        }
    }
    part
}

/// The frame that begins at an offset, with its length.
fn frame_at(bytes: &[u8], at: usize) -> Option<(Entry, usize)> {
    let head = bytes.get(at..at + HEAD)?;
    let number = |from: usize| Some(u32::from_le_bytes(head.get(from..from + 4)?.try_into().ok()?));
    let (length, crc) = (number(4)? as usize, number(8)?);
    if !head.starts_with(&MARK) || length > MOST {
        return None;
    }
    let contents = bytes.get(at + HEAD..at + HEAD + length)?;
    if crc32fast::hash(contents) != crc {
        return None;
    }
    Some((Entry::of(contents)?, HEAD + length))
}

/// The journals of a folder, in order of their names; none if there is no such folder.
pub fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(ENDING) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Whether the worker of a journal is known to be gone.
pub fn is_abandoned(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    match file.try_lock_shared() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        vec![
            Entry::Begun("a".to_owned()),
            Entry::Finished("a".to_owned(), Ok(vec![Some(0.1 + 0.2), None, Some(-1e300), Some(3.0)])),
            Entry::Finished("b".to_owned(), Err("no \"such\" file\nat all".to_owned())),
        ]
    }

    #[test]
    fn what_was_appended_comes_back_to_the_last_bit() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(folder.path(), "p").unwrap();
        entries().iter().for_each(|entry| journal.append(entry).unwrap());
        let part = read(journal.path(), 0).unwrap();
        let all: Vec<Entry> = [Entry::Program("p".to_owned())].into_iter().chain(entries()).collect();
        assert_eq!((part.entries, part.damaged), (all, 0));
        assert_eq!(part.end, std::fs::metadata(journal.path()).unwrap().len());
        journal.append(&Entry::Begun("c".to_owned())).unwrap();
        assert_eq!(read(journal.path(), part.end).unwrap().entries, [Entry::Begun("c".to_owned())]);
        assert_eq!(list(folder.path()).unwrap(), [journal.path()]);
    }

    #[test]
    fn a_journal_cut_anywhere_has_every_whole_entry_before_the_cut() {
        let frames: Vec<Vec<u8>> = entries().iter().map(Entry::frame).collect();
        let bytes = frames.concat();
        for cut in 0..=bytes.len() {
            let mut end = 0;
            let whole = frames.iter().take_while(|frame| {
                end += frame.len();
                end <= cut
            });
            let part = parse(&bytes[..cut]);
            assert_eq!(part.entries, entries()[..whole.count()], "cut at {cut}");
        }
    }

    #[test]
    fn a_damaged_frame_is_passed_over() {
        let frames: Vec<Vec<u8>> = entries().iter().map(Entry::frame).collect();
        let bytes = frames.concat();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x20;
            let part = parse(&damaged);
            let (mut end, mut hit) = (0, 0);
            for (n, frame) in frames.iter().enumerate() {
                if (end..end + frame.len()).contains(&at) {
                    hit = n;
                }
                end += frame.len();
            }
            let mut left = entries();
            left.remove(hit);
            assert_eq!(part.entries, left, "byte {at}");
        }
    }

    #[test]
    fn a_journal_is_abandoned_when_its_worker_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::create(folder.path(), "p").unwrap();
        let path = journal.path().to_owned();
        assert!(!is_abandoned(&path));
        drop(journal);
        assert!(is_abandoned(&path));
    }
}
