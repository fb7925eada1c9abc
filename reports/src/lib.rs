//! What a run measured, and the forms a person or a script reads it in.
//!
//! [`RunReport`] is the document; [`json`] writes it for scripts, [`html`] for
//! people, [`terminal`] for the end of a run. Nothing here knows how a number
//! was computed: a report is what the simulator handed over, checked for
//! consistency where that can be checked ([`LatencyBuilder`], [`attribute`]).
//!
//! A report is a pure function of its inputs. Nothing in it depends on the
//! clock, on hash order or on the machine that ran the simulator.

pub mod compare;
pub mod error;
pub mod explain;
pub mod files;
pub mod headline;
pub mod hlog;
pub mod html;
pub mod info;
pub mod json;
pub mod model;
pub mod probe;
mod rows;
pub mod schema;
pub mod semantics;
pub mod sheet;
pub mod study;
pub mod sweep;
pub mod terminal;
pub mod timeline;
pub mod units;
pub mod validation;

pub use error::ReportError;
pub use files::{write_atomically, write_atomically_with};
pub use model::{LatencyBuilder, RunReport, attribute};
