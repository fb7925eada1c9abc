//! A page with its commands.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// How pages call the program: as it is built, or as it is installed.
const CALLS: [&str; 2] = ["$ cargo run --release -p daxsim --", "$ daxsim"];

/// Files that pages speak of as yours, and what stands for them.
const YOURS: [(&str, &str); 3] = [
    ("my-trace.txt", "traces/recorded/kernel-7.2/ext4/s10_msync_loop/trace.txt.xz"),
    ("script.txt", "traces/recorded/kernel-7.2/ext4/s01_read_then_write/script.txt"),
    ("base.txt", "traces/recorded/kernel-6.12/ext4/s10_msync_loop/trace.txt.xz"),
];

/// The top of the tree.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The README and every page of the book, but for the specification, which has no commands.
pub fn pages() -> Vec<String> {
    let inside = fs::read_dir(top().join("docs")).unwrap();
    let names = inside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut pages: Vec<String> =
        names.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}")).collect();
    pages.push("README.md".to_owned());
    pages.sort();
    pages
}

/// A page.
pub struct Page {
    path: String,
    pub text: String,
}

/// A fence: its first line, what it is, and what is in it.
struct Fence<'a> {
    line: usize,
    info: &'a str,
    body: Vec<&'a str>,
}

impl Fence<'_> {
    fn kind(&self) -> &str {
        self.info.split_whitespace().next().unwrap_or_default()
    }

    fn left_alone(&self) -> Option<&str> {
        self.info.split_whitespace().find_map(|word| word.strip_prefix("not-run="))
    }

    /// The file that the fence is.
    fn file(&self) -> Option<&str> {
        self.info.split_whitespace().nth(1).filter(|word| !word.contains('='))
    }
}

impl Page {
    pub fn read(path: &str) -> Self {
        let text = fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { path: path.to_owned(), text }
    }

    fn fences(&self) -> Vec<Fence<'_>> {
        let mut fences = Vec::new();
        let mut lines = self.text.lines().enumerate();
        while let Some((at, line)) = lines.next() {
            let Some(info) = line.strip_prefix("```").filter(|info| !info.is_empty()) else { continue };
            let body: Vec<&str> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            fences.push(Fence { line: at + 1, info, body });
        }
        fences
    }

    /// The fences that are not run, with the line and the reason.
    pub fn left_alone(&self) -> Vec<(usize, String)> {
        let left = self.fences();
        left.iter().filter_map(|fence| Some((fence.line, fence.left_alone()?.to_owned()))).collect()
    }

    /// Runs all commands of the page and compares what they print, or writes it anew. Gives how many were run.
    pub fn check(&self) -> usize {
        let folder = self.folder();
        let (mut out, mut run, mut rest) = (String::new(), 0, self.text.as_str());
        for fence in self.fences() {
            let expected = match (fence.left_alone(), fence.kind()) {
                (None, "sh") => {
                    let script = fence.body.join("\n");
                    self.shell(&folder, &format!("set -e\n{script}"), fence.line);
                    run += 1;
                    continue;
                }
                (None, "console") => self.console(&folder, &fence, &mut run),
                _ => continue,
            };
            let found = fence.body.iter().map(|line| format!("{line}\n")).collect::<String>();
            // Where it stands: after what was looked at before.
            let head = format!("```{}\n", fence.info);
            let at = rest.find(&(head.clone() + &found)).unwrap() + head.len();
            out += &rest[..at];
            out += &expected;
            rest = &rest[at + found.len()..];
        }
        out += rest;
        self.compare(&out);
        run
    }

    /// What a console fence should hold.
    fn console(&self, folder: &TempDir, fence: &Fence<'_>, run: &mut usize) -> String {
        let mut expected = String::new();
        for line in fence.body.iter().filter(|line| line.starts_with("$ ")) {
            let call = CALLS.iter().find_map(|call| line.strip_prefix(call));
            let arguments = call.unwrap_or_else(|| panic!("{} line {}: `{line}`", self.path, fence.line));
            expected += &format!("{line}\n");
            expected += &self.shell(folder, &format!("daxsim{arguments}"), fence.line);
            *run += 1;
        }
        expected
    }

    /// Runs a script as a shell at the top of the tree would, away from the tree's own results.
    fn shell(&self, folder: &TempDir, script: &str, line: usize) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("sh")
            .args(["-c", script])
            .env("PATH", format!("{}:{path}", folder.path().join("bin").display()))
            .current_dir(folder.path())
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} line {line}: {script}\n{error}", self.path);
        String::from_utf8(output.stdout).unwrap()
    }

    /// A folder with the program, the inputs, and the files of the page.
    fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["traces", "configs", "reports"] {
            symlink(top().join(name), folder.path().join(name)).unwrap();
        }
        fs::create_dir(folder.path().join("bin")).unwrap();
        symlink(env!("CARGO_BIN_EXE_daxsim"), folder.path().join("bin/daxsim")).unwrap();
        for (name, stands_for) in YOURS {
            fs::copy(top().join(stands_for), folder.path().join(name)).unwrap();
        }
        for fence in self.fences() {
            if let Some(file) = fence.file() {
                fs::write(folder.path().join(file), fence.body.join("\n") + "\n").unwrap();
            }
        }
        folder
    }

    fn compare(&self, expected: &str) {
        if std::env::var_os("DAXSIM_UPDATE_README").is_some() {
            fs::write(top().join(&self.path), expected).unwrap();
            return;
        }
        for (number, (shown, printed)) in self.text.lines().zip(expected.lines()).enumerate() {
            assert_eq!(shown, printed, "{} line {}: see the top of this test", self.path, number + 1);
        }
        assert_eq!(self.text.len(), expected.len(), "{}: see the top of this test", self.path);
    }
}
