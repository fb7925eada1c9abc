//! Lines over simulated time.

use maud::Markup;
use plotters::chart::ChartBuilder;
use plotters::element::{PathElement, Text};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::{Area, Caption, Drawn, Hit, Ink, at_two_widths, curve_color, label, style_mesh};
use crate::ReportError;
use crate::units;

/// For wide screens, and for narrow ones.
const SIZES: [(u32, u32); 2] = [(1040, 220), (360, 200)];
/// Ticks of an axis at most, and pixels that one of time takes.
const MAX_TICKS: f64 = 6.0;
const TICK_PX: f64 = 70.0;
/// Width that the pointer can still hit.
const HIT_PX: f64 = 4.0;

/// Values of stretches one after another.
pub(in crate::html) struct Timeline<'a> {
    /// Length of a stretch, nanoseconds.
    pub stretch_ns: f64,
    /// Where the axis of time ends, nanoseconds; the longest line may go beyond.
    pub end_ns: f64,
    /// Unit of the values.
    pub unit: &'a str,
    /// One line each, with its name.
    pub series: &'a [(&'a str, &'a [f64])],
}

/// The chart; nothing if every value is 0.
pub(in crate::html) fn timeline(
    caption: &Caption<'_>,
    timeline: &Timeline<'_>,
) -> Result<Option<Markup>, ReportError> {
    let values = timeline.series.iter().flat_map(|(_, values)| *values);
    let most = values.copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
    let length = timeline.series.iter().map(|(_, line)| line.len()).max().unwrap_or_default();
    let end = (length as f64 * timeline.stretch_ns).max(timeline.end_ns);
    if most <= 0.0 || end <= 0.0 {
        return Ok(None);
    }
    at_two_widths(caption, SIZES, |area, hits| draw(area, timeline, (end, most), hits)).map(Some)
}

/// Round numbers from 0 to `most`, about `many`.
fn ticks(most: f64, many: f64) -> Vec<f64> {
    let rough = most / many.max(1.0);
    let scale = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * scale).find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    (0..=(most / step) as u32).map(|n| f64::from(n) * step).collect()
}

fn draw(area: &Area<'_>, timeline: &Timeline<'_>, (end, most): (f64, f64), hits: &mut Vec<Hit>) -> Drawn {
    let width = f64::from(area.dim_in_pixel().0);
    let mut chart = ChartBuilder::on(area)
        .margin_top(24)
        .margin_right(24)
        .x_label_area_size(26)
        .y_label_area_size(52)
        .build_cartesian_2d(
            Axis { low: 0.0, high: end, ticks: ticks(end, (width / TICK_PX).min(MAX_TICKS)) },
            Axis { low: 0.0, high: most * 1.06, ticks: ticks(most, MAX_TICKS) },
        )?;
    style_mesh(&mut chart.configure_mesh(), area)
        .disable_x_mesh()
        .x_label_formatter(&|ns| units::short_time(*ns))
        .y_label_formatter(&|value| format!("{}", (value * 1000.0).round() / 1000.0))
        .draw()?;
    for (n, (_, line)) in timeline.series.iter().enumerate() {
        // Each value holds for its stretch.
        let steps = (0_u32..)
            .zip(line.iter())
            .flat_map(|(at, value)| [at, at + 1].map(|edge| (f64::from(edge) * timeline.stretch_ns, *value)));
        // Down to nothing where the line ends early.
        let last = line.len() as f64 * timeline.stretch_ns;
        let rest = [(last, 0.0), (end, 0.0)].into_iter().filter(|(at, _)| *at >= last && last < end);
        let ink = Ink::Part(curve_color(n)).rgb().stroke_width(2);
        chart.draw_series([PathElement::new(steps.chain(rest).collect::<Vec<_>>(), ink)])?;
    }
    area.draw(&Text::new(timeline.unit.to_owned(), (4, 4), label(area, Ink::Muted, HPos::Left, VPos::Top)))?;
    let (left, top) = chart.backend_coord(&(0.0, most));
    let (right, bottom) = chart.backend_coord(&(end, 0.0));
    let per_ns = f64::from(right - left) / end;
    // As many stretches together as the pointer can hit.
    let together = (HIT_PX / (per_ns * timeline.stretch_ns)).ceil().max(1.0) as usize;
    let length = timeline.series.iter().map(|(_, line)| line.len()).max().unwrap_or_default();
    for from in (0..length).step_by(together) {
        let span = [from, (from + together).min(length)].map(|edge| edge as f64 * timeline.stretch_ns);
        if let Some(value) = said(timeline, from, together, span) {
            let [begin, end] = span.map(|ns| left + (ns * per_ns).round() as i32);
            hits.push(Hit { place: [begin, top, end, bottom], value });
        }
    }
    Ok(())
}

/// What the pointer shows of some stretches: the mean of each line that is not at nothing.
fn said(timeline: &Timeline<'_>, from: usize, together: usize, span: [f64; 2]) -> Option<String> {
    let means = timeline.series.iter().map(|(name, line)| {
        let of = line.get(from..line.len().min(from + together)).unwrap_or_default();
        (name, of.iter().sum::<f64>() / together as f64)
    });
    let lines: Vec<String> = means
        .filter(|(_, mean)| *mean > 0.0)
        .map(|(name, mean)| format!("\n{name}: {}", shown(mean)))
        .collect();
    let unit = timeline.unit;
    (!lines.is_empty())
        .then(|| format!("{} to {}, {unit}{}", units::time(span[0]), units::time(span[1]), lines.concat()))
}

/// Three significant digits.
fn shown(value: f64) -> String {
    let digits = (2.0 - value.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(6.5, 6.0), [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(ticks(100.0, 6.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        for most in [1e-3, 0.7, 3.0, 12_345.0, 1e12] {
            assert!((2..=7).contains(&ticks(most, 6.0).len()), "{most}: {:?}", ticks(most, 6.0));
        }
    }

    #[test]
    fn the_pointer_finds_the_values_of_stretches_in_which_something_came() {
        let (reads, writes) = (vec![0.0, 2.5, 0.0, 0.0], vec![0.0, 1.0]);
        let series = [("read", reads.as_slice()), ("written", writes.as_slice())];
        let chart = Timeline { stretch_ns: 1000.0, end_ns: 5000.0, unit: "GB/s", series: &series };
        let caption = Caption { id: "a", title: "t", description: "d" };
        let svg = timeline(&caption, &chart).unwrap().unwrap().into_string();
        let want = "<title>1.00 us to 2.00 us, GB/s\nread: 2.50\nwritten: 1.00</title>";
        assert_eq!((svg.matches(want).count(), svg.matches("class=\"hit\"").count()), (2, 2), "{svg}");
    }
}
