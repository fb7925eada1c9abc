//! The colours of both themes, and the style sheet made of them.

use super::chart;

/// Name, light value, dark value. Text on its ground, and labels on marks, contrast at 4.5 to 1 or more.
const COLORS: [(&str, &str, &str); 29] = [
    ("bg", "#ffffff", "#14171c"),
    ("panel", "#f5f6f8", "#1d2128"),
    ("text", "#1b1f24", "#e6e9ee"),
    ("muted", "#59626e", "#a3adba"),
    ("grid", "#dde1e6", "#343b46"),
    ("axis", "#8a929c", "#6d7785"),
    ("line", "#d5d9df", "#39414d"),
    ("accent", "#1f5fae", "#8ab8f2"),
    ("warn-bg", "#fff3d6", "#3a2e10"),
    ("warn", "#7a4a00", "#ffd27a"),
    ("bar", "#2f6db5", "#7fb2f0"),
    ("mark", "#b4261e", "#ff9b90"),
    ("on-mark", "#ffffff", "#101317"),
    ("part-0", "#5a6472", "#aab4c0"),
    ("part-1", "#0b7580", "#63cdd6"),
    ("part-2", "#a8323e", "#f08a92"),
    ("part-3", "#2f6db5", "#7fb2f0"),
    ("part-4", "#2b7848", "#7fcf9b"),
    ("part-5", "#a94e0a", "#f0a35e"),
    ("part-6", "#8548a6", "#c79be0"),
    ("part-7", "#6a6510", "#cfcf6a"),
    ("part-8", "#7a5c46", "#c9a88e"),
    ("part-9", "#ab327b", "#ec8fc6"),
    ("part-10", "#3d4fb8", "#a3aef5"),
    ("part-11", "#4a4f57", "#d2d7de"),
    ("part-12", "#00629b", "#7cc7f5"),
    ("part-13", "#8c2f00", "#f5b08a"),
    ("part-14", "#5b3b8c", "#bda6ec"),
    ("part-15", "#165b4e", "#7fd6c2"),
];

fn variables(dark: bool) -> String {
    let scheme = if dark { "dark" } else { "light" };
    let mut out = format!("color-scheme:{scheme};");
    for (name, light_value, dark_value) in COLORS {
        out += &format!("--{name}:{};", if dark { dark_value } else { light_value });
    }
    out
}

/// Everything inside the page's `<style>`.
pub(super) fn css() -> String {
    let (light, dark) = (variables(false), variables(true));
    format!(
        ":root{{{light}}}\n\
         @media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}\n\
         :root[data-theme=dark]{{{dark}}}\n\
         @media print{{:root,:root:not([data-theme=light]),:root[data-theme=dark]{{{light}}}}}\n\
         {}{}{}",
        chart::css(),
        (0..chart::PARTS).map(|n| format!(".b-{n}{{background:var(--part-{n})}}\n")).collect::<String>(),
        include_str!("page.css"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WCAG 2 contrast of two `#rrggbb`.
    fn contrast(a: &str, b: &str) -> f64 {
        let luminance = |c: &str| {
            let channel = |i: usize| {
                let v = f64::from(u8::from_str_radix(&c[i..i + 2], 16).unwrap()) / 255.0;
                if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
        };
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_can_be_read_in_both_themes() {
        for dark in [false, true] {
            let get = |name: &str| {
                let c = COLORS.iter().find(|c| c.0 == name).unwrap();
                if dark { c.2 } else { c.1 }
            };
            let mut pairs = vec![
                ("text", "bg"),
                ("muted", "bg"),
                ("muted", "panel"),
                ("accent", "bg"),
                ("warn", "warn-bg"),
            ];
            let parts: Vec<_> = (0..chart::PARTS).map(|n| format!("part-{n}")).collect();
            pairs.extend(parts.iter().map(|p| ("on-mark", p.as_str())));
            for (front, back) in pairs {
                let ratio = contrast(get(front), get(back));
                assert!(ratio >= 4.5, "{front} on {back}, dark {dark}: {ratio:.2}");
            }
        }
    }
}
