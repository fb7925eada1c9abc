//! The sections of the page, in its order.

mod devices;
mod durability;
mod faults;
mod hardware;
mod latency;
mod origin;
mod overview;
mod replay;

use maud::{Markup, html};

use super::Section;
pub(super) use devices::memory;
pub(super) use durability::durability;
pub(super) use faults::{faults, shootdowns};
pub(super) use hardware::{caches, translation};
pub(super) use latency::{PartColors, cycles, distributions, parts};
pub(super) use origin::provenance;
pub(super) use overview::overview;
pub(super) use replay::{caveats, replay};

/// What a section says that has nothing to show.
fn nothing(why: &str) -> Markup {
    html! { p.muted { (why) } }
}
