//! The comparison for the terminal.

use super::{Change, Comparison, Share, Transition, Unit};
use crate::terminal::aligned;
use crate::units;

/// The tables, with a newline at the end.
#[must_use]
pub fn summary(comparison: &Comparison) -> String {
    let c = comparison;
    let set = if c.overrides.is_empty() { String::new() } else { format!(", {}", c.overrides.join(", ")) };
    let mut out =
        format!("Insert semantics on {}\nmachine {}, tree {}, {}{set}\n\n", c.input, c.machine, c.tree, c.fs);
    let mut head = vec![""];
    head.extend(c.semantics.iter().map(String::as_str));
    let rows = c.rows.iter().map(|row| {
        let values = row.values.iter().map(|value| shown(row.unit, *value));
        std::iter::once(row.label.clone()).chain(values).collect()
    });
    out.push_str(&aligned("Measured", &head, rows.collect()));
    out.push('\n');
    for transition in &c.transitions {
        out.push('\n');
        out.push_str(&changes(transition));
    }
    for note in &c.notes {
        out.push_str(&format!("\nnote: {note}\n"));
    }
    out
}

/// A value, or a dash where there is none.
pub(super) fn shown(unit: Unit, value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| unit.show(value))
}

/// The change of a metric as a whole.
pub(super) fn whole(change: &Change) -> String {
    match (change.from, change.to) {
        (Some(from), Some(to)) => change.unit.show_change(to - from),
        (None, Some(to)) => format!("new: {}", change.unit.show(to)),
        _ => "gone".to_owned(),
    }
}

/// The knobs that make a change, each with its share.
pub(super) fn made_by(change: &Change) -> String {
    let one = |share: &Share| {
        let what = match (share.delta(), share.from, share.to) {
            (Some(delta), ..) => change.unit.show_change(delta),
            (None, None, Some(_)) => "makes it".to_owned(),
            _ => "ends it".to_owned(),
        };
        let mark = if share.delta().is_none() || share.holds_alone() { "" } else { "*" };
        format!("{} {what}{mark}", share.knob)
    };
    change.by.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn changes(transition: &Transition) -> String {
    let title = format!("From {} to {}, knob by knob", transition.from, transition.to);
    if transition.changes.is_empty() {
        return format!("{title}: no difference on this input\n");
    }
    let width = |of: fn(&Change) -> String| transition.changes.iter().map(|c| of(c).chars().count()).max();
    let label = width(|c| c.label.clone()).unwrap_or_default();
    let change = width(whole).unwrap_or_default();
    let mut out = format!("{title}\n");
    for c in &transition.changes {
        out.push_str(&format!("  {:<label$}  {:>change$}  {}\n", c.label, whole(c), made_by(c)));
    }
    if transition.changes.iter().flat_map(|c| &c.by).any(|s| s.delta().is_some() && !s.holds_alone()) {
        out.push_str("  * another number if this knob alone is switched: it depends on those before it\n");
    }
    let idle = transition.without_effect();
    if !idle.is_empty() {
        let differ = units::counted(idle.len() as u64, "knob", "knobs");
        out.push_str(&format!("  {differ} without effect on this input: {}\n", idle.join(", ")));
    }
    out
}
