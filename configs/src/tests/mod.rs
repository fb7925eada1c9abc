mod builtins;
mod errors;
mod fuzz;
mod inheritance;
mod overriding;
mod path_lengths;
mod semantics;
mod semantics_table;

use crate::{ConfigError, Override};

/// The text of a builtin machine.
fn machine_text(name: &str) -> &'static str {
    crate::builtin::machine_files().iter().find(|b| b.name == name).unwrap().text
}

/// The text of a builtin kernel.
fn kernel_text(name: &str) -> &'static str {
    crate::builtin::kernel_files().iter().find(|b| b.name == name).unwrap().text
}

fn set(texts: &[&str]) -> Vec<Override> {
    texts.iter().map(|t| Override::parse(t).unwrap()).collect()
}

fn message<T: std::fmt::Debug>(result: Result<T, ConfigError>) -> String {
    result.unwrap_err().to_string()
}

/// `file:line:column` of the value of `key` in `[section]` of the Skylake machine.
fn place(section: &str, key: &str) -> String {
    let mut lines = machine_text("skylake-sp-optane").lines().enumerate();
    lines.find(|(_, line)| line.starts_with(&format!("[{section}]"))).unwrap();
    let (number, _) = lines.find(|(_, line)| line.starts_with(&format!("{key} ="))).unwrap();
    format!("machines/skylake-sp-optane.toml:{}:{}", number + 1, key.len() + 4)
}
