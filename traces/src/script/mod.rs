//! The workload language: one line is `<thread> <op> <args>`.
//!
//! ```
//! use daxsim_traces::script::{Op, Script};
//! let text = "0 file 0 f0 64k fill\n0 map 0 0 0 64k rw shared 0x100000000000\n0 st 0 4096\n";
//! let script = Script::parse(text, "example".as_ref())?;
//! assert_eq!(script.line_count(), 3);
//! assert_eq!(script.lines().last().map(|l| &l.op), Some(&Op::Store { map: 0, off: 4096 }));
//! # Ok::<(), daxsim_traces::TraceError>(())
//! ```

mod args;
mod check;
pub mod marks;
mod number;
mod op;
mod parse;
#[cfg(test)]
mod tests;

pub use number::parse_number;
pub use op::{Advice, FallocMode, Fence, FileMake, LineFlush, ListedAccess, MapShare, Op, Prot, RemapTo};

use std::path::Path;

use crate::TraceError;

/// How a thread waits for its next line while other threads run theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WaitMode {
    /// In user mode, with `pause`: the CPU stays in the address space and gets its shootdowns.
    #[default]
    Spin,
    /// In the kernel, on a futex: the CPU goes idle.
    Sleep,
}

/// A thread of the header (`@threads`, `@wait`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ThreadDecl {
    /// The CPU the thread is pinned to.
    pub cpu: u16,
    /// How it waits.
    pub wait: WaitMode,
}

/// A process made by `fork K`: from that line on it runs the lines of thread id K.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChildDecl {
    /// The thread id that the child's lines carry.
    pub thread: u16,
    /// The thread that forks.
    pub parent: u16,
    /// Index of the `fork` line.
    pub fork_line: u32,
}

/// How the lines of a section are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SectionKind {
    /// One after another in file order, whoever runs them.
    Seq,
    /// Each thread runs its own lines freely; the section begins when all lines before it are done.
    Par,
}

/// A run of lines under one `@seq` or `@par`. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// How its lines are ordered.
    pub kind: SectionKind,
    /// The lines in file order.
    pub lines: Vec<Line>,
}

/// One line of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Number from 0, comments and `@` lines not counted: the number that markers, operation logs
    /// and fault tables carry.
    pub index: u32,
    /// Line in the file, from 1.
    pub source_line: u32,
    /// The thread, or forked child, that runs it.
    pub thread: u16,
    /// What it does.
    pub op: Op,
    /// The line as written, without comment and surrounding blanks (it begins with the thread id).
    pub text: String,
}

/// A parsed and checked workload script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The threads, by id. A script without `@threads` has one thread on CPU 0.
    pub threads: Vec<ThreadDecl>,
    /// Processes made by `fork`, in file order.
    pub children: Vec<ChildDecl>,
    /// The sections in file order. Before any `@` line the kind is [`SectionKind::Seq`].
    pub sections: Vec<Section>,
    /// The first comment line, if there is one before the first operation: what the script is for.
    pub title: Option<String>,
}

impl Script {
    /// Parses and checks a whole script; `file` is the name for messages.
    ///
    /// # Errors
    ///
    /// [`TraceError::Script`] for the first line that breaks a rule, or if there is no line of work.
    pub fn parse(text: &str, file: &Path) -> Result<Self, TraceError> {
        parse::parse(text.as_bytes(), file)
    }

    /// Parses and checks a script from a reader, line by line.
    ///
    /// # Errors
    ///
    /// As [`Script::parse`], and what the reader raises.
    pub fn read<R: std::io::BufRead>(input: R, file: &Path) -> Result<Self, TraceError> {
        parse::parse(input, file)
    }

    /// Opens (see [`mod@crate::open`]), parses and checks a script.
    ///
    /// # Errors
    ///
    /// As [`Script::parse`], and what [`crate::open::open`] raises.
    pub fn open<P: AsRef<Path>>(path: P) -> Result<Self, TraceError> {
        let path = path.as_ref();
        parse::parse(crate::open::open(path)?, path)
    }

    /// All lines in file order.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.sections.iter().flat_map(|s| &s.lines)
    }

    /// Number of lines of work.
    #[must_use]
    pub fn line_count(&self) -> usize {
        self.sections.iter().map(|s| s.lines.len()).sum()
    }

    /// The line with an index.
    #[must_use]
    pub fn line(&self, index: u32) -> Option<&Line> {
        let section = self.sections.partition_point(|s| s.lines.first().is_none_or(|l| l.index <= index));
        let lines = &self.sections.get(section.checked_sub(1)?)?.lines;
        lines.get((index - lines.first()?.index) as usize)
    }
}
