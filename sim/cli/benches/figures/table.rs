//! The table.

/// One line.
pub struct Line {
    what: &'static str,
    figure: String,
    goal: &'static str,
    how: String,
}

impl Line {
    /// A figure with its goal and how it was made.
    pub fn new(what: &'static str, figure: String, goal: &'static str, how: impl Into<String>) -> Self {
        Self { what, figure, goal, how: how.into() }
    }

    /// A line whose subject does not exist in this version.
    pub fn missing(what: &'static str, goal: &'static str, why: &'static str) -> Self {
        Self::new(what, "-".into(), goal, why)
    }

    /// Prints it.
    pub fn print(&self) {
        println!("{:<34} {:>14}  {:>12}  {}", self.what, self.figure, self.goal, self.how);
    }
}

/// Prints what the columns are.
pub fn print_head() {
    Line::new("figure", "measured".into(), "goal", "made by").print();
}

/// Millions of things a second.
pub fn millions(count: u64, seconds: f64) -> String {
    format!("{:.2} M/s", count as f64 / seconds / 1e6)
}
