//! `daxsim config`: what can be configured, and to what it is set.

use anyhow::{Result, bail};
use daxsim_configs::{
    BuiltinInfo, KeyValue, Override, builtin_kernels, builtin_machines, builtin_semantics, describe_kernel,
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
    let keys = keys(name, overrides)?;
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

/// Every key of what `name` names.
fn keys(name: &str, overrides: &[String]) -> Result<Vec<KeyValue>> {
    let (machine, kernel) = parse_overrides(overrides)?;
    let as_machine = || Ok(describe_machine(&load_machine(name, &machine)?));
    let as_kernel = || Ok(describe_kernel(&load_kernel(name, &kernel)?));
    let as_semantics = || semantics_keys(name, overrides);
    let named = |of: Vec<BuiltinInfo>, name: &str| of.iter().any(|builtin| builtin.name == name);
    if named(builtin_machines()?, name) {
        return as_machine();
    } else if named(builtin_kernels()?, name) {
        return as_kernel();
    } else if named(builtin_semantics()?, name.split('+').next().unwrap_or_default()) {
        return as_semantics();
    }
    let machine: anyhow::Error = match as_machine() {
        Ok(keys) => return Ok(keys),
        Err(error) => error,
    };
    as_kernel().or_else(|kernel: anyhow::Error| {
        as_semantics().or_else(|semantics| {
            bail!(
                "{name} is neither a machine, a kernel nor a semantics\nas a machine:\n{machine}\nas a kernel:\n{kernel}\n\
                 as a semantics:\n{semantics}"
            )
        })
    })
}

/// The knobs of a semantics, which are the same in every tree.
fn semantics_keys(name: &str, overrides: &[String]) -> Result<Vec<KeyValue>> {
    let set = parse_overrides(&with_semantics(overrides, Some(name)))?.1;
    let tree = builtin_kernels()?.first().map(|kernel| kernel.name).unwrap_or_default();
    let mut keys = describe_kernel(&load_kernel(tree, &set)?);
    keys.retain(|k| k.key.starts_with("dax."));
    Ok(keys)
}
