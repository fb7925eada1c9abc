//! The commands in the README and in the book (`docs/`) run, and print what is shown.
//!
//! Of every page, in a folder of its own:
//!
//! - a fence with a file name, as ```` ```toml mine.toml ````, is that file;
//! - a `sh` fence is run as a script, and has to succeed;
//! - a `console` fence is a command after `$` and what it prints, which has to be just that.
//!
//! A fence with `not-run=WHY` is left alone. The book says what each `WHY` means (`docs/about.md`), and few may have one.
//!
//! After a change of outputs: `DAXSIM_UPDATE_README=1 cargo test -p daxsim --test readme`.

#![cfg(unix)]

mod links;
mod page;

use page::{Page, pages};

/// Pages whose outputs take long, in tests of their own, so that they run side by side.
const LONG: [&str; 2] = ["README.md", "reports/examples/semantics.md"];

/// Why a command may be left alone.
const REASONS: [&str; 7] = ["build", "cluster", "guest", "long", "recorder", "root", "yours"];

/// Fences that may be left alone: a new one needs a reason, and this number a second look.
const MOST_LEFT: usize = 20;

fn check(path: &str, commands: usize) {
    let page = Page::read(path);
    let run = page.check();
    assert!(run >= commands, "{path} runs {run} commands, expected {commands}");
}

#[test]
fn readme_shows_what_the_program_prints() {
    check("README.md", 8);
}

#[test]
fn the_compared_semantics_are_what_the_program_prints() {
    check("reports/examples/semantics.md", 3);
}

#[test]
fn the_commands_of_the_book_run_and_print_what_it_shows() {
    let run: usize =
        pages().iter().filter(|path| !LONG.contains(&path.as_str())).map(|p| Page::read(p).check()).sum();
    assert!(run >= 25, "{run} commands of the book are run");
}

#[test]
fn few_commands_are_left_alone_and_each_for_a_reason_that_the_book_explains() {
    let about = Page::read("docs/about.md");
    let mut left = 0;
    for path in pages() {
        for (line, reason) in Page::read(&path).left_alone() {
            assert!(
                REASONS.contains(&reason.as_str()),
                "{path} line {line}: not-run={reason} is none of {REASONS:?}"
            );
            left += 1;
        }
    }
    for reason in REASONS {
        assert!(
            about.text.contains(&format!("| `not-run={reason}` |")),
            "docs/about.md does not explain {reason}"
        );
    }
    assert!(left <= MOST_LEFT, "{left} fences are left alone: can they be run?");
}
