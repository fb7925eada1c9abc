//! From the text of a file to its study.

use super::probe::{Metric, NAMES, Name};
use super::{Axis, PointSpec, Study, Variant};
use crate::error::{ConfigError, Problem, ProblemKind, nearest};
use crate::fields::Fields;
use crate::overrides::{Override, split_overrides};
use crate::reader::is_inside;
use crate::validation::{KERNEL, TRUSTS};
use crate::value::{Entry, Place, Record, Value, parse_records};

/// Panel of variants that name none.
const PANEL: &str = "All variants";

/// What is said once for the whole study; every other key outside the variants is a default of theirs.
const OF_STUDY: [&str; 7] = ["title", "question", "findings", "probe", "set", "metrics", "x"];

/// The head of a study.
struct Head {
    title: String,
    question: String,
    findings: Vec<String>,
    probe: Name,
    set: Vec<String>,
    metrics: Vec<Metric>,
    x: AxisSpec,
}

/// The axis, and what it changes.
struct AxisSpec {
    axis: Axis,
    /// The parameter of the probe, and where it is named.
    parameter: Option<(String, Place)>,
    /// Settings at each value.
    set: Vec<Vec<String>>,
}

/// The study of a file, or everything that is wrong with it.
pub(super) fn study(source: &str, text: &str) -> Result<Study, ConfigError> {
    let (top, records) = parse_records(source, text, "variant").map_err(ConfigError::new)?;
    let (of_study, defaults): (Vec<Entry>, Vec<Entry>) = top
        .into_iter()
        .partition(|entry| OF_STUDY.contains(&entry.key.as_str()) || is_inside(&entry.key, "x"));
    let place = Place::of(source);
    let fields = Fields::new(place.clone(), &[], of_study);
    let head = head(&fields);
    let mut problems = fields.finish(&[]);
    if records.is_empty() {
        let kind = ProblemKind::MissingKey { expected: "at least one [[variant]]".to_owned() };
        problems.push(place.problem(Some("variant"), kind));
    }
    let Some(head) = head.filter(|_| !records.is_empty()) else { return Err(ConfigError::new(problems)) };
    let mut asked: Vec<&'static str> = Vec::new();
    let mut variants: Vec<Variant> = Vec::new();
    for record in records {
        let read = variant(&head, &defaults, record, &variants);
        asked.extend(read.asked);
        problems.extend(read.problems);
        variants.extend(read.variant);
    }
    problems.extend(unused(&defaults, &asked));
    if !problems.is_empty() {
        return Err(ConfigError::new(problems));
    }
    Ok(Study {
        name: String::new(),
        title: head.title,
        question: head.question,
        findings: head.findings,
        probe: head.probe.text(),
        set: head.set,
        x: head.x.axis,
        metrics: head.metrics,
        variants,
    })
}

/// Keys outside the variants that no variant has a use for.
fn unused(defaults: &[Entry], asked: &[&'static str]) -> Vec<Problem> {
    let known = || OF_STUDY.into_iter().chain(asked.iter().copied());
    let unused = defaults.iter().filter(|entry| !asked.contains(&entry.key.as_str()));
    unused
        .map(|entry| {
            let nearest = nearest(&entry.key, known()).to_owned();
            entry.key_place.problem(Some(&entry.key), ProblemKind::UnknownKey { nearest })
        })
        .collect()
}

fn head(f: &Fields) -> Option<Head> {
    let title = f.text("title", "one line of text");
    let question = f.text("question", "what the study asks");
    let findings = f.optional_texts("findings", "an array of paragraphs");
    let set = settings(f, "set");
    let probe = f.choice("probe", &NAMES, false);
    let metrics = f.texts("metrics", "an array of what the probe measures");
    let x = axis(f);
    let metrics = metrics_of(f, probe?, &metrics?);
    Some(Head {
        title: title?,
        question: question?,
        findings,
        probe: probe?,
        set: set?,
        metrics: metrics?,
        x: x?,
    })
}

fn metrics_of(f: &Fields, probe: Name, names: &[String]) -> Option<Vec<Metric>> {
    let all = probe.metrics();
    let expected = || {
        let all: Vec<&str> = all.iter().map(|metric| metric.key).collect();
        format!("an array of one or more of {}", all.join(", "))
    };
    let found: Option<Vec<Metric>> = names
        .iter()
        .map(|name| {
            let metric = all.iter().find(|metric| metric.key == name).copied();
            if metric.is_none() {
                f.bad("metrics", format!("{name:?}"), &expected());
            }
            metric
        })
        .collect();
    if names.is_empty() {
        f.bad("metrics", "none".to_owned(), &expected());
        return None;
    }
    found
}

fn axis(f: &Fields) -> Option<AxisSpec> {
    let name = f.text("x.name", "what the measurements are a function of");
    let unit = f.optional_text("x.unit").unwrap_or_default();
    let keys = f.optional_texts("x.keys", "an array of keys of machine or kernel");
    let parameter = f.optional_text("x.parameter");
    let values = f.numbers("x.values", "an array of numbers, ascending");
    let own = if f.has("x.set") {
        f.lists_of_texts("x.set", "an array with an array of settings for each of x.values")?
    } else {
        Vec::new()
    };
    let values = values?;
    if !values.is_sorted_by(|a, b| a < b) {
        f.bad("x.values", "an array that does not ascend".to_owned(), "an array of numbers, ascending");
        return None;
    }
    if parameter.is_none() && keys.is_empty() && own.is_empty() {
        f.bad("x.parameter", "none".to_owned(), "at least one of x.parameter, x.keys and x.set");
        return None;
    }
    if !own.is_empty() && own.len() != values.len() {
        let expected = format!("as many as x.values has, {}", values.len());
        f.bad("x.set", format!("{} arrays", own.len()), &expected);
        return None;
    }
    let unit_of = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    let set = values.iter().enumerate().map(|(at, value)| {
        let of_keys = keys.iter().map(|key| format!("{key}={value}{unit_of}"));
        of_keys.chain(own.get(at).into_iter().flatten().cloned()).collect()
    });
    let set: Vec<Vec<String>> = set.collect();
    let wrong = set.iter().flatten().find_map(|text| problem_of(text));
    if let Some((found, expected)) = wrong {
        f.bad(if keys.is_empty() { "x.set" } else { "x.keys" }, found, &expected);
        return None;
    }
    let parameter = parameter.map(|parameter| (parameter, f.place_of("x.parameter")));
    Some(AxisSpec { axis: Axis { name: name?, unit, values }, parameter, set })
}

/// An array of settings whose keys there are.
pub(crate) fn settings(f: &Fields, key: &'static str) -> Option<Vec<String>> {
    let set = f.optional_texts(key, "an array of settings such as [\"tlb.stlb.entries=2048\"]");
    for (found, expected) in set.iter().filter_map(|text| problem_of(text)) {
        f.bad(key, found, &expected);
    }
    Some(set)
}

/// Arrays of settings in an array.
pub(crate) fn settings_in(f: &Fields, key: &'static str, expected: &str) -> Option<Vec<Vec<String>>> {
    let sets = f.lists_of_texts(key, expected)?;
    let wrong = sets.iter().flatten().find_map(|text| problem_of(text));
    if let Some((found, expected)) = wrong {
        f.bad(key, found, &expected);
        return None;
    }
    Some(sets)
}

/// What is wrong with a setting: what was found and what was expected. Its value is looked at where it is applied.
pub(crate) fn problem_of(text: &str) -> Option<(String, String)> {
    let error = match Override::parse(text) {
        Ok(setting) => split_overrides(&[setting]).err()?,
        Err(error) => error,
    };
    let kind = &error.problems().first()?.kind;
    let expected = match kind {
        ProblemKind::UnknownKey { nearest } => format!("a key of machine or kernel, such as {nearest}"),
        _ => "KEY=VALUE, such as tlb.stlb.entries=2048".to_owned(),
    };
    Some((format!("{text:?}"), expected))
}

/// What became of a `[[variant]]`.
struct ReadVariant {
    variant: Option<Variant>,
    /// Keys that a variant can have.
    asked: Vec<&'static str>,
    problems: Vec<Problem>,
}

fn variant(head: &Head, defaults: &[Entry], record: Record, before: &[Variant]) -> ReadVariant {
    let fields_at = |x: f64| {
        let mut own = record.entries.clone();
        own.extend(head.x.parameter.as_ref().map(|(key, place)| Entry {
            key: key.clone(),
            value: if x.fract() == 0.0 { Value::Integer(x as i128) } else { Value::Float(x) },
            place: place.clone(),
            key_place: place.clone(),
        }));
        Fields::new(record.place.clone(), defaults, own)
    };
    let mut problems = Vec::new();
    let mut probes = Vec::new();
    for x in head.x.axis.values.iter().skip(1) {
        let fields = fields_at(*x);
        probes.push(head.probe.read(&fields));
        problems.extend(fields.into_problems());
    }
    let fields = fields_at(head.x.axis.values.first().copied().unwrap_or_default());
    probes.insert(0, head.probe.read(&fields));
    let variant = described(head, &fields, probes.into_iter().collect());
    if let Some(variant) = &variant
        && before.iter().any(|other| other.panel == variant.panel && other.name == variant.name)
    {
        let expected = format!("a name that no other variant of {:?} has", variant.panel);
        fields.bad("name", format!("{:?}", variant.name), &expected);
    }
    let asked = fields.asked();
    problems.extend(fields.finish(defaults));
    // A parameter that is wrong at every x is said once.
    problems.dedup();
    ReadVariant { variant, asked, problems }
}

fn described(head: &Head, f: &Fields, probes: Option<Vec<super::StudyProbe>>) -> Option<Variant> {
    let name = f.text("name", "a name that no other variant of its panel has");
    let panel = f.optional_text("panel").unwrap_or_else(|| PANEL.to_owned());
    let machine = f.text("machine", "the name of a builtin machine or a path");
    let kernel = f.optional_text("kernel").unwrap_or_else(|| KERNEL.to_owned());
    let set = settings(f, "set");
    let (source, note) = (f.optional_text("source"), f.optional_text("note"));
    let trust = if f.has("trust") { Some(f.choice("trust", &TRUSTS, false)?) } else { None };
    let set = set?;
    let at = |((x, probe), own): ((&f64, super::StudyProbe), &Vec<String>)| PointSpec {
        x: *x,
        set: head.set.iter().chain(own).chain(&set).cloned().collect(),
        probe,
    };
    let points = head.x.axis.values.iter().zip(probes?).zip(&head.x.set).map(at).collect();
    Some(Variant { name: name?, panel, machine: machine?, kernel, set, source, trust, note, points })
}
