//! Lists the functions of the kernel model by line, and the building blocks that they execute, for the observer: a line of the
//! model then has the name of the kernel's function.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

/// The sources that are listed.
const SOURCES: &str = "src/kernel";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={SOURCES}");
    println!("cargo::rerun-if-changed=build.rs");
    let mut files: Vec<_> =
        fs::read_dir(SOURCES)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|e| e == "rs"));
    files.sort();
    let (mut functions, mut blocks) = (String::new(), String::new());
    for path in &files {
        let text = fs::read_to_string(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        list(&mut functions, &name, &text, function)?;
        list(&mut blocks, &name, &text, block)?;
    }
    let table = |name: &str, body: &str| format!("static {name}: &[(&str, Lines)] = &[\n{body}];\n");
    let out = Path::new(&env::var("OUT_DIR")?).join("sites.rs");
    fs::write(out, table("FUNCTIONS", &functions) + &table("BLOCKS", &blocks))?;
    Ok(())
}

/// Adds the lines of a file in which `find` finds a name.
fn list(
    out: &mut String,
    file: &str,
    text: &str,
    find: fn(&str) -> Option<&str>,
) -> Result<(), Box<dyn Error>> {
    writeln!(out, "    (\"kernel/{file}\", &[")?;
    for (at, line) in text.lines().enumerate() {
        if let Some(name) = find(line) {
            writeln!(out, "        ({}, \"{name}\"),", at + 1)?;
        }
    }
    writeln!(out, "    ]),")?;
    Ok(())
}

/// The function whose definition a line begins.
fn function(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    if let Some(public) = rest.strip_prefix("pub") {
        rest = public.strip_prefix(' ').or_else(|| Some(public.split_once(") ")?.1))?;
    }
    while let Some(more) = ["const ", "async "].iter().find_map(|word| rest.strip_prefix(word)) {
        rest = more;
    }
    name(rest.strip_prefix("fn ")?)
}

/// The building block that a line names.
fn block(line: &str) -> Option<&str> {
    name(line.split_once("|p| p.")?.1)
}

/// The identifier that a text begins with.
fn name(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| &text[..end])
}
