//! `daxsim import`: a `.dxt` of any trace of accesses.

use std::io::{self, Write};

use anyhow::{Result, bail};
use daxsim_reports::units::{count, counted};
use daxsim_reports::write_atomically_with;
use daxsim_traces::access::{self, AccessBatch, Fetches};
use daxsim_traces::dxt::{Description, Writer};
use daxsim_traces::{InputKind, TraceError};

use crate::import_args::ImportArgs;
use crate::{Status, inputs, output};

/// What an import did.
struct Imported {
    description: Description,
    /// Length of the file.
    bytes: u64,
    /// Damage of the input, told as it is met.
    damage: Vec<String>,
}

/// Runs `daxsim import`.
pub fn run(args: &ImportArgs) -> Result<Status> {
    if args.output.extension().is_none_or(|extension| extension != "dxt") {
        bail!("{}: expected a name that ends in .dxt", args.output.display());
    }
    let kind = inputs::kind(&args.input)?;
    // Whether it can be imported at all is known before anything is written.
    access::open(&args.input, Fetches::Count)?;
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
    let fetches = if args.fetches { Fetches::Keep } else { Fetches::Count };
    let mut reader = match access::open(&args.input, fetches) {
        Ok(reader) => reader,
        Err(error) => return Ok(Err(error)),
    };
    let mut writer = Writer::new(out)?;
    let mut batch = AccessBatch::default();
    let mut end = None;
    loop {
        match reader.next_batch(&mut batch) {
            Ok(true) => writer.push(batch.thread, &batch.records)?,
            Ok(false) => break,
            Err(error) if error.is_damage() => {
                end = Some(error.to_string());
                break;
            }
            Err(error) => return Ok(Err(error)),
        }
    }
    let mut reading = reader.reading().clone();
    if let Some(text) = end {
        reading.damaged += 1;
        reading.damage.push(text);
    }
    let name = args.input.file_name().unwrap_or_default().to_string_lossy();
    let (description, bytes) = writer.finish(kind.name(), &name, &reading)?;
    Ok(Ok(Imported { description, bytes, damage: reading.damage }))
}

fn summary(args: &ImportArgs, imported: &Imported) -> String {
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
