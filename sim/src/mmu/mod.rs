//! Address translation as the Intel SDM (volume 3, chapter 4) describes it.

pub mod broadcast;
pub mod entry;
pub mod psc;
pub mod table;
pub mod tlb;
mod tlb_write;
pub mod tlbs;
mod walker;

pub(crate) use tlb_write::TlbLevels;
pub(crate) use walker::Cached;
pub use walker::Refusal;
