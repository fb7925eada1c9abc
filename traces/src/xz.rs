//! An .xz reader that delivers what it decoded before damage.

use std::io::{self, BufRead, BufReader, Read};

use liblzma::stream::{Action, CONCATENATED, Status, Stream};

/// Memory the decoder may use: the largest preset (`xz -9`) needs 65 MiB.
const MEMORY: u64 = 128 << 20;

/// Decompresses .xz, concatenated streams too.
pub(crate) struct XzReader<R> {
    source: BufReader<R>,
    stream: Stream,
    /// An error that came with decoded bytes: the next read reports it.
    pending: Option<io::Error>,
    ended: bool,
}

impl<R: Read> XzReader<R> {
    pub(crate) fn new(source: R) -> io::Result<Self> {
        let stream = Stream::new_stream_decoder(MEMORY, CONCATENATED)?;
        Ok(Self { source: BufReader::new(source), stream, pending: None, ended: false })
    }

    pub(crate) fn get_ref(&self) -> &R {
        self.source.get_ref()
    }
}

impl<R: Read> Read for XzReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = self.pending.take() {
            return Err(error);
        }
        if self.ended || buf.is_empty() {
            return Ok(0);
        }
        loop {
            let input = self.source.fill_buf()?;
            let at_end = input.is_empty();
            let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
            let result = self.stream.process(input, buf, if at_end { Action::Finish } else { Action::Run });
            let used = (self.stream.total_in() - before_in) as usize;
            let made = (self.stream.total_out() - before_out) as usize;
            self.source.consume(used);
            match result {
                Ok(Status::StreamEnd) => {
                    self.ended = true;
                    return Ok(made);
                }
                Ok(_) if made > 0 => return Ok(made),
                Ok(_) if at_end => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) if used == 0 => return Err(io::Error::new(io::ErrorKind::InvalidData, "no progress")),
                Ok(_) => {}
                Err(e) if made > 0 => {
                    self.pending = Some(e.into());
                    return Ok(made);
                }
                Err(e) => return Err(e.into()),
            }
        }
    }
}
