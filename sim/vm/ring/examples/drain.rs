//! Makes rings, says where, reads all that comes and throws it away. For measuring a writer.

use std::io::Write;
use std::time::Duration;

use daxsim_ring::{Batch, Geometry, Place, Reader, Received};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut reader = Reader::create(&Place::Memory, Geometry::default())?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", reader.path().display())?;
    let (mut batch, mut accesses, mut batches) = (Batch::default(), 0_u64, 0_u64);
    let ending = loop {
        match reader.next_batch(&mut batch, Duration::from_millis(100))? {
            Received::Batch => {
                (accesses, batches) = (accesses + batch.accesses().count() as u64, batches + 1)
            }
            Received::Nothing => {}
            Received::End(ending) => break ending,
        }
    };
    writeln!(out, "{accesses} accesses in {batches} batches: {ending:?}")?;
    Ok(())
}
