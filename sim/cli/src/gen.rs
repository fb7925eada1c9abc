//! `daxsim gen`: address streams from a seed, as files.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use daxsim_reports::write_atomically_with;
use daxsim_traces::access::Reading;
use daxsim_traces::dxt;
use daxsim_traces::generate::{Access, Generator, Pattern};

use crate::Status;
use crate::probe::stream_of;
use crate::probe_args::{GenArgs, StreamArg};

/// What a stream is written as.
enum Format {
    /// A 64-bit little-endian number for each access.
    Raw,
    /// The format of `traces/FORMAT.md`.
    Dxt,
}

impl Format {
    /// The format that a file's name asks for.
    fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("raw") => Ok(Self::Raw),
            Some("dxt") => Ok(Self::Dxt),
            _ => bail!(
                "{}: no known format of traces: expected a name that ends in .dxt or .raw, or - for standard output",
                path.display()
            ),
        }
    }
}

/// Runs `daxsim gen`.
pub fn run(args: &GenArgs) -> Result<Status> {
    let pattern = pattern(args)?;
    if args.output.as_os_str() == "-" {
        let result = write(args, pattern, &Format::Raw, &mut BufWriter::new(io::stdout().lock()));
        return match result {
            // Whoever reads it has enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Status::Done),
            result => result.map(|()| Status::Done).context("cannot write to standard output"),
        };
    }
    let format = Format::of(&args.output)?;
    write_atomically_with(&args.output, |file| write(args, pattern, &format, file))?;
    Ok(Status::Done)
}

fn pattern(args: &GenArgs) -> Result<Pattern> {
    for (name, value) in [("--bytes", args.bytes), ("--stride", args.stride)] {
        if value == 0 || !value.is_multiple_of(64) {
            bail!("{name} {value}: expected a multiple of 64 above 0");
        }
    }
    Ok(match args.name {
        StreamArg::Uniform => Pattern::Uniform { bytes: args.bytes, writes: args.writes },
        StreamArg::Stride => Pattern::Stride { bytes: args.bytes, stride: args.stride, writes: args.writes },
        other => stream_of(other).1,
    })
}

fn write(args: &GenArgs, pattern: Pattern, format: &Format, out: &mut dyn Write) -> io::Result<()> {
    let count = usize::try_from(args.count).unwrap_or(usize::MAX);
    let stream = Generator::new(pattern, args.seed, args.base).take(count);
    match format {
        Format::Raw => {
            for access in stream {
                out.write_all(&access.to_raw().to_le_bytes())?;
            }
            out.flush()
        }
        Format::Dxt => write_dxt(args, pattern, stream, out),
    }
}

fn write_dxt(
    args: &GenArgs,
    pattern: Pattern,
    stream: impl Iterator<Item = Access>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut writer = dxt::Writer::new(out)?;
    let mut batch = Vec::with_capacity(dxt::BLOCK_RECORDS);
    let mut records = stream.map(|access| access.to_record(pattern.is_dependent()));
    loop {
        batch.clear();
        batch.extend(records.by_ref().take(dxt::BLOCK_RECORDS));
        if batch.is_empty() {
            break;
        }
        writer.push(0, &batch)?;
    }
    let name = format!("{:?} seed {} base {:#x}", pattern, args.seed, args.base);
    writer.finish("gen", &name, &Reading::default()).map(drop)
}
