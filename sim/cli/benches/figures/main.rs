//! The figures of the design's section on speed, one line each, measured in one go:
//!
//! ```text
//! cargo bench -p daxsim --bench figures
//! ```
//!
//! Figures are for one host core and for the process's CPU time, best of several repetitions, so that other work on the host
//! hardly shows; where two threads are compared it is wall time. Generators are seeded: every run simulates the same.
//! Words after `--` choose lines by their names.

#![expect(clippy::print_stdout, reason = "a table is what this prints")]

mod accesses;
mod clock;
mod cores;
mod faults;
mod program;
mod recorded;
mod table;

use table::Line;

/// A group of lines: the words that it is chosen by, and what measures it.
type Group = (&'static [&'static str], fn() -> Vec<Line>);

const GROUPS: [Group; 9] = [
    (&["accesses", "hit"], accesses::hits),
    (&["accesses", "program"], program::lines),
    (&["accesses", "walks"], accesses::walks),
    (&["accesses", "miss"], accesses::misses),
    (&["faults", "dax"], faults::dax),
    (&["faults", "shootdowns"], faults::shootdowns),
    (&["cores", "threads"], cores::lines),
    (&["recorded", "binary", "import"], program::imports),
    (&["recorded", "text", "sweep", "memory"], recorded::lines),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if let [mode, copies] = words.as_slice()
        && mode == recorded::PEAK_MODE
    {
        recorded::print_peak(copies);
        return;
    }
    table::print_head();
    for (names, measure) in GROUPS {
        if words.is_empty() || words.iter().any(|word| names.contains(&word.as_str())) {
            measure().iter().for_each(Line::print);
        }
    }
}
