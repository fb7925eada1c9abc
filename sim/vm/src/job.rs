//! What a guest records.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use daxsim_types::FileSystem;

/// One run, on a fresh file system.
#[derive(Clone, Debug)]
pub struct Job {
    /// Where.
    pub fs: FileSystem,
    /// What the folder of its recording is called.
    pub name: String,
    /// What runs.
    pub work: Work,
}

/// What runs.
#[derive(Clone, Debug)]
pub enum Work {
    /// A workload script, played by the player: its text.
    Script(Vec<u8>),
    /// A command and its arguments, run in the file system.
    Command(Vec<OsString>),
}

impl Job {
    /// Its line for the first process.
    pub(crate) fn order(&self, number: usize) -> String {
        let kind = match self.work {
            Work::Script(_) => "script",
            Work::Command(_) => "command",
        };
        format!("{number} {} {kind}\n", self.fs)
    }
}

/// A command as a shell reads it, word for word; the shell becomes the command.
pub(crate) fn shell_line(words: &[OsString]) -> Vec<u8> {
    let mut line = b"exec".to_vec();
    for word in words {
        line.extend(b" '");
        for &byte in word.as_bytes() {
            if byte == b'\'' { line.extend(b"'\\''") } else { line.push(byte) }
        }
        line.push(b'\'');
    }
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_the_words_back() {
        let words = ["printf", "%s|", "a b", "it's", "$HOME", "", "x\"y\\", "*"];
        let line = shell_line(&words.map(OsString::from));
        let output = Command::new("sh").arg("-c").arg(String::from_utf8(line).unwrap()).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "a b|it's|$HOME||x\"y\\|*|");
    }
}
