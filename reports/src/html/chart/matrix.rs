//! A square of who had to do with whom, shaded by how much.

use maud::Markup;
use plotters::element::{Rectangle, Text};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::{Area, Caption, Drawn, Hit, Ink, at_two_widths, label, text_width};
use crate::ReportError;

/// Room for the names of rows, and above for those of columns.
const NAMES: i32 = 76;
const HEAD: i32 = 44;
/// Sides of a cell, pixels.
const CELL: [i32; 2] = [5, 44];
/// Shade of the least and of the greatest value: labels on either can be read.
const SHADES: [f64; 2] = [0.06, 0.5];

/// A cell that is not empty.
pub(in crate::html) struct Cell {
    /// Its place, as indices of the names.
    pub row: usize,
    pub column: usize,
    /// What it is shaded by.
    pub amount: f64,
    /// What stands in it, if there is room.
    pub label: String,
    /// What the pointer shows.
    pub value: String,
}

/// A matrix.
pub(in crate::html) struct Matrix<'a> {
    /// Of rows and columns alike.
    pub names: &'a [String],
    /// What rows and columns are.
    pub sides: [&'a str; 2],
    pub cells: &'a [Cell],
}

/// The chart; nothing without cells.
pub(in crate::html) fn matrix(
    caption: &Caption<'_>,
    matrix: &Matrix<'_>,
) -> Result<Option<Markup>, ReportError> {
    if matrix.cells.is_empty() {
        return Ok(None);
    }
    let many = matrix.names.len().max(1) as i32;
    let sizes = [900, 340].map(|width: i32| {
        let cell = ((width - NAMES) / many).clamp(CELL[0], CELL[1]);
        ((NAMES + many * cell + 4) as u32, (HEAD + many * cell + 4) as u32)
    });
    at_two_widths(caption, sizes, |area, hits| draw(area, matrix, hits)).map(Some)
}

fn draw(area: &Area<'_>, matrix: &Matrix<'_>, hits: &mut Vec<Hit>) -> Drawn {
    let many = matrix.names.len().max(1) as i32;
    let cell = (area.dim_in_pixel().0 as i32 - NAMES - 4) / many;
    let end = |from: i32| from + many * cell;
    let muted = |h, v| label(area, Ink::Muted, h, v);
    area.draw(&Text::new(format!("{} ↓", matrix.sides[0]), (0, 20), muted(HPos::Left, VPos::Top)))?;
    area.draw(&Text::new(format!("{} →", matrix.sides[1]), (NAMES, 2), muted(HPos::Left, VPos::Top)))?;
    let frame = Rectangle::new([(NAMES, HEAD), (end(NAMES), end(HEAD))], Ink::Axis.rgb().stroke_width(1));
    area.draw(&frame)?;
    // As many names as there is room for.
    let longest = matrix.names.iter().map(|name| text_width(name)).max().unwrap_or_default();
    for (every, across) in [(longest + 8, true), (16, false)] {
        let step = (every / cell.max(1) + 1).max(1) as usize;
        for (n, name) in matrix.names.iter().enumerate().step_by(step) {
            let middle = n as i32 * cell + cell / 2;
            let (at, style) = if across {
                ((NAMES + middle, HEAD - 4), muted(HPos::Center, VPos::Bottom))
            } else {
                ((NAMES - 6, HEAD + middle), muted(HPos::Right, VPos::Center))
            };
            area.draw(&Text::new(name.as_str(), at, style))?;
        }
    }
    let most = matrix.cells.iter().map(|of| of.amount).fold(0.0, f64::max);
    for of in matrix.cells {
        let (left, top) = (NAMES + of.column as i32 * cell, HEAD + of.row as i32 * cell);
        let share = if most > 0.0 { of.amount / most } else { 0.0 };
        let shade = SHADES[0] + share * (SHADES[1] - SHADES[0]);
        let gap = i32::from(cell > 8);
        let corners = [(left + gap, top + gap), (left + cell - gap, top + cell - gap)];
        area.draw(&Rectangle::new(corners, Ink::Bar.rgb().mix((shade * 100.0).round() / 100.0).filled()))?;
        if text_width(&of.label) + 4 <= cell && cell >= 16 {
            let style = label(area, Ink::Text, HPos::Center, VPos::Center);
            area.draw(&Text::new(of.label.as_str(), (left + cell / 2, top + cell / 2), style))?;
        }
        hits.push(Hit { place: [left, top, left + cell, top + cell], value: of.value.clone() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_drawn_and_says_its_value_at_any_size() {
        for cpus in [2_usize, 8, 64] {
            let names: Vec<String> = (0..cpus).map(|n| format!("CPU {n}")).collect();
            let pairs = (0..cpus).flat_map(|row| (0..cpus).map(move |column| (row, column)));
            let cells: Vec<Cell> = pairs
                .filter(|(row, column)| row != column)
                .map(|(row, column)| Cell {
                    row,
                    column,
                    amount: (row + column) as f64,
                    label: row.to_string(),
                    value: format!("{row} of {column}"),
                })
                .collect();
            let caption = Caption { id: "a", title: "t", description: "d" };
            let of = Matrix { names: &names, sides: ["asks", "asked"], cells: &cells };
            let svg = matrix(&caption, &of).unwrap().unwrap().into_string();
            assert_eq!(svg.matches("class=\"hit\"").count(), 2 * cpus * (cpus - 1));
            assert!(svg.contains("<title>1 of 0</title>") && svg.contains("CPU 0"), "{cpus}");
            // Only the ink's own colours, shaded.
            assert!(!svg.contains("=\"#") && svg.contains("opacity=\"0.5\""), "{cpus}");
        }
    }
}
