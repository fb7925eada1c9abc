//! Points in the plane, some of which are joined: two objectives with their front.

use std::cell::RefCell;

use maud::{Markup, html};
use plotters::chart::ChartBuilder;
use plotters::element::PathElement;
use plotters::style::Color;

use super::axis::Axis;
use super::curves::curve_color;
use super::{Area, Caption, Drawn, Ink, Mark, name_axes, style_mesh, svg_with};
use crate::ReportError;
use crate::units;

const WIDTH: u32 = 1040;
const HEIGHT: u32 = 460;
const LINE: u32 = 2;
/// Radius of a point, and of one that is joined.
const DOTS: [u32; 2] = [3, 5];
/// Colours of points and of joined ones, as numbers of parts.
const COLORS: [usize; 2] = [0, 1];

/// The points of one picture.
pub(crate) struct Scatter<'a> {
    /// What x is.
    pub x_label: &'a str,
    /// What y is.
    pub y_label: &'a str,
    /// Points beside the line.
    pub others: &'a [Mark],
    /// The points of the line, in order.
    pub joined: &'a [Mark],
}

/// Where a point is on the canvas.
type Dot<'a> = (i32, i32, usize, &'a str);

/// The chart; nothing without points.
pub(crate) fn scatter(caption: &Caption<'_>, chart: &Scatter<'_>) -> Result<Option<Markup>, ReportError> {
    if chart.others.is_empty() && chart.joined.is_empty() {
        return Ok(None);
    }
    let dots: RefCell<Vec<Dot<'_>>> = RefCell::default();
    let over = || {
        html! {
            @for (x, y, n, label) in dots.borrow().iter() {
                circle.{ "f-part-" (curve_color(COLORS.get(*n).copied().unwrap_or_default())) } cx=(x) cy=(y)
                    r=(DOTS.get(*n).copied().unwrap_or_default()) { title { (label) } }
            }
        }
    };
    svg_with(caption, (WIDTH, HEIGHT), "chart", |area| draw(area, chart, &mut dots.borrow_mut()), over)
        .map(Some)
}

fn draw<'c>(area: &Area<'_>, chart: &Scatter<'c>, dots: &mut Vec<Dot<'c>>) -> Drawn {
    let all = || chart.others.iter().chain(chart.joined);
    let mut canvas = ChartBuilder::on(area)
        .margin_top(28)
        .margin_right(32)
        .x_label_area_size(48)
        .y_label_area_size(76)
        .build_cartesian_2d(linear_axis(all().map(|m| m.x)), linear_axis(all().map(|m| m.y)))?;
    style_mesh(&mut canvas.configure_mesh(), area)
        .x_label_formatter(&|x| tick(*x))
        .y_label_formatter(&|y| tick(*y))
        .draw()?;
    let path: Vec<(f64, f64)> = chart.joined.iter().map(|mark| (mark.x, mark.y)).collect();
    canvas.draw_series([PathElement::new(path, Ink::Part(curve_color(1)).rgb().stroke_width(LINE))])?;
    for (n, marks) in [chart.others, chart.joined].into_iter().enumerate() {
        dots.extend(marks.iter().map(|mark| {
            let (x, y) = canvas.backend_coord(&(mark.x, mark.y));
            (x, y, n, mark.label.as_str())
        }));
    }
    name_axes(area, chart.x_label, chart.y_label)
}

/// Large numbers in few characters.
fn tick(value: f64) -> String {
    if value.abs() >= 10_000.0 && value > 0.0 {
        // As many digits as tell neighbours apart.
        let scale = [1e12, 1e9, 1e6, 1e3].into_iter().zip(["T", "G", "M", "k"]);
        let fits = scale.into_iter().find(|(size, _)| value >= *size);
        return fits
            .map_or_else(|| units::number(value), |(size, unit)| format!("{}{unit}", round(value / size)));
    }
    round(value)
}

fn round(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// From a little below the least to a little above the most, with ticks at multiples of 1, 2 or 5.
fn linear_axis(values: impl Iterator<Item = f64>) -> Axis {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let margin = if high > low { (high - low) * 0.05 } else { high.abs().max(1.0) / 2.0 };
    let (low, high) = (low - margin, high + margin);
    let width = high - low;
    let size = 10_f64.powf((width / 6.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * size).into_iter().find(|step| width / step <= 7.0);
    let step = step.unwrap_or(width);
    let ticks =
        ((low / step).ceil() as i64..=(high / step).floor() as i64).map(|n| n as f64 * step).collect();
    Axis { low, high, ticks }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_there_and_says_what_it_is() {
        let mark = |x: f64, y: f64| Mark { x, y, label: format!("{x} and {y}") };
        let (others, joined) = ([mark(3.0, 3.0), mark(-1.0, 0.0)], [mark(1.0, 2.0), mark(2.0, 1.0)]);
        let chart = Scatter { x_label: "cost", y_label: "cycles", others: &others, joined: &joined };
        let caption = Caption { id: "a", title: "t", description: "d" };
        let svg = scatter(&caption, &chart).unwrap().unwrap().into_string();
        assert_eq!(svg.matches("<circle").count(), 4);
        assert!(svg.contains("<title>-1 and 0</title>") && svg.contains("cycles"));
        let none = Scatter { x_label: "", y_label: "", others: &[], joined: &[] };
        assert!(scatter(&caption, &none).unwrap().is_none());
    }

    #[test]
    fn ticks_are_round_and_inside() {
        for (low, high) in [(0.0, 1.0), (12_345.0, 12_350.0), (5.0, 5.0), (-3.0, 1e9), (0.0, 0.0)] {
            let axis = linear_axis([low, high].into_iter());
            assert!((2..=9).contains(&axis.ticks.len()), "{low} {high}: {:?}", axis.ticks);
            assert!(axis.ticks.iter().all(|tick| (axis.low..=axis.high).contains(tick)));
        }
        assert_eq!([tick(1_234_000.0), tick(0.25), tick(2048.0)], ["1.234M", "0.25", "2048"]);
    }
}
