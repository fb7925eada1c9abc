//! The sections of the page, in its order.

mod constants;
mod contention;
mod devices;
mod durability;
mod faults;
mod hardware;
mod latency;
mod origin;
mod over_time;
mod overview;
mod replay;
mod shootdowns;

use maud::{Markup, html};

use super::Section;
use crate::html::chart;
pub(super) use constants::constants;
pub(super) use contention::contention;
pub(super) use devices::memory;
pub(super) use durability::durability;
pub(super) use faults::faults;
pub(super) use hardware::{caches, translation};
pub(super) use latency::{PartColors, cycles, distributions, parts};
pub(super) use origin::provenance;
pub(super) use over_time::over_time;
pub(super) use overview::overview;
pub(super) use replay::{caveats, replay};
pub(super) use shootdowns::shootdowns;

/// The lines of a chart, in their order.
fn legend(names: &[&str]) -> Markup {
    html! {
        ul.legend aria-label="Legend" {
            @for (n, name) in names.iter().enumerate() {
                li { span.swatch.{ "b-" (chart::curve_color(n)) } aria-hidden="true" {} (name) }
            }
        }
    }
}

/// What a section says that has nothing to show.
fn nothing(why: &str) -> Markup {
    html! { p.muted { (why) } }
}
