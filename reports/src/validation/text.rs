//! The points for the terminal.

use super::{Point, Validation};
use crate::terminal::aligned;

/// The table and how many points hold, with a newline at the end.
#[must_use]
pub fn summary(validation: &Validation) -> String {
    let rows: Vec<Vec<String>> = validation.points.iter().map(row).collect();
    let head = ["point", "expected", "got", "error", "tolerance", ""];
    let mut out = aligned("Validation points (of several values the one that is farthest off)", &head, rows);
    let failed: Vec<&Point> = validation.points.iter().filter(|point| !point.passed).collect();
    out += &format!("\n\n{} of {} points hold\n", validation.passed, validation.points.len());
    for point in failed {
        out += &format!("  {}: {}\n", point.id, point.about);
    }
    out
}

fn row(point: &Point) -> Vec<String> {
    vec![
        point.id.clone(),
        point.expected_shown(),
        point.got_shown(),
        point.error_shown(),
        point.tolerance_shown(),
        if point.passed { "pass" } else { "FAIL" }.to_owned(),
    ]
}
