//! The tables of a comparison of sweeps, as all forms show them.

use super::SweepComparison;
use crate::compare::Change;
use crate::compare::tables::{by, signed, value};
use crate::rows::Rows;
use crate::units::number;

/// Points of a per cent that changes differ by from one value of a key to another, before a table tells of it.
const LEAST_SPAN: f64 = 0.05;

impl SweepComparison {
    /// What must not hold.
    pub(super) fn limit_rows(&self) -> Rows {
        let head = ["fails if", "points", "failing", "base", "new", "measured", "worst point", ""];
        let mut rows = Rows::new("Limits", &head);
        for check in &self.checks {
            rows.rows.push(vec![
                check.fail_if.clone(),
                check.points.to_string(),
                check.failing.to_string(),
                value(check.found.base),
                value(check.found.new),
                value(check.found.measured),
                check.worst.clone(),
                if check.failing > 0 { "FAILS" } else { "ok" }.to_owned(),
            ]);
        }
        rows
    }

    /// Each number over all points.
    pub(super) fn metric_rows(&self) -> Rows {
        let head = ["number", "points", "less", "more", "base", "new", "change", "from", "to"];
        let mut rows = Rows::new("Each number over all points, geometric means", &head);
        for m in &self.metrics {
            let change =
                Change { path: String::new(), base: m.base, new: m.new, change: 0.0, percent: m.percent };
            let extreme = |of: &Option<super::PlacedPercent>| {
                of.as_ref().map_or(String::new(), |p| per_cent(p.percent))
            };
            rows.rows.push(vec![
                m.metric.clone(),
                m.points.to_string(),
                m.less.to_string(),
                m.more.to_string(),
                value(m.base),
                value(m.new),
                if m.base.is_some() { by(&change) } else { String::new() },
                extreme(&m.least),
                extreme(&m.most),
            ]);
        }
        rows
    }

    /// The best points.
    pub(super) fn best_rows(&self) -> Rows {
        let head = ["objective", "best in base", "value", "best in new", "value"];
        let mut rows = Rows::new("The best points", &head);
        for best in &self.best {
            let new = if best.new == best.base { "the same".to_owned() } else { best.new.clone() };
            rows.rows.push(vec![
                best.objective.clone(),
                best.base.clone(),
                number(best.base_value),
                new,
                number(best.new_value),
            ]);
        }
        rows
    }

    /// How changes depend on keys.
    pub(super) fn key_rows(&self) -> Rows {
        let mut rows =
            Rows::new("What the changes depend on", &["number", "key", "span", "change at each value"]);
        for key in self.by_key.iter().filter(|key| key.span >= LEAST_SPAN) {
            let each: Vec<String> = key
                .percents
                .iter()
                .map(|(level, percent)| format!("{level}: {}", per_cent(*percent)))
                .collect();
            rows.rows.push(vec![
                key.metric.clone(),
                key.key.clone(),
                format!("{} points", number(key.span)),
                each.join(", "),
            ]);
        }
        rows
    }

    /// Changes at points, the greatest first; all of them or `most`.
    pub(super) fn point_rows(&self, most: usize) -> Rows {
        let mut all: Vec<(&str, &Change)> = Vec::new();
        for point in &self.points {
            all.extend(point.changes.iter().map(|change| (point.short.as_str(), change)));
        }
        let size = |change: &Change| change.percent.map_or(f64::INFINITY, f64::abs);
        all.sort_by(|a, b| size(b.1).total_cmp(&size(a.1)));
        let title = match all.len() {
            n if n > most => format!("The {most} greatest of {n} changes at points"),
            _ => "Changes at points".to_owned(),
        };
        let mut rows = Rows::new(title, &["point", "number", "base", "new", "change", ""]);
        for (place, change) in all.into_iter().take(most) {
            rows.rows.push(vec![
                place.to_owned(),
                change.path.clone(),
                value(change.base),
                value(change.new),
                signed(change.change),
                by(change),
            ]);
        }
        rows
    }

    /// Points that were not compared, with the reason; at most `most`.
    pub(super) fn left_rows(&self, most: usize) -> Rows {
        let mut rows = Rows::new("Points not compared", &["point", "why"]);
        let sides = [(&self.only_base, "only in the base"), (&self.only_new, "only in the new one")];
        for (places, why) in sides {
            rows.rows.extend(places.iter().map(|place| vec![place.clone(), why.to_owned()]));
        }
        let failed = self.failed.iter().filter_map(|text| text.rsplit_once(": "));
        rows.rows.extend(failed.map(|(place, side)| vec![place.to_owned(), format!("failed {side}")]));
        if rows.rows.len() > most {
            rows.title = format!("The first {most} of {} points not compared", rows.rows.len());
            rows.rows.truncate(most);
        }
        rows
    }
}

/// A change in per cent that is written even if it is small.
pub(super) fn per_cent(percent: f64) -> String {
    if percent == 0.0 {
        return "0".to_owned();
    }
    if percent.abs() < 0.05 { format!("{percent:+.3} %") } else { format!("{percent:+.1} %") }
}
