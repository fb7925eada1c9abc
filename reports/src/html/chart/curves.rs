//! Measured and simulated curves over a logarithmic x, in one picture.

use maud::Markup;
use plotters::chart::ChartBuilder;
use plotters::element::{Circle, PathElement};
use plotters::style::Color;

use super::axis::Axis;
use super::{Area, Caption, Drawn, Ink, PARTS, name_axes, style_mesh, svg};
use crate::ReportError;

const WIDTH: u32 = 1040;
const HEIGHT: u32 = 480;
/// Width of a simulated line.
const LINE: u32 = 2;
/// Radius of a measured point.
const DOT: i32 = 4;
/// Colours of the parts that are far apart, for the first curves.
const COLORS: [usize; 8] = [3, 5, 4, 6, 2, 1, 9, 7];

/// One curve, measured and simulated.
pub(crate) struct Curve<'a> {
    /// Where.
    pub x: &'a [f64],
    /// What hardware gave there.
    pub measured: &'a [f64],
    /// What the simulation gave there.
    pub simulated: &'a [f64],
}

/// The curves of one picture.
pub(crate) struct Curves<'a> {
    /// Unit of x; KiB are shown in larger units where they are round.
    pub x_unit: &'a str,
    /// Unit of y.
    pub y_unit: &'a str,
    /// The curves.
    pub series: &'a [Curve<'a>],
}

/// The colour of a curve in the legend, as the number of a part.
pub(crate) fn curve_color(n: usize) -> usize {
    COLORS.get(n).copied().unwrap_or(n % PARTS)
}

/// The chart.
pub(crate) fn curves(caption: &Caption<'_>, curves: &Curves<'_>) -> Result<Markup, ReportError> {
    svg(caption, (WIDTH, HEIGHT), "chart", |area| draw(area, curves))
}

/// Powers of two, every other one if there are many.
fn x_axis(curves: &Curves<'_>) -> Axis {
    log_x_axis(curves.series.iter().flat_map(|curve| curve.x).map(|x| x.max(1.0)))
}

/// The same for values of any kind.
pub(super) fn log_x_axis(values: impl Iterator<Item = f64>) -> Axis {
    let (low, high) = extremes(values.map(f64::log2));
    let first = low.ceil() as i32;
    let last = high.floor() as i32;
    let every = if last - first > 9 { 2 } else { 1 };
    let ticks = (first..=last).filter(|tick| tick % every == 0).map(f64::from).collect();
    Axis { low: low - 0.25, high: high + 0.25, ticks }
}

/// 1, 2 and 5 of each decade.
fn y_axis(curves: &Curves<'_>) -> Axis {
    let values = curves.series.iter().flat_map(|curve| curve.measured.iter().chain(curve.simulated));
    log_y_axis(values.copied())
}

/// The same for values of any kind.
pub(super) fn log_y_axis(values: impl Iterator<Item = f64>) -> Axis {
    let (low, high) = extremes(values.map(|y| y.max(1e-3).log10()));
    let (low, high) = (low - 0.06, high + 0.06);
    let decades = low.floor() as i32..=high.ceil() as i32;
    let ticks = decades.flat_map(|decade| [1.0_f64, 2.0, 5.0].map(|step| f64::from(decade) + step.log10()));
    Axis { low, high, ticks: ticks.filter(|tick| (low..=high).contains(tick)).collect() }
}

/// The least and the most, apart from each other.
fn extremes(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = values.filter(|value| value.is_finite());
    let (low, high) = finite
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low < high {
        (low, high)
    } else if low.is_finite() {
        (low - 0.5, low + 0.5)
    } else {
        (0.0, 1.0)
    }
}

/// A power of two of the unit.
fn x_label(unit: &str, power: f64) -> String {
    let value = power.exp2().round() as u64;
    match (unit, value >> 20, value >> 10) {
        ("KiB", 1.., _) => format!("{} GiB", value >> 20),
        ("KiB", 0, 1..) => format!("{} MiB", value >> 10),
        ("KiB", ..) => format!("{value} KiB"),
        _ => value.to_string(),
    }
}

pub(super) fn log_y_label(power: f64) -> String {
    let value = 10_f64.powf(power);
    if value >= 1.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

fn draw(area: &Area<'_>, curves: &Curves<'_>) -> Drawn {
    let mut chart = ChartBuilder::on(area)
        .margin_top(28)
        .margin_right(24)
        .x_label_area_size(48)
        .y_label_area_size(52)
        .build_cartesian_2d(x_axis(curves), y_axis(curves))?;
    style_mesh(&mut chart.configure_mesh(), area)
        .x_label_formatter(&|x| x_label(curves.x_unit, *x))
        .y_label_formatter(&|y| log_y_label(*y))
        .draw()?;
    for (n, curve) in curves.series.iter().enumerate() {
        let ink = Ink::Part(curve_color(n));
        let place = |(x, y): (&f64, &f64)| (x.max(1.0).log2(), y.max(1e-3).log10());
        let line: Vec<(f64, f64)> = curve.x.iter().zip(curve.simulated).map(place).collect();
        chart.draw_series([PathElement::new(line, ink.rgb().stroke_width(LINE))])?;
        let dots = curve.x.iter().zip(curve.measured).map(place);
        chart.draw_series(dots.map(|at| Circle::new(at, DOT, ink.rgb().stroke_width(1))))?;
    }
    let x = if curves.x_unit == "KiB" { "footprint" } else { curves.x_unit };
    name_axes(area, x, curves.y_unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_hold_every_value_and_have_a_few_ticks() {
        let (x, y) = ([32.0, 524_288.0], [4.0, 645.0]);
        let series = [Curve { x: &x, measured: &y, simulated: &[5.0, 700.0] }];
        let curves = Curves { x_unit: "KiB", y_unit: "cycles", series: &series };
        let (x_axis, y_axis) = (x_axis(&curves), y_axis(&curves));
        assert!(x_axis.low < 5.0 && x_axis.high > 19.0 && (5..=9).contains(&x_axis.ticks.len()));
        assert!(y_axis.low < 4.0_f64.log10() && y_axis.high > 700.0_f64.log10());
        let labels: Vec<String> = y_axis.ticks.iter().map(|tick| log_y_label(*tick)).collect();
        assert_eq!(labels, ["5", "10", "20", "50", "100", "200", "500"]);
        assert_eq!([6.0, 14.0, 20.0].map(|x| x_label("KiB", x)), ["64 KiB", "16 MiB", "1 GiB"]);
    }

    #[test]
    fn nothing_and_one_value_have_axes_too() {
        assert_eq!(extremes([].into_iter()), (0.0, 1.0));
        assert_eq!(extremes([2.0].into_iter()), (1.5, 2.5));
    }
}
