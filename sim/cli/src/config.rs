//! `daxsim config`: what can be configured, and to what it is set.

use anyhow::{Result, bail};
use daxsim_configs::{
    KeyValue, Override, builtin_kernels, builtin_machines, builtin_semantics, describe_kernel,
    describe_machine, load_kernel, load_machine, split_overrides,
};

use crate::args::{ConfigArgs, ConfigCommand};
use crate::{Status, output};

/// The settings of `--set` with that of `--semantics`.
pub fn with_semantics(texts: &[String], semantics: Option<&str>) -> Vec<String> {
    texts.iter().cloned().chain(semantics.map(|name| format!("semantics={name}"))).collect()
}
/// The keys of path lengths begin so.
const PATHS: &str = "path_length.";

/// Machine and kernel overrides of `--set` options.
pub fn parse_overrides(texts: &[String]) -> Result<(Vec<Override>, Vec<Override>)> {
    let all = texts.iter().map(|text| Override::parse(text)).collect::<Result<Vec<_>, _>>()?;
    Ok(split_overrides(&all)?)
}

/// Runs `daxsim config`.
pub fn run(args: &ConfigArgs) -> Result<Status> {
    match &args.command {
        ConfigCommand::List => list()?,
        ConfigCommand::Show { name, overrides } => show(name, overrides)?,
    }
    Ok(Status::Done)
}

fn list() -> Result<()> {
    let mut text = String::from("machines:\n");
    for info in builtin_machines()? {
        text.push_str(&format!("  {:<20} {}\n", info.name, info.description));
    }
    text.push_str("kernels:\n");
    for info in builtin_kernels()? {
        text.push_str(&format!("  {:<20} {}\n", info.name, info.description));
    }
    text.push_str("semantics (--semantics, or semantics = \"...\" in a kernel file):\n");
    for info in builtin_semantics()? {
        text.push_str(&format!("  {:<20} {}\n", info.name, info.description));
    }
    text.push_str("  NAME+KNOB@OTHER      any of these with one knob, or several, as in another\n");
    output::print(&text)?;
    Ok(())
}

fn show(name: &str, overrides: &[String]) -> Result<()> {
    let (machine, kernel) = parse_overrides(overrides)?;
    let is_kernel = builtin_kernels()?.iter().any(|k| k.name == name);
    let is_machine = builtin_machines()?.iter().any(|m| m.name == name);
    let keys: Vec<KeyValue> = if is_kernel {
        describe_kernel(&load_kernel(name, &kernel)?)
    } else if is_machine {
        describe_machine(&load_machine(name, &machine)?)
    } else {
        match (load_machine(name, &machine), load_kernel(name, &kernel)) {
            (Ok(spec), _) => describe_machine(&spec),
            (_, Ok(spec)) => describe_kernel(&spec),
            (Err(as_machine), Err(as_kernel)) => {
                bail!(
                    "{name} is neither a machine nor a kernel\nas a machine:\n{as_machine}\nas a kernel:\n{as_kernel}"
                )
            }
        }
    };
    let mut text = String::new();
    let mut in_paths = false;
    for k in &keys {
        let width = if k.key.starts_with(PATHS) { 36 } else { 24 };
        if !std::mem::replace(&mut in_paths, width == 36) && in_paths {
            text.push_str("# Path lengths are [instructions, loads, stores, basis, trust].\n");
        }
        text.push_str(&format!("{:<40} {:<width$} # {}\n", format!("{} =", k.key), k.value, k.doc));
    }
    output::print(&text)?;
    Ok(())
}
