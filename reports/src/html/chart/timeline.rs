//! Lines over simulated time.

use maud::Markup;
use plotters::chart::ChartBuilder;
use plotters::element::{PathElement, Text};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::{Area, Caption, Drawn, Ink, curve_color, label, style_mesh, svg};
use crate::ReportError;
use crate::units;

const WIDTH: u32 = 720;
const HEIGHT: u32 = 220;
/// Ticks of an axis at most.
const MAX_TICKS: f64 = 6.0;

/// Values of stretches one after another.
pub(in crate::html) struct Timeline<'a> {
    /// Length of a stretch, nanoseconds.
    pub stretch_ns: f64,
    /// Unit of the values.
    pub unit: &'a str,
    /// One line each.
    pub series: &'a [&'a [f64]],
}

/// The chart; nothing if every value is 0.
pub(in crate::html) fn timeline(
    caption: &Caption<'_>,
    timeline: &Timeline<'_>,
) -> Result<Option<Markup>, ReportError> {
    let values = timeline.series.iter().copied().flatten();
    let most = values.copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
    let length = timeline.series.iter().map(|line| line.len()).max().unwrap_or_default();
    let end = length as f64 * timeline.stretch_ns;
    if most <= 0.0 || end <= 0.0 {
        return Ok(None);
    }
    svg(caption, (WIDTH, HEIGHT), "chart", |area| draw(area, timeline, end, most)).map(Some)
}

/// Round numbers from 0 to `most`.
fn ticks(most: f64) -> Vec<f64> {
    let rough = most / MAX_TICKS;
    let scale = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * scale).find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    (0..=(most / step) as u32).map(|n| f64::from(n) * step).collect()
}

fn draw(area: &Area<'_>, timeline: &Timeline<'_>, end: f64, most: f64) -> Drawn {
    let mut chart = ChartBuilder::on(area)
        .margin_top(24)
        .margin_right(24)
        .x_label_area_size(26)
        .y_label_area_size(52)
        .build_cartesian_2d(
            Axis { low: 0.0, high: end, ticks: ticks(end) },
            Axis { low: 0.0, high: most * 1.06, ticks: ticks(most) },
        )?;
    style_mesh(&mut chart.configure_mesh(), area)
        .disable_x_mesh()
        .x_label_formatter(&|ns| units::short_time(*ns))
        .y_label_formatter(&|value| format!("{}", (value * 1000.0).round() / 1000.0))
        .draw()?;
    for (n, line) in timeline.series.iter().enumerate() {
        // Each value holds for its stretch.
        let steps = (0_u32..)
            .zip(line.iter())
            .flat_map(|(at, value)| [at, at + 1].map(|edge| (f64::from(edge) * timeline.stretch_ns, *value)));
        let ink = Ink::Part(curve_color(n)).rgb().stroke_width(2);
        chart.draw_series([PathElement::new(steps.collect::<Vec<_>>(), ink)])?;
    }
    area.draw(&Text::new(timeline.unit.to_owned(), (4, 4), label(area, Ink::Muted, HPos::Left, VPos::Top)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(6.5), [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(ticks(100.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        for most in [1e-3, 0.7, 3.0, 12_345.0, 1e12] {
            assert!((2..=7).contains(&ticks(most).len()), "{most}: {:?}", ticks(most));
        }
    }
}
