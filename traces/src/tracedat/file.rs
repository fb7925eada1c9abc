//! The first bytes, and what they lead to.

use super::head::Head;
use super::{MAGIC, v6, v7};
use crate::TraceError;
use crate::ftrace::Layout;
use crate::store::Store;

/// Reads all of a file but its events.
pub(super) fn open(mut store: Store) -> Result<(Store, Head, Layout), TraceError> {
    let mut bytes = [0; MAGIC.len() + 2];
    store.read_at(0, &mut bytes)?;
    let [magic @ .., version, end] = &bytes;
    if *magic != MAGIC {
        return Err(store.malformed(0, crate::error::quote(magic), "the mark of a trace.dat".into()));
    }
    let mut bytes = [0; 6];
    let at = MAGIC.len() as u64 + 2;
    store.read_at(at, &mut bytes)?;
    let [order, user_long, page @ ..] = bytes;
    let mut layout = Layout { big_endian: order != 0, long: usize::from(user_long) };
    if order > 1 || !matches!(user_long, 4 | 8) {
        let found = format!("order of bytes {order}, {user_long} bytes of a long");
        return Err(store.malformed(at, found, "order 0 or 1, and 4 or 8 bytes".into()));
    }
    let page = layout.number(&page).unwrap_or_default() as usize;
    let head = match (version, end) {
        (b'6', 0) => v6::read(&mut store, layout, page, at + 6),
        (b'7', 0) => v7::read(&mut store, layout, page, at + 6),
        (other, _) => {
            let found = format!("version {}", other.escape_ascii());
            Err(store.malformed(at - 2, found, "version 6 or 7".into()))
        }
    };
    // If the compressed file is damaged, that is the reason.
    let head = head.map_err(|error| store.take_damage().unwrap_or(error))?;
    layout.long = head.page.long;
    Ok((store, head, layout))
}
