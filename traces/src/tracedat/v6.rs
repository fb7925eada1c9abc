//! Version 6: all parts in a fixed order.

use std::io::{BufReader, Read, Seek, SeekFrom};

use super::compression::Method;
use super::head::{CpuData, Head, MOST_CPUS};
use super::source::Source;
use crate::TraceError;
use crate::ftrace::Layout;
use crate::store::Store;

/// Reads what is behind the page size; `offset` is where that is.
pub(super) fn read(store: &mut Store, layout: Layout, page: usize, offset: u64) -> Result<Head, TraceError> {
    let path = store.path().to_owned();
    store.seek(SeekFrom::Start(offset)).map_err(|e| TraceError::from_io(e, &path))?;
    let mut source = Source::new(BufReader::new(store), layout, offset, &path);
    let mut head = Head::default();
    head.read_header_info(&mut source)?;
    head.read_ftrace_formats(&mut source)?;
    head.read_event_formats(&mut source)?;
    head.read_symbols(&mut source)?;
    Head::read_printk(&mut source)?;
    head.read_tasks(&mut source)?;
    let cpus = source.number(4, "the number of CPUs")?;
    head.machine_cpus = cpus as u32;
    buffers(&mut head, &mut source, cpus, page)?;
    Ok(head)
}

fn buffers<R: Read>(
    head: &mut Head,
    source: &mut Source<R>,
    cpus: u64,
    page: usize,
) -> Result<(), TraceError> {
    loop {
        let mark = source.bytes(10, "the mark of options or data")?;
        match &mark[..] {
            b"options  \0" => options(head, source)?,
            b"flyrecord\0" => break,
            other => {
                let expected = "`options` or `flyrecord` (ring buffers; `latency` is text)";
                return Err(source.malformed(crate::error::quote(other), expected.into()));
            }
        }
    }
    if cpus > MOST_CPUS {
        return Err(source.malformed(format!("{cpus} CPUs"), format!("at most {MOST_CPUS}")));
    }
    for cpu in 0..cpus {
        let offset = source.number(8, "the place of a CPU's data")?;
        let size = source.number(8, "the size of a CPU's data")?;
        head.cpus.push(CpuData { cpu: cpu as u16, offset, size, page, method: Method::None });
    }
    Ok(())
}

fn options<R: Read>(head: &mut Head, source: &mut Source<R>) -> Result<(), TraceError> {
    loop {
        let number = source.number(2, "the number of an option")?;
        if number == 0 {
            return Ok(());
        }
        let data = source.text(4, "an option")?;
        if number == 3 {
            // The buffer of another instance.
            let name = data.get(8..).unwrap_or_default();
            let end = memchr::memchr(0, name).unwrap_or(name.len());
            let name = String::from_utf8_lossy(name.get(..end).unwrap_or_default()).into_owned();
            if !name.is_empty() {
                head.left_out.push(format!("the buffer of instance `{name}`"));
            }
        }
        head.read_option(number, &data, source.layout);
    }
}
