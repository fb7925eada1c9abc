//! Lines over a logarithmic x, with marks that say their values when the pointer rests on them.

use std::cell::RefCell;

use maud::{Markup, html};
use plotters::chart::ChartBuilder;
use plotters::element::PathElement;
use plotters::style::Color;

use super::curves::{curve_color, log_x_axis, log_y_axis, log_y_label};
use super::{Area, Caption, Drawn, Ink, name_axes, style_mesh, svg_with};
use crate::ReportError;
use crate::units;

const WIDTH: u32 = 1040;
const HEIGHT: u32 = 420;
const LINE: u32 = 2;
/// Radius of a mark.
const DOT: u32 = 4;

/// A measured point.
pub(crate) struct Mark {
    pub x: f64,
    pub y: f64,
    /// What the pointer shows.
    pub label: String,
}

/// The points of one line, in order.
pub(crate) struct Line {
    pub marks: Vec<Mark>,
}

/// The lines of one picture.
pub(crate) struct LineChart<'a> {
    /// What x is.
    pub x_label: &'a str,
    /// Unit of y.
    pub y_unit: &'a str,
    /// The lines.
    pub lines: &'a [Line],
}

/// A mark on the canvas.
struct Dot<'a> {
    at: (i32, i32),
    color: usize,
    label: &'a str,
}

/// The chart; nothing if no value is above 0.
pub(crate) fn lines(caption: &Caption<'_>, chart: &LineChart<'_>) -> Result<Option<Markup>, ReportError> {
    if !chart.lines.iter().flat_map(|line| &line.marks).any(is_drawn) {
        return Ok(None);
    }
    let dots: RefCell<Vec<Dot<'_>>> = RefCell::default();
    let over = || {
        html! {
            @for dot in dots.borrow().iter() {
                circle.{ "f-part-" (dot.color) } cx=(dot.at.0) cy=(dot.at.1) r=(DOT) { title { (dot.label) } }
            }
        }
    };
    svg_with(caption, (WIDTH, HEIGHT), "chart", |area| draw(area, chart, &mut dots.borrow_mut()), over)
        .map(Some)
}

/// A logarithmic axis has no place for others.
fn is_drawn(mark: &Mark) -> bool {
    mark.y > 0.0 && mark.x > 0.0
}

/// A tick of the y axis, large ones in few characters.
fn tick(power: f64) -> String {
    let value = 10_f64.powf(power);
    if value >= 999.5 { units::short_count(value.round() as u64) } else { log_y_label(power) }
}

fn draw<'c>(area: &Area<'_>, chart: &LineChart<'c>, dots: &mut Vec<Dot<'c>>) -> Drawn {
    let drawn = || chart.lines.iter().flat_map(|line| &line.marks).filter(|mark| is_drawn(mark));
    let mut canvas = ChartBuilder::on(area)
        .margin_top(28)
        .margin_right(24)
        .x_label_area_size(48)
        .y_label_area_size(52)
        .build_cartesian_2d(log_x_axis(drawn().map(|m| m.x)), log_y_axis(drawn().map(|m| m.y)))?;
    style_mesh(&mut canvas.configure_mesh(), area)
        .x_label_formatter(&|x| units::number(x.exp2()))
        .y_label_formatter(&|y| tick(*y))
        .draw()?;
    for (n, line) in chart.lines.iter().enumerate() {
        let color = curve_color(n);
        let marks = || line.marks.iter().filter(|mark| is_drawn(mark));
        let place = |mark: &Mark| (mark.x.log2(), mark.y.log10());
        let path: Vec<(f64, f64)> = marks().map(place).collect();
        canvas.draw_series([PathElement::new(path, Ink::Part(color).rgb().stroke_width(LINE))])?;
        dots.extend(marks().map(|mark| Dot {
            at: canvas.backend_coord(&place(mark)),
            color,
            label: &mark.label,
        }));
    }
    name_axes(area, chart.x_label, chart.y_unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(values: &[(f64, f64)]) -> Option<String> {
        let mark = |(x, y): &(f64, f64)| Mark { x: *x, y: *y, label: format!("{y} at {x}") };
        let lines = [Line { marks: values.iter().map(mark).collect() }];
        let caption = Caption { id: "a", title: "t", description: "d" };
        let chart = LineChart { x_label: "cores", y_unit: "ns", lines: &lines };
        super::lines(&caption, &chart).unwrap().map(|markup| markup.into_string())
    }

    #[test]
    fn every_value_above_nothing_has_a_mark_that_says_it() {
        let svg = drawn(&[(1.0, 0.0), (2.0, 350.0), (256.0, 4000.0)]).unwrap();
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("<title>350 at 2</title>") && svg.contains("<title>4000 at 256</title>"));
        assert!(svg.contains(">cores</text>") || svg.contains("cores\n"), "{svg}");
        assert_eq!(drawn(&[(1.0, 0.0), (2.0, 0.0)]), None);
    }
}
