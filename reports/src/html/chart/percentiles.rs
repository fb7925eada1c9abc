//! Percentile curves: how long the slowest part of the samples took, with as much room for each further nine.

use maud::Markup;
use plotters::chart::ChartBuilder;
use plotters::element::PathElement;
use plotters::style::Color;

use super::axis::Axis;
use super::curves::{curve_color, log_y_axis};
use super::{Area, Caption, Drawn, Hit, Ink, at_two_widths, name_axes, style_mesh};
use crate::ReportError;
use crate::units;

const SIZES: [(u32, u32); 2] = [(1040, 380), (360, 300)];
/// Half the width of the place that a point answers from.
const HIT_PX: i32 = 6;

/// One kind, as shares of the samples with the time that they do not exceed, ascending.
pub(in crate::html) struct Percentiles<'a> {
    pub name: &'a str,
    pub points: &'a [(f64, f64)],
}

/// The chart; nothing without points.
pub(in crate::html) fn percentiles(
    caption: &Caption<'_>,
    kinds: &[Percentiles<'_>],
) -> Result<Option<Markup>, ReportError> {
    if kinds.iter().all(|kind| kind.points.is_empty()) {
        return Ok(None);
    }
    at_two_widths(caption, SIZES, |area, hits| draw(area, kinds, hits)).map(Some)
}

/// How many nines a share has: 0.9 has one, 0.99 two. A share of all has as many as `most`.
fn nines(share: f64, most: f64) -> f64 {
    if share >= 1.0 { most } else { (-(1.0 - share).log10()).clamp(0.0, most) }
}

fn tick(nines: f64) -> String {
    let share = 100.0 * (1.0 - 10_f64.powf(-nines));
    let digits = (nines.round() as usize).saturating_sub(2);
    format!("{share:.digits$} %")
}

fn draw(area: &Area<'_>, kinds: &[Percentiles<'_>], hits: &mut Vec<Hit>) -> Drawn {
    let points = || kinds.iter().flat_map(|kind| kind.points);
    let most = points().filter(|p| p.0 < 1.0).map(|p| nines(p.0, f64::MAX)).fold(1.0, f64::max) + 0.3;
    let half = 0.5_f64.log10().abs();
    // The median stands between, where there is room for it.
    let room = f64::from(area.dim_in_pixel().0) * half / most > 60.0;
    let ticks =
        std::iter::once(0.0).chain(room.then_some(half)).chain((1..=most as u32).map(f64::from)).collect();
    let mut chart = ChartBuilder::on(area)
        .margin_top(28)
        .margin_right(32)
        .x_label_area_size(48)
        .y_label_area_size(60)
        .build_cartesian_2d(Axis { low: 0.0, high: most, ticks }, log_y_axis(points().map(|p| p.1)))?;
    style_mesh(&mut chart.configure_mesh(), area)
        .x_label_formatter(&|x| tick(*x))
        .y_label_formatter(&|y| units::short_time(10_f64.powf(*y)))
        .draw()?;
    for (n, kind) in kinds.iter().enumerate() {
        let place = |(share, ns): &(f64, f64)| (nines(*share, most), ns.max(1e-3).log10());
        let path: Vec<(f64, f64)> = kind.points.iter().map(place).collect();
        chart.draw_series([PathElement::new(path, Ink::Part(curve_color(n)).rgb().stroke_width(2))])?;
        hits.extend(kind.points.iter().map(|point| {
            let (x, y) = chart.backend_coord(&place(point));
            Hit { place: [x - HIT_PX, y - HIT_PX, x + HIT_PX, y + HIT_PX], value: said(kind.name, *point) }
        }));
    }
    name_axes(area, "percentile", "time")
}

fn said(kind: &str, (share, ns): (f64, f64)) -> String {
    if share >= 1.0 {
        return format!("{kind}: all within {}", units::time(ns));
    }
    let text = format!("{:.4}", share * 100.0);
    format!("{kind}: {} % within {}", text.trim_end_matches('0').trim_end_matches('.'), units::time(ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_nine_has_as_much_room() {
        let of = |share| (nines(share, 5.0) * 1000.0).round() / 1000.0;
        assert_eq!([0.0, 0.9, 0.99, 0.999, 1.0].map(of), [0.0, 1.0, 2.0, 3.0, 5.0]);
        assert_eq!([0.0, 1.0, 2.0, 3.0, 4.0].map(tick), ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
    }

    #[test]
    fn a_point_says_its_percentile_at_both_widths() {
        let kinds = [Percentiles { name: "read", points: &[(0.5, 100.0), (0.999, 2500.0), (1.0, 3000.0)] }];
        let caption = Caption { id: "a", title: "t", description: "d" };
        let svg = percentiles(&caption, &kinds).unwrap().unwrap().into_string();
        for want in ["read: 50 % within 100 ns", "read: 99.9 % within 2.50 us", "read: all within 3.00 us"] {
            assert_eq!(svg.matches(&format!("<title>{want}</title>")).count(), 2, "{want}");
        }
        assert!(percentiles(&caption, &[]).unwrap().is_none());
    }
}
