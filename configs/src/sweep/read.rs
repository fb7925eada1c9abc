//! From the text of a file to its sweep.

use std::path::PathBuf;

use super::expr::{Expr, ExprError};
use super::{Halving, Key, Objective, Sample, Sweep, keys};
use crate::error::{ConfigError, Problem, nearest};
use crate::fields::Fields;
use crate::study::settings;
use crate::value::{Place, Record, parse_tables};

/// Machine of a sweep that names none.
const MACHINE: &str = "skylake-sp-optane";

/// Names of constraints that are no keys.
const PLACES: [&str; 3] = ["machine", "kernel", "semantics"];

/// Columns of the results that every sweep has.
const COLUMNS: [&str; 8] = ["id", "input", "machine", "kernel", "semantics", "accesses", "cost", "error"];

/// The sweep of a file, or everything that is wrong with it.
pub(super) fn sweep(source: &str, text: &str) -> Result<Sweep, ConfigError> {
    let (top, tables) = parse_tables(source, text, &["key", "objective"]).map_err(ConfigError::new)?;
    let mut tables = tables.into_iter();
    let (keys, objectives) = (tables.next().unwrap_or_default(), tables.next().unwrap_or_default());
    let fields = Fields::new(Place::of(source), &[], top);
    let sample = sample(&fields);
    let mut problems = Vec::new();
    let is_grid = matches!(sample, None | Some(Sample::Grid));
    let keys = each(keys, &mut problems, |f| keys::key(f, is_grid));
    let objectives = each(objectives, &mut problems, objective);
    let sweep = head(&fields, sample, keys, objectives);
    if let Some(sweep) = sweep.as_ref().filter(|_| problems.is_empty()) {
        together(&fields, sweep);
    }
    problems.extend(fields.finish(&[]));
    match sweep {
        Some(sweep) if problems.is_empty() => Ok(sweep),
        _ => Err(ConfigError::new(problems)),
    }
}

/// Reads each table, and gathers what is wrong.
fn each<T>(records: Vec<Record>, problems: &mut Vec<Problem>, read: impl Fn(&Fields) -> Option<T>) -> Vec<T> {
    let mut all = Vec::new();
    for record in records {
        let fields = Fields::new(record.place, &[], record.entries);
        all.extend(read(&fields));
        problems.extend(fields.finish(&[]));
    }
    all
}

fn head(f: &Fields, sample: Option<Sample>, keys: Vec<Key>, objectives: Vec<Objective>) -> Option<Sweep> {
    let title = f.text("title", "one line of text");
    let question = f.optional_text("question").unwrap_or_default();
    let findings = f.optional_texts("findings", "an array of paragraphs");
    let inputs = f.texts("inputs", "an array of paths, relative to this file");
    let machines = f.optional_texts("machines", "an array of builtin machines or paths");
    let kernels = f.optional_texts("kernels", "an array of builtin kernels or paths");
    let semantics = f.optional_texts("semantics", "an array of insert semantics, with any +KNOB@NAME");
    let (set, fs) = (settings(f, "set"), f.optional_text("fs"));
    let (seed, accesses) = (f.count("seed", 0), f.count("accesses", 0));
    let maps = f.optional_texts("maps", "an array of FILE@ADDRESS+LENGTH");
    let metrics = f.texts("metrics", "an array of paths into report.json, such as \"tlb.stlb.misses\"");
    let constraints = expressions(f, "where");
    let cost = if f.has("cost") { Some(expression(f, "cost")?) } else { None };
    let budgets = if f.has("budgets") { f.numbers("budgets", "an array of costs")? } else { Vec::new() };
    let search = search(f);
    let (inputs, metrics) = (inputs?, metrics?);
    for (key, list) in [("inputs", &inputs), ("metrics", &metrics)] {
        if list.is_empty() {
            f.bad(key, "an empty array".to_owned(), "one or more");
        }
    }
    let machines = if machines.is_empty() { vec![MACHINE.to_owned()] } else { machines };
    Some(Sweep {
        name: String::new(),
        folder: PathBuf::new(),
        title: title?,
        question,
        findings,
        inputs,
        machines,
        kernels,
        semantics,
        fs,
        set: set?,
        seed: seed?,
        accesses: accesses?.checked_sub(1).map(|n| n + 1),
        maps,
        keys,
        constraints: constraints?,
        sample: sample?,
        metrics,
        objectives,
        cost,
        budgets,
        search: search?,
    })
}

/// `[sample]`.
fn sample(f: &Fields) -> Option<Sample> {
    const METHODS: [(&str, u8); 3] = [("grid", 0), ("random", 1), ("latin-hypercube", 2)];
    if !["sample.method", "sample.count", "sample.seed"].map(|key| f.has(key)).contains(&true) {
        return Some(Sample::Grid);
    }
    let method = f.choice("sample.method", &METHODS, false);
    let (count, seed) = (f.count("sample.count", 0), f.count("sample.seed", 0));
    let (method, count, seed) = (method?, count?, seed?);
    let count = u32::try_from(count).ok().filter(|n| (*n == 0) == (method == 0));
    let Some(count) = count else {
        f.bad(
            "sample.count",
            "that number".to_owned(),
            "how many points, 1 or more; none with the method \"grid\"",
        );
        return None;
    };
    Some(match method {
        0 => Sample::Grid,
        1 => Sample::Random { count, seed },
        _ => Sample::LatinHypercube { count, seed },
    })
}

/// `[search]`; the outer `None` is a problem.
fn search(f: &Fields) -> Option<Option<Halving>> {
    const METHODS: [(&str, ()); 1] = [("halving", ())];
    if !["search.method", "search.first", "search.factor", "search.objective"]
        .map(|k| f.has(k))
        .contains(&true)
    {
        return Some(None);
    }
    f.choice("search.method", &METHODS, false)?;
    let (first, factor) = (f.count("search.first", 0)?, f.count("search.factor", 2)?);
    let objective = f.text("search.objective", "the name of an objective")?;
    if first == 0 {
        f.bad("search.first", "none".to_owned(), "accesses of each thread in the first round, 1 or more");
        return None;
    }
    match u32::try_from(factor) {
        Ok(factor) if factor >= 2 => Some(Some(Halving { first, factor, objective })),
        _ => {
            f.bad("search.factor", format!("the number {factor}"), "a whole number, 2 or more");
            None
        }
    }
}

/// An `[[objective]]`.
fn objective(f: &Fields) -> Option<Objective> {
    let name = f.text("name", "what it is called");
    let unit = f.optional_text("unit").unwrap_or_default();
    let value = match [f.has("minimise"), f.has("maximise")] {
        [true, false] => expression(f, "minimise").map(|value| (value, false)),
        [false, true] => expression(f, "maximise").map(|value| (value, true)),
        _ => {
            f.bad(
                "minimise",
                "both or neither".to_owned(),
                "either minimise or maximise, an expression of metrics, keys and cost",
            );
            None
        }
    };
    let (value, maximise) = value?;
    Some(Objective { name: name?, unit, value, maximise })
}

fn expression(f: &Fields, key: &'static str) -> Option<Expr> {
    let text = f.text(key, "an expression, such as \"tlb.stlb.entries * 8\"")?;
    parsed(f, key, &text)
}

fn expressions(f: &Fields, key: &'static str) -> Option<Vec<Expr>> {
    let texts =
        f.optional_texts(key, "an array of expressions, such as [\"tlb.stlb.entries >= 8 * tlb.stlb.ways\"]");
    texts.iter().map(|text| parsed(f, key, text)).collect()
}

fn parsed(f: &Fields, key: &'static str, text: &str) -> Option<Expr> {
    match Expr::parse(text) {
        Ok(expression) => Some(expression),
        Err(ExprError::Syntax { at, found, expected }) => {
            f.bad(key, format!("{}, at character {at} {found}", shown(text)), expected);
            None
        }
        Err(error) => {
            f.bad(key, format!("{}: {error}", shown(text)), "an expression");
            None
        }
    }
}

/// An expression in a message.
fn shown(text: &str) -> String {
    const MOST: usize = 200;
    if text.chars().count() <= MOST {
        return format!("{text:?}");
    }
    format!("{:?} and more", text.chars().take(MOST).collect::<String>())
}

/// What must hold between the parts of a sweep.
fn together(f: &Fields, sweep: &Sweep) {
    let keys = || sweep.keys.iter().map(|key| key.name.as_str());
    for constraint in &sweep.constraints {
        for name in constraint.names() {
            if !keys().chain(PLACES).any(|known| known == name) {
                let nearest = nearest(name, keys().chain(PLACES));
                f.bad(
                    "where",
                    format!("`{constraint}` with {name}"),
                    &format!(
                        "names of keys of this file, machine, kernel or semantics; the nearest is {nearest}"
                    ),
                );
            }
        }
    }
    let twice = |names: Vec<&str>| -> Option<String> {
        let again = names.iter().enumerate().find(|(at, name)| names.iter().take(*at).any(|n| n == *name));
        again.map(|(_, name)| (*name).to_owned())
    };
    let lists = [
        ("key", keys().collect::<Vec<_>>()),
        ("objective", sweep.objectives.iter().map(|o| o.name.as_str()).collect()),
        ("metrics", sweep.metrics.iter().map(String::as_str).collect()),
        ("inputs", sweep.inputs.iter().map(String::as_str).collect()),
        ("machines", sweep.machines.iter().map(String::as_str).collect()),
        ("kernels", sweep.kernels.iter().map(String::as_str).collect()),
        ("semantics", sweep.semantics.iter().map(String::as_str).collect()),
    ];
    for (what, names) in lists {
        if let Some(name) = twice(names) {
            f.bad(what, format!("{name:?} twice"), "each once");
        }
    }
    for name in keys() {
        if COLUMNS.contains(&name) || sweep.metrics.iter().any(|metric| metric == name) {
            f.bad("key", format!("the name {name:?}"), "a name that no other column of the results has");
        }
    }
    let cost = "cost".to_owned();
    if !sweep.has_cost() && sweep.objectives.iter().any(|o| o.value.names().contains(&cost.as_str())) {
        f.bad(
            "cost",
            "none, and an objective names it".to_owned(),
            "an expression, or costs of the values of a key",
        );
    }
    if !sweep.has_cost() && !sweep.budgets.is_empty() {
        f.bad("budgets", "an array, and no cost".to_owned(), "a cost, or costs of the values of a key");
    }
    if let Some(search) = &sweep.search
        && !sweep.objectives.iter().any(|o| o.name == search.objective)
    {
        f.bad("search.objective", format!("{:?}", search.objective), "the name of an objective of this file");
    }
}
