//! From a name or a path, through inheritance and overrides, to a validated spec.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::builtin::{self, Builtin};
use crate::cost::Source;
use crate::error::{ConfigError, Problem, ProblemKind, nearest};
use crate::kernel::KernelSpec;
use crate::machine::MachineSpec;
use crate::overrides::Override;
use crate::reader::{Reader, is_absent, is_inside};
use crate::resize::follow_size;
use crate::value::{Entry, Place, Value, parse_document};
use crate::{check, kernel_keys, kernel_schema, machine_keys, machine_schema, semantics};

/// Largest file that is read.
const MAX_FILE: u64 = 1 << 20;

/// Loads a builtin machine by its name, or a machine file by its path.
///
/// Text with a `/` or ending in `.toml` is a path; other text is a builtin's name, or else the path of a
/// file that exists.
///
/// # Errors
///
/// Everything that is wrong with the name, the file, the files that it inherits from, or the overrides.
pub fn load_machine(name_or_path: &str, overrides: &[Override]) -> Result<MachineSpec, ConfigError> {
    machine_from(&Document::find(&MACHINES, name_or_path)?, overrides)
}

/// Loads a builtin kernel by its name, or a kernel file by its path; see [`load_machine`].
///
/// # Errors
///
/// Everything that is wrong with the name, the file, the files that it inherits from, or the overrides.
pub fn load_kernel(name_or_path: &str, overrides: &[Override]) -> Result<KernelSpec, ConfigError> {
    kernel_from(&Document::find(&KERNELS, name_or_path)?, overrides)
}

/// Reads a machine from text. `source_name` is what errors call it, and, as the path of a file, what a
/// relative `base` is relative to.
///
/// # Errors
///
/// Everything that is wrong with the text, the files that it inherits from, or the overrides.
pub fn parse_machine(
    source_name: &str,
    text: &str,
    overrides: &[Override],
) -> Result<MachineSpec, ConfigError> {
    machine_from(&Document::of_text(source_name, text), overrides)
}

/// Reads a kernel from text; see [`parse_machine`].
///
/// # Errors
///
/// Everything that is wrong with the text, the files that it inherits from, or the overrides.
pub fn parse_kernel(
    source_name: &str,
    text: &str,
    overrides: &[Override],
) -> Result<KernelSpec, ConfigError> {
    kernel_from(&Document::of_text(source_name, text), overrides)
}

fn machine_from(document: &Document, overrides: &[Override]) -> Result<MachineSpec, ConfigError> {
    let entries = merged(&MACHINES, document, overrides)?;
    let mut reader = Reader::new(&document.source, &entries, machine_keys(), machine_schema::optional());
    check::machine(&mut reader);
    let spec = machine_schema::read(&document.name(), &reader);
    finish(spec, reader, &document.source)
}

fn kernel_from(document: &Document, overrides: &[Override]) -> Result<KernelSpec, ConfigError> {
    let entries = merged(&KERNELS, document, overrides)?;
    let mut reader = Reader::new(&document.source, &entries, kernel_keys(), &[]);
    check::kernel(&mut reader);
    let spec = kernel_schema::read(&document.name(), &reader);
    finish(spec, reader, &document.source)
}

fn finish<T>(spec: Option<T>, reader: Reader<'_>, source: &str) -> Result<T, ConfigError> {
    let problems = reader.into_problems();
    match spec {
        Some(spec) if problems.is_empty() => Ok(spec),
        // A key that no section of the schema declares: the tests of the builtins exclude it.
        None if problems.is_empty() => {
            Err(Place::of(source).problem(None, ProblemKind::Syntax("incomplete".to_owned())).into())
        }
        _ => Err(ConfigError::new(problems)),
    }
}

/// Machines, kernels or semantics: where names are looked up.
pub(crate) struct Category {
    pub what: &'static str,
    pub folder: &'static str,
    pub builtins: fn() -> &'static [Builtin],
    pub optional: fn() -> &'static [&'static str],
}

const MACHINES: Category = Category {
    what: "machine",
    folder: "machines",
    builtins: builtin::machine_files,
    optional: machine_schema::optional,
};
const KERNELS: Category =
    Category { what: "kernel", folder: "kernels", builtins: builtin::kernel_files, optional: || &[] };

/// The text of a file.
pub(crate) fn read_text(path: &Path) -> Result<String, Box<Problem>> {
    let source = path.display().to_string();
    let unreadable = |why: String| Box::new(Place::of(&source).problem(None, ProblemKind::Unreadable(why)));
    let file = std::fs::File::open(path).map_err(|e| unreadable(e.to_string()))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| unreadable(e.to_string()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(unreadable("larger than 1 MiB".to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| unreadable("not UTF-8 text".to_owned()))
}

/// A text and where it is from.
pub(crate) struct Document {
    /// What errors call it.
    source: String,
    text: String,
    /// The file, unless it is a builtin.
    path: Option<PathBuf>,
}

impl Document {
    fn of_text(source: &str, text: &str) -> Self {
        Self { source: source.to_owned(), text: text.to_owned(), path: Some(PathBuf::from(source)) }
    }

    fn of_builtin(category: &Category, builtin: &Builtin) -> Self {
        let source = format!("{}/{}.toml", category.folder, builtin.name);
        Self { source, text: builtin.text.to_owned(), path: None }
    }

    fn read(path: &Path) -> Result<Self, Box<Problem>> {
        let text = read_text(path)?;
        Ok(Self { source: path.display().to_string(), text, path: Some(path.to_owned()) })
    }

    /// The document that `name` means on the command line.
    pub fn find(category: &Category, name: &str) -> Result<Self, ConfigError> {
        let found = Self::find_from(category, name, Path::new(""));
        Ok(found.map_err(|kind| Place::of("").problem(None, kind))?.map_err(|problem| *problem)?)
    }

    /// The document that `name` means in a file in `folder`; the outer error is an unknown name.
    pub fn find_from(
        category: &Category,
        name: &str,
        folder: &Path,
    ) -> Result<Result<Self, Box<Problem>>, ProblemKind> {
        let path = folder.join(name);
        let is_path = name.contains('/') || name.ends_with(".toml");
        if !is_path {
            let builtins = (category.builtins)();
            if let Some(builtin) = builtins.iter().find(|b| b.name == name) {
                return Ok(Ok(Self::of_builtin(category, builtin)));
            }
            // Without any builtin, a name is a file all the same.
            if !path.is_file() && !builtins.is_empty() {
                let names = builtins.iter().map(|b| b.name);
                return Err(ProblemKind::UnknownName {
                    what: category.what,
                    name: name.to_owned(),
                    nearest: nearest(name, names.clone()).to_owned(),
                    all: names.collect::<Vec<_>>().join(", "),
                });
            }
        }
        Ok(Self::read(&path))
    }

    /// What errors call it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What it says.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The file's name without its ending.
    pub fn name(&self) -> String {
        let stem = Path::new(&self.source).file_stem();
        stem.map_or_else(|| self.source.clone(), |s| s.to_string_lossy().into_owned())
    }

    /// What its paths are relative to.
    pub fn folder(&self) -> &Path {
        self.path.as_deref().and_then(Path::parent).unwrap_or(Path::new(""))
    }

    /// The same for two documents only if they are the same text in the same place.
    fn identity(&self) -> String {
        match &self.path {
            None => format!("builtin {}", self.source),
            Some(path) => std::fs::canonicalize(path).unwrap_or_else(|_| path.clone()).display().to_string(),
        }
    }
}

/// The entries of `document` over those of its bases, under `overrides`.
fn merged(
    category: &Category,
    document: &Document,
    overrides: &[Override],
) -> Result<BTreeMap<String, Entry>, ConfigError> {
    let mut layers = Vec::new();
    gather(category, document, &mut Vec::new(), &mut layers)?;
    let file_only: Vec<Problem> = overrides.iter().filter_map(Override::file_only).collect();
    if !file_only.is_empty() {
        return Err(ConfigError::new(file_only));
    }
    let mut merged = BTreeMap::new();
    for layer in layers {
        distrust(&layer, &mut merged);
        layer.into_iter().for_each(|entry| put(category, &mut merged, entry));
    }
    let file = merged.clone();
    // A semantics exchanged on the command line takes every knob with it; knobs set there still win.
    for named in overrides.iter().flat_map(Override::entries).filter(|e| e.key == semantics::KEY) {
        for entry in semantics::layer(named, Path::new(""))? {
            put(category, &mut merged, entry);
        }
    }
    let given: Vec<Entry> = overrides.iter().flat_map(Override::entries).cloned().collect();
    distrust(&given, &mut merged);
    given.into_iter().for_each(|entry| put(category, &mut merged, entry));
    follow_size(&file, overrides, &mut merged);
    Ok(merged)
}

/// A file or override that changes a cost without a word on its trust leaves it as given by the user.
fn distrust(layer: &[Entry], merged: &mut BTreeMap<String, Entry>) {
    for entry in layer {
        let Some((table, cost)) = entry.key.split_once('.') else { continue };
        if ["cpu", "mmu", "cost", "ipi"].contains(&table)
            && let Some(trust) = merged.get_mut(&format!("trust.{cost}"))
        {
            let [basis, letter] = Source::GIVEN.names();
            trust.value = Value::Array([basis, letter].map(|s| Value::Text(s.to_owned())).into());
        }
    }
}

/// Adds an entry to those before it. `TABLE = "absent"` takes the table away, a key of it brings it back.
fn put(category: &Category, merged: &mut BTreeMap<String, Entry>, entry: Entry) {
    let optional = (category.optional)();
    if is_absent(&entry, optional) {
        merged.retain(|key, _| !is_inside(key, &entry.key));
    }
    for table in optional {
        if is_inside(&entry.key, table) && merged.get(*table).is_some_and(|e| is_absent(e, optional)) {
            merged.remove(*table);
        }
    }
    merged.insert(entry.key.clone(), entry);
}

/// Collects the entries of `document` after those of its bases; `chain` holds who asked for it.
pub(crate) fn gather(
    category: &Category,
    document: &Document,
    chain: &mut Vec<(String, String)>,
    layers: &mut Vec<Vec<Entry>>,
) -> Result<(), ConfigError> {
    chain.push((document.identity(), document.source.clone()));
    let mut entries = parse_document(&document.source, &document.text).map_err(ConfigError::new)?;
    if let Some(at) = entries.iter().position(|e| e.key == "base") {
        let entry = entries.remove(at);
        let wrong = |kind| entry.place.problem(Some("base"), kind);
        let Value::Text(name) = &entry.value else {
            let expected = format!("the name of a builtin {} or a path", category.what);
            return Err(wrong(ProblemKind::BadValue { found: entry.value.to_string(), expected }).into());
        };
        let base =
            Document::find_from(category, name, document.folder()).map_err(wrong)?.map_err(|problem| {
                let found = format!("{name:?}, {}: {}", problem.source_name, problem.kind);
                let expected = format!("the name of a builtin {} or a path", category.what);
                wrong(ProblemKind::BadValue { found, expected })
            })?;
        let identity = base.identity();
        if let Some(start) = chain.iter().position(|(id, _)| *id == identity) {
            let names = chain.iter().skip(start).map(|(_, source)| source.as_str());
            let names: Vec<&str> = names.chain([base.source.as_str()]).collect();
            return Err(wrong(ProblemKind::Cycle(names.join(" -> "))).into());
        }
        gather(category, &base, chain, layers)?;
    }
    if let Some(named) = entries.iter().find(|e| e.key == semantics::KEY) {
        layers.push(semantics::layer(named, document.folder())?);
    }
    layers.push(entries);
    Ok(())
}
