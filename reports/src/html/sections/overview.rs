//! The top of the page: the answer and its five key numbers.

use maud::{Markup, html};

use crate::headline;
use crate::model::RunReport;
use crate::units::{count, counted, percent, time};

/// The answer in words, what was simulated, and the cards.
pub(in crate::html) fn overview(report: &RunReport) -> Markup {
    html! {
        p.answer { (headline::sentences(report).join(" ")) }
        p.muted { (setting(report)) }
        @if !report.warnings.is_empty() {
            div.warnings {
                p {
                    strong { (counted(report.warnings.len() as u64, "warning", "warnings")) ": " }
                    (report.warnings.iter().map(|w| w.what.as_str()).collect::<Vec<_>>().join("; "))
                    ". " a href="#caveats" { "Read before using the numbers." }
                }
            }
        }
        ul.cards aria-label="Key numbers" {
            @for card in cards(report) {
                li { span { (card.what) } b { (card.value) } span.muted { (card.note) } }
            }
        }
    }
}

struct Card {
    what: String,
    value: String,
    note: String,
}

fn cards(report: &RunReport) -> Vec<Card> {
    let card = |what: &str, value: String, note: String| Card { what: what.to_owned(), value, note };
    let accesses = report.accesses.total;
    let latency = match report.dominant_kind() {
        Some((kind, l)) => card(
            &format!("{kind}, median"),
            time(l.p50),
            format!("p99 {}, {} samples", time(l.p99), count(l.count)),
        ),
        None => card("Latency", "–".to_owned(), "nothing was timed".to_owned()),
    };
    let s = &report.shootdowns;
    let share = headline::fault_share(report);
    let reproduced = report.replay.reproduced_share();
    vec![
        card("Faults", count(report.faults.total), format!("in {}", counted(accesses, "access", "accesses"))),
        latency,
        card(
            "Shootdown IPIs",
            count(s.ipis_sent),
            format!("for {}", counted(s.requests, "shootdown", "shootdowns")),
        ),
        card(
            "CPU cycles in faults",
            share.map_or_else(|| "–".to_owned(), percent),
            match report.machine.cpus_used {
                0 => format!("over {}", counted(u64::from(report.machine.cpus), "CPU", "CPUs")),
                n => format!("over the {} that ran", counted(u64::from(n), "CPU", "CPUs")),
            },
        ),
        card(
            "Reproduced",
            reproduced.map_or_else(|| "–".to_owned(), percent),
            match reproduced {
                Some(_) => format!("of {} recorded outcomes", count(report.replay.recorded)),
                None => "no recording to compare with".to_owned(),
            },
        ),
    ]
}

fn setting(report: &RunReport) -> String {
    let how = match report.mode {
        crate::model::Mode::Predict => "Predicted from what the program did",
        crate::model::Mode::Replay => "Replayed from a recording",
    };
    format!(
        "{how}: {} of simulated time, {} cycles, {} kernel instructions, seed {}.",
        time(report.time_ns),
        count(report.cycles),
        count(report.instructions),
        report.seed
    )
}
