//! `daxsim completions` and `daxsim man`: what shells and `man` know of the command line.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use daxsim_reports::write_atomically;

use crate::args::Cli;
use crate::{Status, output};

/// `daxsim completions`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// `daxsim man`
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Folder for the pages
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Help of `completions`.
pub const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  daxsim completions bash > ~/.local/share/bash-completion/completions/daxsim
  daxsim completions zsh > ~/.zfunc/_daxsim
  daxsim completions fish > ~/.config/fish/completions/daxsim.fish";

/// Help of `man`.
pub const MAN_EXAMPLES: &str = "\
Examples:
  daxsim man ~/.local/share/man/man1
  man daxsim-replay";

/// Runs `daxsim completions`.
pub fn completions(args: &CompletionsArgs) -> Result<Status> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "daxsim", &mut script);
    output::print(&String::from_utf8(script)?)?;
    Ok(Status::Done)
}

/// Runs `daxsim man`.
pub fn man(args: &ManArgs) -> Result<Status> {
    let mut command = Cli::command();
    command.build();
    let pages = pages(&command, "daxsim", &args.folder)?;
    output::print(&format!("{pages} pages in {}\n", args.folder.display()))?;
    Ok(Status::Done)
}

/// Writes the pages of a command and those below it; how many.
fn pages(command: &clap::Command, name: &str, folder: &Path) -> Result<usize> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone().disable_help_subcommand(true)).render(&mut page)?;
    write_atomically(&folder.join(format!("{name}.1")), &page)?;
    let mut written = 1;
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        written += pages(below, &format!("{name}-{}", below.get_name()), folder)?;
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `check` for a command and all below it.
    fn each(command: &clap::Command, name: &str, check: &mut impl FnMut(&str, &clap::Command)) {
        check(name, command);
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            each(below, &format!("{name} {}", below.get_name()), check);
        }
    }

    #[test]
    fn every_help_has_examples() {
        let mut without = Vec::new();
        each(&Cli::command(), "daxsim", &mut |name, command| {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let example = |line: &str| line.trim_start().starts_with("daxsim ");
            if !(help.contains("Examples:") && help.lines().any(example)) {
                without.push(name.to_owned());
            }
        });
        assert!(without.is_empty(), "{without:?}");
    }

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_page_and_a_completion() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Cli::command();
        command.build();
        let written = pages(&command, "daxsim", folder.path()).unwrap();
        let mut names = 0;
        let mut script = Vec::new();
        clap_complete::generate(Shell::Bash, &mut Cli::command(), "daxsim", &mut script);
        let script = String::from_utf8(script).unwrap();
        each(&Cli::command(), "daxsim", &mut |name, command| {
            names += 1;
            let page = folder.path().join(format!("{}.1", name.replace(' ', "-")));
            let text = std::fs::read_to_string(page).unwrap();
            assert!(text.contains(".SH SYNOPSIS") && text.contains("Examples"), "{name}");
            for argument in command.get_arguments().filter_map(|a| a.get_long()) {
                assert!(script.contains(&format!("--{argument}")), "{name} --{argument}");
            }
        });
        assert_eq!(written, names);
    }
}
