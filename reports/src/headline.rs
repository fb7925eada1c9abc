//! The answer in words: what ran, and what came out, for the top of every form.

use crate::model::{Crash, Durability, RunReport};
use crate::units::{count, counted, percent, time};

/// What ran on which machine and kernel.
#[must_use]
pub fn title(report: &RunReport) -> String {
    let input = match report.inputs.as_slice() {
        [] => "a generated run",
        [first, ..] => first.name.as_str(),
    };
    let more = match report.inputs.len() {
        0 | 1 => String::new(),
        n => format!(" and {}", counted(n as u64 - 1, "more input", "more inputs")),
    };
    let fs = report.fs.map(|fs| format!(" with {fs}")).unwrap_or_default();
    format!(
        "{input}{more} on {} under {}{fs}",
        named(&report.machine.name, "an unnamed machine"),
        named(&report.kernel.name, "an unnamed kernel"),
    )
}

/// The answer, in a few plain sentences.
#[must_use]
pub fn sentences(report: &RunReport) -> Vec<String> {
    let mut out = vec![faults(report)];
    out.extend(general_protections(report));
    out.extend(dominant(report));
    out.extend(shootdowns(report));
    out.extend(agreement(report));
    out
}

/// Share of all CPU cycles that passed inside page faults, as far as they were timed.
#[must_use]
pub fn fault_share(report: &RunReport) -> Option<f64> {
    let attributed: u128 = report.attribution.iter().map(|part| u128::from(part.cycles)).sum();
    let all =
        if attributed > 0 { attributed } else { u128::from(report.cycles) * u128::from(report.machine.cpus) };
    if all == 0 {
        return None;
    }
    let faults = report.faults.by_kind();
    let in_faults: f64 =
        faults.iter().filter_map(|(kind, _)| report.latency.get(*kind)).map(|l| l.total_ns()).sum();
    let cycles = in_faults * report.machine.frequency_hz as f64 / 1.0e9;
    Some((cycles / all as f64).clamp(0.0, 1.0))
}

/// How many faults of a kind, in words: `64 mkwrite upgrades`.
#[must_use]
pub fn faults_of_kind(kind: &str, n: u64) -> String {
    let (one, many) = match kind {
        "read" => ("read", "reads"),
        "write" => ("write", "writes"),
        "mkwrite" => ("mkwrite upgrade", "mkwrite upgrades"),
        "spurious" => ("spurious", "spurious"),
        "cow" => ("private copy", "private copies"),
        "pmd_read" => ("PMD read", "PMD reads"),
        "pmd_write" => ("PMD write", "PMD writes"),
        "pmd_mkwrite" => ("PMD mkwrite upgrade", "PMD mkwrite upgrades"),
        "pud_read" => ("PUD read", "PUD reads"),
        "pud_write" => ("PUD write", "PUD writes"),
        "pmd_fallback" => ("PMD fallback", "PMD fallbacks"),
        "sigbus" => ("SIGBUS", "SIGBUS"),
        "sigsegv" => ("SIGSEGV", "SIGSEGV"),
        "access_flags" => ("access-flag fault", "access-flag faults"),
        "other" => ("other", "others"),
        kind => (kind, kind),
    };
    counted(n, one, many)
}

/// A part's name in words, where the config's short name needs them.
#[must_use]
pub fn part_in_words(name: &str) -> &str {
    match name {
        "fs" => "the file system",
        "entry" => "exception entry and exit",
        "walk" => "page walks",
        "locks" => "locks",
        "insert" => "inserting the entry",
        "flush" => "local TLB flushes",
        "ipi" | "ipi wait" | "ipi_wait" => "waiting for IPIs",
        "assist" => "setting accessed and dirty bits",
        "memory" => "waiting for memory",
        "exit" => "exits to the hypervisor",
        name => name,
    }
}

fn named<'a>(name: &'a str, otherwise: &'a str) -> &'a str {
    if name.is_empty() { otherwise } else { name }
}

fn faults(report: &RunReport) -> String {
    let by_kind = report.faults.by_kind();
    let kinds: Vec<_> =
        by_kind.iter().filter(|(_, n)| *n > 0).map(|(kind, n)| faults_of_kind(kind, *n)).collect();
    let accesses = counted(report.accesses.total, "access", "accesses");
    if report.faults.total == 0 && kinds.is_empty() {
        return format!("No faults in {accesses}.");
    }
    let total = counted(report.faults.total, "fault", "faults");
    if kinds.is_empty() {
        format!("{total} in {accesses}.")
    } else {
        format!("{total} in {accesses}: {}.", list(&kinds))
    }
}

fn general_protections(report: &RunReport) -> Option<String> {
    let n = report.faults.general_protection;
    let what = "general-protection exception";
    (n > 0)
        .then(|| format!("{} for addresses that are not canonical.", counted(n, what, &format!("{what}s"))))
}

fn dominant(report: &RunReport) -> Option<String> {
    let (kind, latency) = report.dominant_kind()?;
    let noun = if report.faults.by_kind().iter().any(|(k, _)| *k == kind) { " fault" } else { "" };
    let mut text = format!("The median {kind}{noun} cost {} (p99 {})", time(latency.p50), time(latency.p99));
    let mut largest = None;
    for part in &latency.parts {
        if largest.is_none_or(|l: &crate::model::Part| part.total_ns > l.total_ns) {
            largest = Some(part);
        }
    }
    if let Some(part) = largest.filter(|p| p.total_ns > 0.0) {
        text += &format!("; {} of that time went to {}", percent(part.share), part_in_words(&part.name));
    }
    Some(text + ".")
}

fn shootdowns(report: &RunReport) -> Option<String> {
    let s = &report.shootdowns;
    (s.requests > 0).then(|| {
        let broadcasts = match s.invlpgb {
            0 => String::new(),
            n => format!(" and {}", counted(n, "INVLPGB", "INVLPGBs")),
        };
        format!(
            "{} sent {}{broadcasts} and kept the asking CPUs busy for {} cycles.",
            counted(s.requests, "TLB shootdown", "TLB shootdowns"),
            counted(s.ipis_sent, "IPI", "IPIs"),
            count(s.initiator_cycles)
        )
    })
}

fn agreement(report: &RunReport) -> Option<String> {
    let share = report.replay.reproduced_share()?;
    Some(format!(
        "The simulation reproduced {} of {} recorded outcomes ({}).",
        count(report.replay.reproduced),
        count(report.replay.recorded),
        percent(share)
    ))
}

/// What is durable, in a line.
#[must_use]
pub fn durability(d: &Durability) -> String {
    if d.caches_persistent {
        return "the caches are in the persistence domain, nothing can be lost".to_owned();
    }
    let pages = |n| counted(n, "page", "pages");
    let mut text = format!("{} promised and lost, {} dirty", pages(d.lost_pages), pages(d.dirty_pages));
    match (d.dirty_pages, d.unmarked_pages) {
        (0, _) => {}
        (_, 0) => text += ", all marked",
        (_, n) => text += &format!(", {} without a mark", count(n)),
    }
    for (n, one, many) in [
        (d.in_flight_lines, "line on its way to the device", "lines on their way to the device"),
        (d.device_pages, "dirty page of device-dax", "dirty pages of device-dax"),
    ] {
        if n > 0 {
            text += &format!(", {}", counted(n, one, many));
        }
    }
    text
}

/// Where the power went.
#[must_use]
pub fn crash(crash: &Crash, at_cycle: u64) -> String {
    if !crash.reached {
        let asked = count(crash.cycle);
        return format!(
            "The run ended at cycle {}, before the crash asked for at cycle {asked}.",
            count(at_cycle)
        );
    }
    let place = if crash.places.is_empty() { String::new() } else { format!(" {}", list(&crash.places)) };
    format!("Power lost at cycle {}{place}.", count(crash.cycle))
}

/// `a, b and c`.
fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [init @ .., last] => format!("{} and {last}", init.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::part_in_words;

    #[test]
    fn the_wait_for_other_cpus_has_words() {
        for name in ["ipi", "ipi wait", "ipi_wait"] {
            assert_eq!(part_in_words(name), "waiting for IPIs");
        }
        assert_eq!(part_in_words("zap"), "zap");
    }
}
