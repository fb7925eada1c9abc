//! Charts as inline SVG. Only this module knows the charting library.

mod axis;
mod changes;
mod curves;
mod histogram;
mod ink;
mod lines;
mod matrix;
mod percentiles;
mod scatter;
mod stacked;
mod timeline;

use std::cell::RefCell;

use maud::{Markup, PreEscaped, html};
use plotters::backend::SVGBackend;
use plotters::chart::MeshStyle;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::Text;
use plotters::style::text_anchor::{self, HPos, VPos};
use plotters::style::{IntoTextStyle, TextStyle};

use crate::ReportError;
use axis::Axis;
pub(crate) use changes::{Bar, changes};
pub(crate) use curves::{Curve, Curves, curve_color, curves};
pub(super) use histogram::histogram;
use ink::Ink;
pub(super) use ink::{PARTS, css};
pub(crate) use lines::{Line, LineChart, Mark, lines};
pub(super) use matrix::{Cell, Matrix, matrix};
pub(super) use percentiles::{Percentiles, percentiles};
pub(crate) use scatter::{Scatter, scatter};
pub(super) use stacked::{Row, Segment, stacked};
pub(super) use timeline::{Timeline, timeline};

/// Size that the library is told for a label of about 12 px.
const LABEL: u32 = 15;
/// Width to reckon for a character of a label.
const CHAR_PX: i32 = 7;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// What a chart is called and what it shows, for those who cannot see it.
pub(crate) struct Caption<'a> {
    /// Unique in the page.
    pub id: &'a str,
    /// Short title.
    pub title: &'a str,
    /// What the marks say, in a sentence.
    pub description: &'a str,
}

/// Draws on a canvas of `size` and wraps the marks as an image.
fn svg(
    caption: &Caption<'_>,
    size: (u32, u32),
    class: &str,
    draw: impl FnOnce(&Area<'_>) -> Drawn,
) -> Result<Markup, ReportError> {
    svg_with(caption, size, class, draw, Markup::default)
}

/// The same with marks that the library does not know: `over` is asked for them when the rest is drawn.
fn svg_with(
    caption: &Caption<'_>,
    size: (u32, u32),
    class: &str,
    draw: impl FnOnce(&Area<'_>) -> Drawn,
    over: impl FnOnce() -> Markup,
) -> Result<Markup, ReportError> {
    let failed = |why: DrawingAreaErrorKind<std::io::Error>| ReportError::Chart {
        chart: caption.title.to_owned(),
        why: why.to_string(),
    };
    let mut drawing = String::new();
    {
        let root = SVGBackend::with_string(&mut drawing, size).into_drawing_area();
        draw(&root).map_err(failed)?;
        root.present().map_err(failed)?;
    }
    let (title_id, desc_id) = (format!("{}-t", caption.id), format!("{}-d", caption.id));
    Ok(html! {
        svg .(class) role="img" aria-labelledby={ (title_id) " " (desc_id) }
            viewBox={ "0 0 " (size.0) " " (size.1) } width=(size.0) height=(size.1) {
            title id=(title_id) { (caption.title) }
            desc id=(desc_id) { (caption.description) }
            (PreEscaped(ink::adopt(&drawing)))
            (over())
        }
    })
}

/// A place of a chart that says its value when the pointer is on it.
struct Hit {
    /// Left, top, right, bottom on the canvas.
    place: [i32; 4],
    value: String,
}

/// The same for marks that lie close together: each has a place, which may be larger than itself.
fn svg_with_hits(
    caption: &Caption<'_>,
    size: (u32, u32),
    class: &str,
    draw: impl FnOnce(&Area<'_>, &mut Vec<Hit>) -> Drawn,
) -> Result<Markup, ReportError> {
    let hits: RefCell<Vec<Hit>> = RefCell::default();
    let over = || {
        html! {
            @for Hit { place: [left, top, right, bottom], value } in hits.borrow().iter() {
                rect.hit x=(left) y=(top) width=((right - left).max(1)) height=((bottom - top).max(1)) { title { (value) } }
            }
        }
    };
    svg_with(caption, size, class, |area| draw(area, &mut hits.borrow_mut()), over)
}

/// The chart once for wide and once for narrow screens, whose labels would be too small otherwise; the style sheet shows one of
/// them.
fn at_two_widths(
    caption: &Caption<'_>,
    sizes: [(u32, u32); 2],
    mut draw: impl FnMut(&Area<'_>, &mut Vec<Hit>) -> Drawn,
) -> Result<Markup, ReportError> {
    let mut both = Vec::new();
    for (size, class) in sizes.into_iter().zip(["wide", "narrow"]) {
        let id = format!("{}-{class}", caption.id);
        let caption = Caption { id: &id, ..*caption };
        both.push(svg_with_hits(&caption, size, &format!("chart {class}"), &mut draw)?);
    }
    Ok(html! { @for svg in &both { (svg) } })
}

fn label<'a>(area: &Area<'_>, ink: Ink, h: text_anchor::HPos, v: text_anchor::VPos) -> TextStyle<'a> {
    ("sans-serif", LABEL).with_color(ink.rgb()).into_text_style(area).pos(text_anchor::Pos::new(h, v))
}

/// Writes what y is above the chart, and what x is below it.
fn name_axes(area: &Area<'_>, x: &str, y: &str) -> Drawn {
    let (width, height) = area.dim_in_pixel();
    let under = (width as i32 / 2, height as i32 - 6);
    area.draw(&Text::new(y.to_owned(), (4, 4), label(area, Ink::Muted, HPos::Left, VPos::Top)))?;
    area.draw(&Text::new(x.to_owned(), under, label(area, Ink::Muted, HPos::Center, VPos::Bottom)))?;
    Ok(())
}

/// Gives the grid and the axes of a chart their inks and labels.
fn style_mesh<'m, 'a, 'b, 's>(
    mesh: &'m mut MeshStyle<'a, 'b, Axis, Axis, SVGBackend<'s>>,
    area: &Area<'_>,
) -> &'m mut MeshStyle<'a, 'b, Axis, Axis, SVGBackend<'s>> {
    mesh.max_light_lines(0)
        .bold_line_style(Ink::Grid.rgb())
        .axis_style(Ink::Axis.rgb())
        .x_label_style(label(area, Ink::Muted, HPos::Center, VPos::Top))
        .y_label_style(label(area, Ink::Muted, HPos::Right, VPos::Center))
}

/// Reckoned width of a label.
fn text_width(text: &str) -> i32 {
    text.chars().count() as i32 * CHAR_PX
}
