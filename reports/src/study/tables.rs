//! The tables of a study, as all forms show them: a head and rows of text.

use super::{Metric, Point, Study, Variant, WAITS_SHOWN};
use crate::rows::Rows;
use crate::units::number;

impl Metric {
    /// What it says, with its unit.
    pub(super) fn heading(&self) -> String {
        let mut letters = self.about.chars();
        let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
        format!("{first}{} ({})", letters.as_str(), self.unit)
    }
}

impl Study {
    /// An x as people read it.
    pub(super) fn x_shown(&self, x: f64) -> String {
        if self.x.unit.is_empty() { number(x) } else { format!("{} {}", number(x), self.x.unit) }
    }

    /// A metric of the variants of a panel: one row each, one column for each x.
    pub(super) fn values(&self, panel: &str, metric: &Metric) -> Rows {
        let head = std::iter::once(self.x.name.clone());
        let value = |point: &Point| match point.values.get(&metric.key) {
            Some(value) => number(*value),
            None => "failed".to_owned(),
        };
        let row = |variant: &&Variant| -> Vec<String> {
            std::iter::once(variant.name.clone()).chain(variant.points.iter().map(value)).collect()
        };
        Rows {
            title: metric.heading(),
            head: head.chain(self.x.values.iter().map(|x| self.x_shown(*x))).collect(),
            rows: self.variants_of(panel).iter().map(row).collect(),
        }
    }

    /// What the variants of a panel wait for at the last x; nothing if the probe does not say.
    pub(super) fn waits(&self, panel: &str) -> Option<Rows> {
        let variants = self.variants_of(panel);
        let last = |variant: &&Variant| variant.points.last().filter(|p| !p.waits.is_empty()).cloned();
        if variants.iter().all(|variant| last(variant).is_none()) {
            return None;
        }
        let row = |variant: &&Variant| -> Vec<String> {
            let waits = last(variant).map(|point| point.waits).unwrap_or_default();
            let shown = waits.iter().take(WAITS_SHOWN).map(|w| format!("{} {}", w.name, number(w.ns)));
            let rest: f64 = waits.iter().skip(WAITS_SHOWN).map(|w| w.ns).sum();
            let mut cells: Vec<String> = shown.collect();
            cells.resize(WAITS_SHOWN, String::new());
            std::iter::once(variant.name.clone()).chain(cells).chain([number(rest)]).collect()
        };
        let at = self.x.values.last().map(|x| self.x_shown(*x)).unwrap_or_default();
        let head = ["most", "second", "third", "fourth", "all others"].map(str::to_owned);
        Some(Rows {
            title: format!("Waits at {at} {}, nanoseconds each", self.x.name),
            head: std::iter::once("variant".to_owned()).chain(head).collect(),
            rows: variants.iter().map(row).collect(),
        })
    }

    /// Points that could not be measured, with the reason.
    pub(super) fn failures(&self) -> Rows {
        let rows = self.variants.iter().flat_map(|variant| {
            variant.points.iter().filter_map(|point| {
                let error = point.error.clone()?;
                Some(vec![variant.panel.clone(), variant.name.clone(), self.x_shown(point.x), error])
            })
        });
        Rows {
            title: "Points that could not be measured".to_owned(),
            head: ["panel", "variant", &self.x.name, "why"].map(str::to_owned).to_vec(),
            rows: rows.collect(),
        }
    }

    /// What each variant is.
    pub(super) fn what(&self) -> Rows {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let row = |v: &Variant| {
            vec![
                v.panel.clone(),
                v.name.clone(),
                format!("{} under {}", v.machine, v.kernel),
                v.set.join(" "),
                v.probe.clone(),
                text(&v.source),
                text(&v.trust),
                text(&v.note),
            ]
        };
        let head = ["panel", "variant", "runs on", "settings", "probe", "source", "trust", "note"];
        Rows {
            title: "What each variant is".to_owned(),
            head: head.map(str::to_owned).to_vec(),
            rows: self.variants.iter().map(row).collect(),
        }
    }
}
