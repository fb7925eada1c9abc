//! The reports in `reports/reference/`, the validation page among them, and `reports/studies/` are what the program makes.
//!
//! After a change of results, this makes them anew:
//!
//! ```sh
//! DAXSIM_UPDATE_REFERENCE=1 cargo test --release -p daxsim --test reference -- --include-ignored
//! ```
//!
//! Without `--include-ignored` it takes seconds and leaves out what simulates for minutes: the studies, two sweeps and most
//! points of the validation. Of these the quick tests prove less: that the configurations they were made from have not changed
//! since (a hash), and that their pages follow from their JSON. A change of the simulator that moves nothing of the rest shows in
//! the ignored tests alone.

#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;
mod hash;
mod kept;
mod recorded;
mod studies;
mod sweeps;
mod validation;
