//! Rules of the source tree that no compiler checks.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines that a source file may have.
const MAX_LINES: usize = 600;

/// Folders at the top of the workspace that hold sources.
const SOURCES: [&str; 4] = ["sim", "traces", "configs", "reports"];

/// Folders with no sources of ours.
const SKIPPED: [&str; 4] = ["target", "out", "recorded", ".git"];

/// Folders of a crate that hold tests, benchmarks and examples.
const NOT_SHIPPED: [&str; 3] = ["tests", "benches", "examples"];

/// A file of the tree.
struct File {
    /// Path from the top, with `/`.
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the file is part of what is shipped, that is not test, benchmark or example.
    fn is_shipped(&self) -> bool {
        self.is_rust()
            && !self.path.ends_with("/tests.rs")
            && !self.path.split('/').any(|part| NOT_SHIPPED.contains(&part))
    }

    /// Code outside tests with its line numbers: what precedes `#[cfg(test)]`, without comments.
    /// Unit tests stand at the end of a file; the declaration of a module of tests does not end it.
    fn code(&self) -> Vec<(usize, &str)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let opens_tests = |at: usize| {
            lines[at].trim() == "#[cfg(test)]" && lines.get(at + 1).is_some_and(|next| next.ends_with('{'))
        };
        let end = (0..lines.len()).find(|at| opens_tests(*at)).unwrap_or(lines.len());
        let numbered = lines[..end].iter().enumerate().map(|(at, line)| (at + 1, *line));
        numbered.filter(|(_, line)| !line.trim_start().starts_with("//")).collect()
    }

    /// Places of code that holds one of `words`.
    fn code_with(&self, words: &[&str]) -> Vec<String> {
        let code = self.code();
        let found = code.iter().filter(|(_, line)| words.iter().any(|word| line.contains(word)));
        found.map(|(number, line)| format!("{}:{number}: {}", self.path, line.trim())).collect()
    }
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every Rust, TOML and Markdown file of the tree, in order of its path.
fn files() -> Vec<File> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(top()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_file() {
            paths.push(path);
        } else if SOURCES.contains(&name.as_str()) {
            collect(&path, &mut paths);
        }
    }
    paths.push(top().join("traces/recorded/README.md"));
    paths.sort();
    let top = top();
    let is_text = |path: &PathBuf| {
        path.extension().is_some_and(|e| ["rs", "toml", "md"].contains(&e.to_string_lossy().as_ref()))
    };
    paths
        .into_iter()
        .filter(is_text)
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let relative = path.strip_prefix(&top).unwrap();
            let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
            File { path: parts.join("/"), text }
        })
        .collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_file() {
            paths.push(path);
        } else if !SKIPPED.contains(&name.as_str()) {
            collect(&path, paths);
        }
    }
}

fn assert_none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn the_tree_is_found() {
    let files = files();
    for path in ["Cargo.toml", "README.md", "sim/src/lib.rs", "traces/src/lib.rs", "reports/src/lib.rs"] {
        assert!(files.iter().any(|f| f.path == path), "{path} is not among the files looked at");
    }
}

#[test]
fn source_files_are_short() {
    let too_long = |file: &File| file.is_shipped() && file.text.lines().count() > MAX_LINES;
    let found: Vec<String> = files().iter().filter(|f| too_long(f)).map(|f| f.path.clone()).collect();
    assert_none(&found, &format!("files of more than {MAX_LINES} lines: split them"));
}

#[test]
fn nothing_is_left_to_be_written() {
    let words = ["todo!", "unimplemented!"];
    let found: Vec<String> =
        files().iter().filter(|f| f.is_shipped()).flat_map(|f| f.code_with(&words)).collect();
    assert_none(&found, "code that is missing: write it, or return an error that says what is not supported");
}

#[test]
fn shipped_code_does_not_panic_on_purpose() {
    let words = [".unwrap()", ".expect("];
    let found: Vec<String> =
        files().iter().filter(|f| f.is_shipped()).flat_map(|f| f.code_with(&words)).collect();
    assert_none(&found, "unwrap and expect outside tests: return an error, or match");
}

#[test]
fn only_the_command_and_virtual_machines_look_at_a_clock() {
    let words = ["Instant", "SystemTime"];
    let is_library = |f: &File| {
        let waits = ["sim/cli/", "sim/vm/"].iter().any(|folder| f.path.starts_with(folder));
        f.is_shipped() && !waits
    };
    let found: Vec<String> =
        files().iter().filter(|f| is_library(f)).flat_map(|f| f.code_with(&words)).collect();
    assert_none(&found, "clocks in a library: simulated time is daxsim_types::Time");
}

#[test]
fn no_text_names_a_place_on_somebodys_machine() {
    let places = ["/work/", "/tmp/", "/home/", "/root/"];
    let looked_at = |f: &File| !f.is_rust() || f.is_shipped();
    let mut found = Vec::new();
    for file in files().iter().filter(|f| looked_at(f)) {
        let lines: Vec<(usize, &str)> = if file.is_rust() {
            // Comments count here, tests do not.
            let last = file.code().last().map_or(0, |(number, _)| *number);
            file.text.lines().enumerate().map(|(at, line)| (at + 1, line)).take(last).collect()
        } else {
            file.text.lines().enumerate().map(|(at, line)| (at + 1, line)).collect()
        };
        let bad = lines.iter().filter(|(_, line)| places.iter().any(|place| line.contains(place)));
        found.extend(bad.map(|(number, line)| format!("{}:{number}: {}", file.path, line.trim())));
    }
    assert_none(&found, "absolute paths of one machine: say it relative to the tree");
}

#[test]
fn code_ends_where_the_unit_tests_begin() {
    let text = "fn a() {}\n// b.unwrap()\n#[cfg(test)]\nmod tests;\nfn c() { d.unwrap() }\n#[cfg(test)]\nmod tests {\n    e.unwrap()\n}\n";
    let file = File { path: "sim/src/x.rs".into(), text: text.into() };
    assert_eq!(file.code_with(&[".unwrap()"]), ["sim/src/x.rs:5: fn c() { d.unwrap() }"]);
    assert!(file.is_shipped());
    for path in ["sim/tests/x.rs", "sim/benches/x.rs", "traces/src/ftrace/tests.rs", "configs/src/tests/x.rs"]
    {
        assert!(!File { path: path.into(), text: String::new() }.is_shipped(), "{path}");
    }
}
