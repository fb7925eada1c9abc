//! `daxsim import`: a `.dxt` of any trace.

use std::io::{self, BufRead, Write};

use anyhow::{Result, bail};
use daxsim_reports::units::{count, counted};
use daxsim_reports::write_atomically_with;
use daxsim_traces::access::{self, AccessBatch, AccessReader, Fetches, Reading};
use daxsim_traces::dxt::{Description, Writer};
use daxsim_traces::{Input, InputKind, TraceError};

use crate::import_args::ImportArgs;
use crate::{Status, inputs, output};

/// Text that is held for the end of its line.
const MOST_TEXT: usize = 1 << 20;

/// What an import did.
struct Imported {
    description: Description,
    /// Lines of text.
    lines: u64,
    /// Bytes of a binary file, which is kept as it is.
    binary: Option<u64>,
    /// Length of the file.
    bytes: u64,
    /// Damage of the input, told as it is met.
    damage: Vec<String>,
}

/// What a file is made of.
enum From {
    Accesses(Box<dyn AccessReader>),
    Text(Input),
}

impl From {
    fn open(args: &ImportArgs, kind: InputKind) -> Result<Self, TraceError> {
        let fetches = if args.fetches { Fetches::Keep } else { Fetches::Count };
        if kind.is_accesses() {
            return Ok(Self::Accesses(access::open(&args.input, fetches)?));
        }
        Ok(Self::Text(daxsim_traces::open(&args.input)?))
    }
}

/// Runs `daxsim import`.
pub fn run(args: &ImportArgs) -> Result<Status> {
    if args.output.extension().is_none_or(|extension| extension != "dxt") {
        bail!("{}: expected a name that ends in .dxt", args.output.display());
    }
    let kind = inputs::kind(&args.input)?;
    if args.fetches && !kind.is_accesses() {
        bail!("{}: {kind}: --fetches is for traces of accesses", args.input.display());
    }
    // Whether it can be read at all is known before anything is written.
    From::open(args, kind)?;
    let mut result = Err(TraceError::Empty { file: args.input.clone() });
    let written = write_atomically_with(&args.output, |file| {
        result = import(args, kind, file)?;
        // What cannot be read leaves the file as it was.
        if result.is_err() { Err(io::Error::other("the input cannot be read")) } else { Ok(()) }
    });
    let imported = match (result, written) {
        (Ok(imported), Ok(())) => imported,
        (Ok(_), Err(error)) => return Err(error.into()),
        (Err(error), _) => return Err(error.into()),
    };
    for text in &imported.damage {
        output::note(&format!("daxsim: warning: {text}"));
    }
    if !args.quiet {
        output::print(&summary(args, &imported))?;
    }
    Ok(Status::Done)
}

/// Reads all, writes all. The outer error is of the output, the inner of the input.
fn import(
    args: &ImportArgs,
    kind: InputKind,
    out: &mut dyn Write,
) -> io::Result<Result<Imported, TraceError>> {
    let from = match From::open(args, kind) {
        Ok(from) => from,
        Err(error) => return Ok(Err(error)),
    };
    let mut writer = Writer::new(out)?;
    let (mut lines, mut read) = (0, 0);
    let (mut reading, end) = match from {
        From::Accesses(mut reader) => {
            let end = copy_accesses(reader.as_mut(), &mut writer)?;
            (reader.reading().clone(), end)
        }
        From::Text(input) => (Reading::default(), copy_text(input, &mut writer, &mut lines, &mut read)?),
    };
    match end {
        Some(error) if error.is_damage() => {
            reading.damaged += 1;
            reading.damage.push(error.to_string());
        }
        Some(error) => return Ok(Err(error)),
        None => {}
    }
    let name = args.input.file_name().unwrap_or_default().to_string_lossy();
    let (description, bytes) = writer.finish(kind.name(), &name, &reading)?;
    let binary = matches!(kind, InputKind::TraceDat | InputKind::PerfData).then_some(read);
    Ok(Ok(Imported { description, lines, binary, bytes, damage: reading.damage }))
}

/// Copies all that can be read; why it ended, if not because of the end.
fn copy_accesses(
    reader: &mut dyn AccessReader,
    writer: &mut Writer<&mut dyn Write>,
) -> io::Result<Option<TraceError>> {
    let mut batch = AccessBatch::default();
    loop {
        match reader.next_batch(&mut batch) {
            Ok(true) => writer.push_batch(&batch)?,
            Ok(false) => return Ok(None),
            Err(error) => return Ok(Some(error)),
        }
    }
}

/// The same of text, in whole lines as far as they fit the buffer.
fn copy_text(
    mut input: Input,
    writer: &mut Writer<&mut dyn Write>,
    lines: &mut u64,
    read: &mut u64,
) -> io::Result<Option<TraceError>> {
    let path = input.path().to_owned();
    let mut text = Vec::new();
    loop {
        let chunk = match input.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                writer.push_text(&text)?;
                return Ok(Some(TraceError::from_io(error, &path)));
            }
        };
        let len = chunk.len();
        *read += len as u64;
        *lines += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
        text.extend_from_slice(chunk);
        input.consume(len);
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if len == 0 || text.len() > MOST_TEXT {
            writer.push_text(&text)?;
            text.clear();
        } else {
            writer.push_text(&text[..whole])?;
            text.drain(..whole);
        }
        if len == 0 {
            return Ok(None);
        }
    }
}

fn summary(args: &ImportArgs, imported: &Imported) -> String {
    if let Some(binary) = imported.binary {
        let (read, bytes) = (count(binary), count(imported.bytes));
        return format!("{}: {read} bytes of a binary file in {bytes} bytes\n", args.output.display());
    }
    if imported.lines > 0 {
        let (lines, bytes) = (counted(imported.lines, "line", "lines"), count(imported.bytes));
        return format!("{}: {lines} in {bytes} bytes\n", args.output.display());
    }
    let counts = &imported.description.counts;
    let records = counts.records();
    let mut text = format!(
        "{}: {} ({} loads, {} stores, {} of both, {} fetches), {} instructions, {} pages\n",
        args.output.display(),
        counted(records, "access", "accesses"),
        count(counts.loads),
        count(counts.stores),
        count(counts.modifies),
        count(counts.fetches),
        count(counts.instructions),
        count(imported.description.pages),
    );
    let each = imported.bytes as f64 / records.max(1) as f64;
    text.push_str(&format!("{} bytes, {each:.3} for each access\n", count(imported.bytes)));
    if imported.description.other_lines > 0 {
        let lines = counted(imported.description.other_lines, "line is", "lines are");
        text.push_str(&format!("{lines} no access\n"));
    }
    text
}
