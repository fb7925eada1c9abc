//! What the constants of machine and kernel took of the cycles, with their basis and trust.

use std::collections::BTreeMap;

use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_configs::{KeyValue, describe_kernel, describe_machine, kernel_key};
use daxsim_reports::model::{self, Constant};
use daxsim_sim::Results;
use daxsim_sim::measure::Part;
use daxsim_types::Time;

/// The constants that took any time, those with the most cycles first; shares are of `busy` cycles.
pub fn list(machine: &MachineSpec, kernel: &KernelSpec, results: &Results, busy: u64) -> Vec<Constant> {
    let (of_machine, of_kernel) = (by_key(describe_machine(machine)), by_key(describe_kernel(kernel)));
    let constant = |of: &str, key: &str, value: &str, source: Option<&str>, time: Time| {
        let (basis, trust) = source.and_then(source_in).unzip();
        let cycles = machine.cpu.clock.to_cycles(time);
        Constant {
            of: of.to_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
            basis,
            trust,
            cycles,
            share: model::round3(cycles as f64 / busy.max(1) as f64),
            prices_others: false,
        }
    };
    let value = |key: &str| of_machine.get(key).map_or("", String::as_str);
    let trust = |key: &str| of_machine.get(&*format!("trust.{}", last(key))).map(String::as_str);
    let fixed = results.spent.constants().map(|(of, time)| (of.key(), time)).chain(assists(machine, results));
    let mut all: Vec<Constant> =
        fixed.map(|(key, time)| constant("machine", key, value(key), trust(key), time)).collect();
    let mut priced = Time::ZERO;
    for (number, time) in results.spent.blocks() {
        priced += time;
        let key = kernel_key(number).unwrap_or("path lengths of the simulator's own");
        let text = of_kernel.get(key).map_or("", String::as_str);
        all.push(constant("kernel", key, text, Some(text), time));
    }
    if priced > Time::ZERO {
        let cpi = constant("machine", "cpu.cpi", value("cpu.cpi"), trust("cpu.cpi"), priced);
        all.push(Constant { prices_others: true, ..cpi });
    }
    all.retain(|constant| constant.cycles > 0);
    // The order so far among equals: that of the tables.
    all.sort_by_key(|constant| std::cmp::Reverse(constant.cycles));
    all
}

/// The two assists: the time that CPUs spent on either, shared out by how often each was due. In a window they overlap.
fn assists(machine: &MachineSpec, results: &Results) -> Vec<(&'static str, Time)> {
    let m = &results.measurements;
    let spent: Time = results.cpus.iter().map(|parts| parts[Part::Assist]).sum();
    let due = [
        ("mmu.accessed_assist", u128::from(m.accessed_assists) * u128::from(machine.mmu.accessed_assist.0)),
        ("mmu.dirty_assist", u128::from(m.dirty_assists) * u128::from(machine.mmu.dirty_assist.0)),
    ];
    let whole = due.iter().map(|(_, time)| time).sum::<u128>().max(1);
    due.into_iter().map(|(key, time)| (key, Time((u128::from(spent.0) * time / whole) as u64))).collect()
}

fn by_key(values: Vec<KeyValue>) -> BTreeMap<&'static str, String> {
    values.into_iter().map(|of| (of.key, of.value)).collect()
}

fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// Basis and trust at the end of `["fitted", "A"]` or `[423, 97, 74, "fitted", "B"]`.
fn source_in(text: &str) -> Option<(String, String)> {
    let mut words = text.trim_end_matches(']').rsplit(',').map(|word| word.trim().trim_start_matches('['));
    let quoted = |word: &str| Some(word.strip_prefix('"')?.strip_suffix('"')?.to_owned());
    let (trust, basis) = (quoted(words.next()?)?, quoted(words.next()?)?);
    Some((basis, trust))
}

#[cfg(test)]
mod tests {
    use daxsim_sim::measure::Constant as Fixed;

    use super::*;

    #[test]
    fn sources_are_read_from_both_kinds_of_values() {
        let pair = |basis: &str, trust: &str| Some((basis.to_owned(), trust.to_owned()));
        assert_eq!(source_in("[\"fitted\", \"A\"]"), pair("fitted", "A"));
        assert_eq!(source_in("[423, 97, 74, \"assumed\", \"C\"]"), pair("assumed", "C"));
        assert_eq!([source_in("400 ns"), source_in("[1, 2, 3]"), source_in("")], [None, None, None]);
    }

    #[test]
    fn every_constant_is_a_key_of_machines_with_a_letter() {
        let machine = daxsim_configs::load_machine("skylake-sp-optane", &[]).unwrap();
        let keys = by_key(describe_machine(&machine));
        for of in Fixed::ALL.map(Fixed::key).into_iter().chain([
            "mmu.accessed_assist",
            "mmu.dirty_assist",
            "cpu.cpi",
        ]) {
            assert!(keys.contains_key(of), "{of}");
            let source = keys.get(&*format!("trust.{}", last(of)));
            assert!(source.is_some_and(|text| source_in(text).is_some()), "{of}: {source:?}");
        }
    }
}
