//! Address translation as the Intel SDM (volume 3, chapter 4) describes it.

pub mod broadcast;
pub mod entry;
pub mod invalidate;
mod lru;
pub(crate) mod nested;
pub mod psc;
pub mod rights;
pub mod table;
#[cfg(test)]
mod tests;
pub mod tlb;
mod tlb_write;
pub mod tlbs;
mod walk;
mod walker;

pub(crate) use tlb_write::TlbLevels;
pub use walk::Walked;
pub use walker::Refusal;
pub(crate) use walker::{Cached, inside};
