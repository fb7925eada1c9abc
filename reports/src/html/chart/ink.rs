//! Colours by purpose, and the pass that turns a drawing's fixed colours into the page's.
//!
//! The charting library writes RGB values. Each [`Ink`] has an RGB value of its
//! own that no theme uses; [`adopt`] replaces it by a class, and the style
//! sheet gives the class its colour in either theme.

use plotters::style::RGBColor;

/// Distinct colours for parts; parts beyond them share the last.
pub(in crate::html) const PARTS: usize = 16;

/// What a mark is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// Labels.
    Text,
    /// Labels of axes.
    Muted,
    /// Lines behind the marks.
    Grid,
    /// The base line.
    Axis,
    /// Bars of a distribution.
    Bar,
    /// Lines that mark a percentile.
    Mark,
    /// Labels that stand on a mark.
    OnMark,
    /// A part of a whole, by its number.
    Part(usize),
}

const FIXED: [Ink; 7] = [Ink::Text, Ink::Muted, Ink::Grid, Ink::Axis, Ink::Bar, Ink::Mark, Ink::OnMark];

impl Ink {
    fn code(self) -> u8 {
        match self {
            Self::Text => 0,
            Self::Muted => 1,
            Self::Grid => 2,
            Self::Axis => 3,
            Self::Bar => 4,
            Self::Mark => 5,
            Self::OnMark => 6,
            Self::Part(n) => 16 + n.min(PARTS - 1) as u8,
        }
    }

    /// The colour to draw with.
    pub(super) fn rgb(self) -> RGBColor {
        RGBColor(0x0d, 0xa5, self.code())
    }

    /// The name of the colour in the style sheet.
    pub(in crate::html) fn name(self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Muted => "muted".into(),
            Self::Grid => "grid".into(),
            Self::Axis => "axis".into(),
            Self::Bar => "bar".into(),
            Self::Mark => "mark".into(),
            Self::OnMark => "on-mark".into(),
            Self::Part(n) => format!("part-{}", n.min(PARTS - 1)),
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        FIXED.into_iter().chain((0..PARTS).map(Self::Part))
    }
}

/// The marks of `drawing` (a whole SVG document) with classes for colours and the page's font.
pub(super) fn adopt(drawing: &str) -> String {
    let body = drawing.split_once('>').map_or("", |(_, rest)| rest);
    let body = body.trim_end().strip_suffix("</svg>").unwrap_or(body);
    let mut out = body.replace(" font-family=\"sans-serif\"", "").replace(" opacity=\"1\"", "");
    for ink in Ink::all() {
        let RGBColor(r, g, b) = ink.rgb();
        for paint in ["fill", "stroke"] {
            out = out.replace(
                &format!("{paint}=\"#{r:02X}{g:02X}{b:02X}\""),
                &format!("class=\"{}-{}\"", &paint[..1], ink.name()),
            );
        }
    }
    out
}

/// The rules that give every class its colour.
pub(in crate::html) fn css() -> String {
    Ink::all()
        .map(|ink| {
            let name = ink.name();
            format!(".f-{name}{{fill:var(--{name})}}.s-{name}{{stroke:var(--{name})}}\n")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_classes() {
        let svg = "<svg xmlns=\"x\">\n<rect fill=\"#0DA504\" opacity=\"1\" stroke=\"none\"/>\n</svg>\n";
        assert_eq!(adopt(svg).trim(), "<rect class=\"f-bar\" stroke=\"none\"/>");
    }

    #[test]
    fn no_two_inks_look_alike() {
        let mut codes: Vec<_> = Ink::all().map(Ink::code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), FIXED.len() + PARTS);
    }
}
