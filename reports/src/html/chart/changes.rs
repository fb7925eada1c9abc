//! Changes to both sides of nothing, one horizontal bar each.

use maud::{Markup, html};
use plotters::element::{PathElement, Rectangle, Text};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::{Area, Caption, Drawn, Ink, label, svg};
use crate::ReportError;

/// A change.
pub(crate) struct Bar {
    /// What changed.
    pub label: String,
    /// Length, as a share of the longest: -1 to 1.
    pub share: f64,
    /// The change as text.
    pub value: String,
}

const ROW: i32 = 26;
const BAR: i32 = 18;
/// Room for the names, and for the values beside the bars.
const NAMES: i32 = 96;
const VALUES: i32 = 84;

/// The chart, once for wide and once for narrow screens; the style sheet shows one of them.
pub(crate) fn changes(caption: &Caption<'_>, bars: &[Bar]) -> Result<Option<Markup>, ReportError> {
    if bars.is_empty() {
        return Ok(None);
    }
    let height = bars.len() as u32 * ROW as u32 + 8;
    let draw = |width: u32, class: &str| {
        let id = format!("{}-{class}", caption.id);
        let caption = Caption { id: &id, ..*caption };
        svg(&caption, (width, height), &format!("chart {class}"), |area| draw(area, bars, width as i32))
    };
    let (wide, narrow) = (draw(760, "wide")?, draw(340, "narrow")?);
    Ok(Some(html! { (wide) (narrow) }))
}

fn draw(area: &Area<'_>, bars: &[Bar], width: i32) -> Drawn {
    let half = (width - NAMES - 2 * VALUES) / 2;
    let middle = NAMES + VALUES + half;
    let bottom = bars.len() as i32 * ROW + 4;
    area.draw(&PathElement::new(vec![(middle, 0), (middle, bottom)], Ink::Axis.rgb().stroke_width(1)))?;
    for (at, bar) in bars.iter().enumerate() {
        let top = at as i32 * ROW + 4;
        let center = top + BAR / 2;
        let length = (bar.share.abs().min(1.0) * f64::from(half)).round().max(1.0) as i32;
        let more = bar.share > 0.0;
        let (left, right) = if more { (middle + 1, middle + 1 + length) } else { (middle - length, middle) };
        let ink = if more { Ink::Mark } else { Ink::Bar };
        area.draw(&Rectangle::new([(left, top), (right, top + BAR)], ink.rgb().filled()))?;
        let name = label(area, Ink::Text, HPos::Left, VPos::Center);
        area.draw(&Text::new(bar.label.as_str(), (0, center), name))?;
        let (at, side) = if more { (right + 6, HPos::Left) } else { (left - 6, HPos::Right) };
        area.draw(&Text::new(bar.value.as_str(), (at, center), label(area, Ink::Text, side, VPos::Center)))?;
    }
    Ok(())
}
