//! TOML text as a flat list of dotted keys, each with its value and its place.

use std::fmt;

use toml::de::{DeTable, DeValue};

use crate::error::{Problem, ProblemKind};

/// A TOML value, owned.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Integer(i128),
    Float(f64),
    Bool(bool),
    Text(String),
    Array(Vec<Value>),
    /// An inline table inside an array, or an empty table.
    Table,
    /// A date, a time, or a number that no integer type holds.
    Other(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(n) => write!(f, "the number {n}"),
            Self::Float(n) => write!(f, "the number {n:?}"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Text(s) => {
                let short: String = s.chars().take(60).collect();
                write!(f, "{short:?}{}", if short.len() < s.len() { "..." } else { "" })
            }
            Self::Array(_) => f.write_str("an array"),
            Self::Table => f.write_str("a table"),
            Self::Other(s) => f.write_str(s),
        }
    }
}

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub source: String,
    pub line: Option<u32>,
    pub column: Option<u32>,
}

impl Place {
    pub fn of(source: &str) -> Self {
        Self { source: source.to_owned(), line: None, column: None }
    }

    pub fn problem(&self, key: Option<&str>, kind: ProblemKind) -> Problem {
        Problem {
            source_name: self.source.clone(),
            line: self.line,
            column: self.column,
            key: key.map(str::to_owned),
            kind,
        }
    }
}

/// One `key = value`, the key in full.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub key: String,
    pub value: Value,
    /// Where the value is.
    pub place: Place,
    /// Where the key is.
    pub key_place: Place,
}

/// Byte offsets to lines and columns.
struct Text<'a> {
    source: &'a str,
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Text<'a> {
    fn new(source: &'a str, text: &'a str) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1);
        Self { source, text, starts: std::iter::once(0).chain(newlines).collect() }
    }

    fn parse(&self) -> Result<DeTable<'a>, Vec<Problem>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        if errors.is_empty() {
            return Ok(table.into_inner());
        }
        let problems = errors.iter().map(|e| {
            let place = e.span().map_or_else(|| Place::of(self.source), |span| self.place(span.start));
            place.problem(None, ProblemKind::Syntax(e.message().replace('\n', "; ")))
        });
        Err(problems.collect())
    }

    fn place(&self, offset: usize) -> Place {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|s| *s <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |s| s.chars().count()) + 1;
        Place {
            source: self.source.to_owned(),
            line: u32::try_from(line).ok(),
            column: u32::try_from(column).ok(),
        }
    }
}

/// The entries of a TOML document, or everything that keeps it from being one.
pub(crate) fn parse_document(source: &str, text: &str) -> Result<Vec<Entry>, Vec<Problem>> {
    let text = Text::new(source, text);
    let table = text.parse()?;
    let mut entries = Vec::new();
    flatten("", &table, &|offset| text.place(offset), &mut entries);
    Ok(entries)
}

/// One table of an array of tables.
pub(crate) struct Record {
    /// Where it begins.
    pub place: Place,
    pub entries: Vec<Entry>,
}

/// A document of tables `[[name]]`: those tables, and the entries outside them.
pub(crate) fn parse_records(
    source: &str,
    text: &str,
    name: &str,
) -> Result<(Vec<Entry>, Vec<Record>), Vec<Problem>> {
    let (entries, mut tables) = parse_tables(source, text, &[name])?;
    Ok((entries, tables.pop().unwrap_or_default()))
}

/// What stands outside the tables of a document, and the tables of each name.
pub(crate) type Tables = (Vec<Entry>, Vec<Vec<Record>>);

/// A document of tables of several names: the tables of each, and the entries outside them.
pub(crate) fn parse_tables(source: &str, text: &str, names: &[&str]) -> Result<Tables, Vec<Problem>> {
    let text = Text::new(source, text);
    let mut table = text.parse()?;
    let place = |offset| text.place(offset);
    let mut of_names = Vec::new();
    for name in names {
        of_names.push(match table.remove(*name) {
            Some(tables) => records(name, tables.span().start, tables.get_ref(), &place)?,
            None => Vec::new(),
        });
    }
    let mut entries = Vec::new();
    flatten("", &table, &place, &mut entries);
    Ok((entries, of_names))
}

/// The tables of an array that begins at `start`.
fn records(
    name: &str,
    start: usize,
    tables: &DeValue<'_>,
    place: &dyn Fn(usize) -> Place,
) -> Result<Vec<Record>, Vec<Problem>> {
    let wrong = |at: usize, value: &DeValue<'_>| {
        let expected = format!("tables that begin with [[{name}]]");
        let kind = ProblemKind::BadValue { found: owned(value).to_string(), expected };
        vec![place(at).problem(Some(name), kind)]
    };
    let DeValue::Array(items) = tables else { return Err(wrong(start, tables)) };
    let mut records = Vec::new();
    for item in items {
        let DeValue::Table(inner) = item.get_ref() else {
            return Err(wrong(item.span().start, item.get_ref()));
        };
        let mut of_record = Vec::new();
        flatten("", inner, place, &mut of_record);
        records.push(Record { place: place(item.span().start), entries: of_record });
    }
    Ok(records)
}

/// The entries that `key = value` stands for, `value` in TOML or else a bare string.
pub(crate) fn parse_assignment(source: &str, key: &str, value: &str) -> Vec<Entry> {
    let place = Place::of(source);
    let leaf =
        |value| vec![Entry { key: key.to_owned(), value, place: place.clone(), key_place: place.clone() }];
    match DeValue::parse(value) {
        Err(_) => leaf(Value::Text(value.to_owned())),
        Ok(parsed) => match parsed.get_ref() {
            DeValue::Table(table) if !table.is_empty() => {
                let mut entries = Vec::new();
                flatten(key, table, &|_| place.clone(), &mut entries);
                entries
            }
            other => leaf(owned(other)),
        },
    }
}

fn flatten(prefix: &str, table: &DeTable<'_>, place: &dyn Fn(usize) -> Place, out: &mut Vec<Entry>) {
    for (key, value) in table {
        let segment = segment(key.get_ref());
        let full = if prefix.is_empty() { segment } else { format!("{prefix}.{segment}") };
        match value.get_ref() {
            DeValue::Table(inner) if !inner.is_empty() => flatten(&full, inner, place, out),
            leaf => out.push(Entry {
                key: full,
                value: owned(leaf),
                place: place(value.span().start),
                key_place: place(key.span().start),
            }),
        }
    }
}

/// A key segment, in quotes unless it is a bare key: `"a.b"` is not `a.b`.
fn segment(text: &str) -> String {
    let bare = !text.is_empty() && text.chars().all(is_bare);
    if bare { text.to_owned() } else { format!("{text:?}") }
}

/// Whether TOML allows the character in a key without quotes.
pub(crate) fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

fn owned(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(s) => Value::Text(s.clone().into_owned()),
        DeValue::Integer(n) => match i128::from_str_radix(n.as_str(), n.radix()) {
            Ok(n) => Value::Integer(n),
            Err(_) => Value::Other("a number too large for any integer".to_owned()),
        },
        DeValue::Float(x) => match x.as_str().parse() {
            Ok(x) => Value::Float(x),
            Err(_) => Value::Other("a number that cannot be read".to_owned()),
        },
        DeValue::Boolean(b) => Value::Bool(*b),
        DeValue::Datetime(_) => Value::Other("a date or time".to_owned()),
        DeValue::Array(items) => Value::Array(items.iter().map(|v| owned(v.get_ref())).collect()),
        DeValue::Table(_) => Value::Table,
    }
}
