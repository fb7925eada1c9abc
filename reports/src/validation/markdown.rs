//! The points in Markdown: how far off by kind of measurement, beside what is known of other simulators; what fails; all points.

use std::collections::{BTreeMap, BTreeSet};

use super::published::PUBLISHED;
use super::{Point, Validation, percent};
use crate::rows::Rows;

/// The page, with a newline at the end.
#[must_use]
pub fn render(validation: &Validation) -> String {
    let v = validation;
    let mut out = format!(
        "# Validation\n\nMade by `daxsim validate --out`; edit nothing by hand.\n\n{} of {} points hold. Each is a number or a curve that \
         was measured on hardware; the simulated machine is put to the same measurement. What was chosen so that a point is met is \
         named beside it.\n",
        v.passed,
        v.points.len()
    );
    out += "\n## By kind of measurement\n";
    out += &families(v).markdown(1);
    out += "\nThe error of a point is the mean of how far each of its values is off, as a share of what was measured; that of a row \
            is the mean of its points. \"Nothing fitted\" are the points that no constant was chosen for.\n";
    out += "\n## Beside other simulators\n";
    out += &beside(v).markdown(5);
    out += "\nThese are different measurements of different machines: the numbers say what accuracy simulators of this kind have, not \
            which is better. Trust: `A` run or measured by us or raw, `B` stated by those who measured, `M` from memory and not checked.\n";
    out += "\n## Points that fail\n";
    let failing: Vec<&Point> = v.points.iter().filter(|point| !point.passed).collect();
    if failing.is_empty() {
        out += "\nNone.\n";
    }
    for point in failing {
        out += &format!(
            "\n- `{}`, {} on {}: expected {}, simulated {}, {} off, allowed {}.{}\n",
            point.id,
            point.about,
            point.machine,
            point.expected_shown(),
            point.got_shown(),
            point.error_shown(),
            point.tolerance_shown(),
            point.note.as_ref().map_or_else(String::new, |note| format!(" {note}."))
        );
    }
    out += "\n## All points\n";
    out += &points(v).markdown(2);
    out += "\n## Sources\n\n";
    let sources: BTreeSet<&str> = v.points.iter().map(|point| point.source.as_str()).collect();
    out.extend(sources.iter().map(|source| format!("- {source}\n")));
    out
}

/// Points with their mean errors.
#[derive(Default)]
struct Family {
    points: usize,
    hold: usize,
    errors: Vec<f64>,
    unfitted: Vec<f64>,
}

impl Family {
    fn add(&mut self, point: &Point) {
        self.points += 1;
        self.hold += usize::from(point.passed);
        if let Some(error) = point.mean_error() {
            self.errors.push(error);
            if point.fitted.is_none() {
                self.unfitted.push(error);
            }
        }
    }

    fn cells(&self, name: &str) -> Vec<String> {
        vec![
            name.to_owned(),
            self.points.to_string(),
            self.hold.to_string(),
            mean(&self.errors),
            self.unfitted.len().to_string(),
            mean(&self.unfitted),
        ]
    }
}

fn mean(errors: &[f64]) -> String {
    if errors.is_empty() {
        "–".to_owned()
    } else {
        percent(errors.iter().sum::<f64>() / errors.len() as f64)
    }
}

fn families(v: &Validation) -> Rows {
    let head = ["measurement", "points", "hold", "mean error", "nothing fitted", "mean error"];
    let mut rows = Rows::new("How far off the simulation is", &head);
    let mut families: BTreeMap<&str, Family> = BTreeMap::new();
    let mut all = Family::default();
    for point in &v.points {
        families.entry(point.family()).or_default().add(point);
        all.add(point);
    }
    rows.rows.extend(families.iter().map(|(name, family)| family.cells(name)));
    rows.rows.push(all.cells("all"));
    rows
}

fn beside(v: &Validation) -> Rows {
    let mut rows =
        Rows::new("Errors against hardware", &["simulator", "compared", "error", "source", "trust"]);
    let mut all = Family::default();
    v.points.iter().for_each(|point| all.add(point));
    let ours = |compared: String, error: String| {
        vec!["daxsim".to_owned(), compared, error, "this page".to_owned(), "A".to_owned()]
    };
    let unfitted = format!("the {} of them that nothing was fitted to", all.unfitted.len());
    rows.rows
        .push(ours(format!("the {} points of this page", all.errors.len()), mean(&all.errors) + " mean"));
    rows.rows.push(ours(unfitted, mean(&all.unfitted) + " mean"));
    for p in &PUBLISHED {
        rows.rows.push([p.name, p.compared, p.error, p.source, p.trust].map(str::to_owned).to_vec());
    }
    rows
}

fn points(v: &Validation) -> Rows {
    let head = ["point", "what", "expected", "simulated", "error", "tolerance", "", "trust", "fitted to it"];
    let mut rows =
        Rows::new("Measured and simulated; of several values the one that is farthest off is shown", &head);
    for p in &v.points {
        rows.rows.push(vec![
            p.id.clone(),
            p.about.clone(),
            p.expected_shown(),
            p.got_shown(),
            p.error_shown(),
            p.tolerance_shown(),
            if p.passed { "pass" } else { "FAIL" }.to_owned(),
            p.trust.clone(),
            p.fitted.clone().unwrap_or_default(),
        ]);
    }
    rows
}

impl Point {
    /// The kind of measurement: what stands first in its description.
    fn family(&self) -> &str {
        self.probe.split([',', ' ']).next().unwrap_or_default()
    }

    /// Mean of how far each value is off, as a share of what was measured; `None` if nothing above 0 was.
    fn mean_error(&self) -> Option<f64> {
        let pairs = self.expected.iter().zip(&self.got).filter(|(expected, _)| **expected != 0.0);
        let errors: Vec<f64> = pairs.map(|(expected, got)| ((got - expected) / expected).abs()).collect();
        (!errors.is_empty()).then(|| errors.iter().sum::<f64>() / errors.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(id: &str, probe: &str, expected: &[f64], got: &[f64], fitted: Option<&str>) -> Point {
        Point {
            id: id.into(),
            probe: probe.into(),
            expected: expected.to_vec(),
            got: got.to_vec(),
            fitted: fitted.map(str::to_owned),
            passed: expected == got,
            ..Point::default()
        }
    }

    #[test]
    fn errors_are_means_of_points_by_kind_and_apart_for_those_nothing_was_fitted_to() {
        let v = Validation::new(vec![
            point("a", "chase, a load every 64 B", &[10.0, 20.0], &[11.0, 20.0], None),
            point("b", "chase, a load every 4 KiB", &[10.0], &[11.5], Some("cpi")),
            point("c", "tlbdr, nine", &[0.0], &[1.0], None),
        ]);
        let rows = families(&v).rows;
        assert_eq!(rows[0], ["chase", "2", "0", "10.0 %", "1", "5.0 %"]);
        assert_eq!(rows[1], ["tlbdr", "1", "0", "–", "0", "–"], "nothing can be said in shares of 0");
        assert_eq!(rows[2], ["all", "3", "0", "10.0 %", "1", "5.0 %"]);
    }

    #[test]
    fn the_page_names_what_fails_and_other_simulators() {
        let mut failing = point("x.1", "fault, dax-read", &[10.0], &[20.0], None);
        failing.note = Some("not known why".into());
        let text = render(&Validation::new(vec![failing, point("y", "fault", &[1.0], &[1.0], None)]));
        assert!(text.contains("1 of 2 points hold"), "{text}");
        assert!(text.contains("- `x.1`, ") && text.contains("not known why."), "{text}");
        for name in ["VANS", "gem5", "Virtuoso", "50.0 % mean"] {
            assert!(text.contains(name), "{name}: {text}");
        }
    }
}
