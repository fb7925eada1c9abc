//! A distribution over a logarithmic time axis, with marks at the percentiles.

use maud::Markup;
use plotters::chart::ChartBuilder;
use plotters::element::{PathElement, Rectangle, Text};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::{Area, Caption, Drawn, Hit, Ink, label, style_mesh, svg_with_hits, text_width};
use crate::ReportError;
use crate::model::{Bucket, Latency};
use crate::units;

const WIDTH: u32 = 360;
const HEIGHT: u32 = 240;
/// Height of a row of percentile labels above the plot.
const ROW: i32 = 16;
/// Ticks that fit beside each other.
const MAX_TICKS: usize = 6;
/// Width of a bucket, in decades.
const BUCKET_DECADES: f64 = 0.025;
/// Share of the height that the smallest count still gets, so that a tail can be seen.
const VISIBLE: f64 = 0.012;

/// The chart of `latency`; nothing if it has no samples.
pub(in crate::html) fn histogram(
    caption: &Caption<'_>,
    latency: &Latency,
) -> Result<Option<Markup>, ReportError> {
    let Some(range) = Range::of(&latency.histogram) else {
        return Ok(None);
    };
    svg_with_hits(caption, (WIDTH, HEIGHT), "chart", |area, hits| draw(area, latency, &range, hits)).map(Some)
}

/// The time axis, in powers of ten of a nanosecond.
struct Range {
    low: f64,
    high: f64,
    most: u64,
}

impl Range {
    fn of(buckets: &[Bucket]) -> Option<Self> {
        let (first, last) = (buckets.first()?, buckets.last()?);
        // The lowest bucket begins at zero, which has no place on this axis.
        let low = if first.from_ns > 0.0 { first.from_ns } else { first.to_ns / 2.0 };
        let (low, high) = (low.max(1e-3).log10(), last.to_ns.max(2e-3).log10());
        // At least half a decade, else a single bucket would be a wall.
        let pad = ((0.5 - (high - low)) / 2.0).max(0.04);
        let most = buckets.iter().map(|b| b.count).max()?;
        (low.is_finite() && high.is_finite() && low < high && most > 0).then_some(Self {
            low: low - pad,
            high: high + pad,
            most,
        })
    }

    /// Round times in the range, few enough to be labelled.
    fn ticks(&self) -> Vec<f64> {
        let decades = self.low.floor() as i32..=self.high.ceil() as i32;
        let within = |steps: &[f64], every: usize| -> Vec<f64> {
            let ticks = decades.clone().step_by(every);
            let ticks = ticks.flat_map(|d| steps.iter().map(move |s| f64::from(d) + s.log10()));
            ticks.filter(|t| *t >= self.low && *t <= self.high).collect()
        };
        let finest: [&[f64]; 4] =
            [&[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0], &[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]];
        let choice = finest.into_iter().map(|steps| within(steps, 1)).find(|t| t.len() <= MAX_TICKS);
        choice.unwrap_or_else(|| within(&[1.0], 4))
    }
}

/// Round counts up to `most`, whole numbers.
fn count_ticks(most: u64) -> Vec<f64> {
    let rough = (most / 4).max(1);
    let scale = 10_u64.saturating_pow(rough.ilog10());
    let step =
        [1, 2, 5, 10].into_iter().map(|m| scale.saturating_mul(m)).find(|s| *s >= rough).unwrap_or(rough);
    (0..=most / step).map(|i| (i * step) as f64).collect()
}

/// What a bucket says of itself.
fn bucket_value(bucket: &Bucket, upto: u64, all: u64) -> String {
    format!(
        "{} to {}: {} ({}); up to here {}",
        units::time(bucket.from_ns),
        units::time(bucket.to_ns),
        units::counted(bucket.count, "sample", "samples"),
        units::ratio(bucket.count, all),
        units::ratio(upto, all),
    )
}

fn draw(area: &Area<'_>, latency: &Latency, range: &Range, hits: &mut Vec<Hit>) -> Drawn {
    let most = range.most as f64;
    let mut chart = ChartBuilder::on(area)
        .margin_top(4 * ROW + 4)
        .margin_right(16)
        .x_label_area_size(26)
        .y_label_area_size(38)
        .build_cartesian_2d(
            Axis { low: range.low, high: range.high, ticks: range.ticks() },
            Axis { low: 0.0, high: most * 1.06, ticks: count_ticks(range.most) },
        )?;
    style_mesh(&mut chart.configure_mesh(), area)
        .disable_x_mesh()
        .x_label_formatter(&|tick| units::short_time(10_f64.powf(*tick)))
        .y_label_formatter(&|n| units::short_count(*n as u64))
        .draw()?;
    // A line of background between bars, where they are wide enough to spare it.
    let pixels = f64::from(area.dim_in_pixel().0) / (range.high - range.low);
    let gap = u32::from(pixels * BUCKET_DECADES >= 4.0);
    chart.draw_series(latency.histogram.iter().filter(|b| b.count > 0).map(|bucket| {
        let from = bucket.from_ns.log10().max(range.low);
        let height = (bucket.count as f64).max(most * VISIBLE);
        let mut bar = Rectangle::new([(from, height), (bucket.to_ns.log10(), 0.0)], Ink::Bar.rgb().filled());
        bar.set_margin(0, 0, 0, gap);
        bar
    }))?;
    let mut upto = 0_u64;
    for bucket in latency.histogram.iter().filter(|b| b.count > 0) {
        upto = upto.saturating_add(bucket.count);
        let (left, top) = chart.backend_coord(&(bucket.from_ns.log10().max(range.low), most));
        let (right, bottom) = chart.backend_coord(&(bucket.to_ns.log10(), 0.0));
        hits.push(Hit {
            place: [left, top, right, bottom],
            value: bucket_value(bucket, upto, latency.count),
        });
    }

    let marks = [("p50", latency.p50), ("p90", latency.p90), ("p99", latency.p99), ("p99.9", latency.p999)];
    let places = marks.map(|(name, ns)| {
        let at = ns.max(1e-3).log10().clamp(range.low, range.high);
        let (x, bottom) = chart.plotting_area().map_coordinate(&(at, 0.0));
        (x, bottom, format!("{name} {}", units::time(ns)))
    });
    // Every percentile has a row; the label stands on the side of the line that has room.
    for (row, (x, bottom, _)) in (0..).zip(&places) {
        let line = vec![(*x, ROW * row + 3), (*x, *bottom)];
        area.draw(&PathElement::new(line, Ink::Mark.rgb()))?;
    }
    for (row, (x, _, text)) in (0..).zip(places) {
        let fits = x + 4 + text_width(&text) <= WIDTH as i32;
        let (at, side) = if fits { (x + 4, HPos::Left) } else { (x - 4, HPos::Right) };
        area.draw(&Text::new(text, (at, ROW * row + 2), label(area, Ink::Text, side, VPos::Top)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_few_at_any_width() {
        for (low, high) in [(2.9, 3.4), (2.0, 4.0), (-3.0, 16.0), (0.0, 7.0)] {
            let n = Range { low, high, most: 1 }.ticks().len();
            assert!((2..=MAX_TICKS).contains(&n), "{low}..{high}: {n}");
        }
        for most in [1, 3, 4, 5, 99, 12_345, u64::MAX] {
            assert!((2..=6).contains(&count_ticks(most).len()), "{most}: {:?}", count_ticks(most));
        }
    }
}
