//! The numbered statements of `docs/linux-dax-fault-path.md`, section 9, one test for each, named by its number.

#[path = "../common/mod.rs"]
mod common;

mod broadcast;
mod dispatch;
mod hardware;
mod holes;
mod injection;
mod insertion;
mod insertion_rest;
mod pins;
mod private;
mod tlb;
mod unmap;
mod writeback;
