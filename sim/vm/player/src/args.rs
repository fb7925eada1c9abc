//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

/// What `--help` prints.
pub const HELP: &str = "\
Usage: daxplay [--dir DIR] [--log FILE] [--tracing DIR] [--marks] SCRIPT

Plays a workload script on the files of a folder.

  --dir DIR      where the script's files are made [default: .]
  --log FILE     what each line returned [default: standard output]
  --tracing DIR  tracefs: switched on for the script, with a marker around each line
  --marks        a store before and behind each line, to an address that says which: whoever sees all stores sees the lines

Example: daxplay --dir /mnt/pmem --log oplog.txt --tracing /sys/kernel/tracing script.txt
Exit status: 0 the script ran (its lines may have failed: see the log), 2 it could not be run.
";

/// The arguments.
#[derive(Debug, PartialEq, Eq)]
pub struct Args {
    /// Where the script's files are made.
    pub dir: PathBuf,
    /// Where the log goes; standard output if not said.
    pub log: Option<PathBuf>,
    /// tracefs, if the run is traced.
    pub tracing: Option<PathBuf>,
    /// Lines are marked by stores.
    pub marks: bool,
    /// The script.
    pub script: PathBuf,
}

/// Why there are no arguments.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// Help was asked for.
    Help,
    /// What is wrong with them.
    Wrong(String),
}

impl Args {
    /// Reads the words behind the program's name.
    pub fn parse(words: impl Iterator<Item = OsString>) -> Result<Self, Stop> {
        let (mut dir, mut log, mut tracing, mut marks, mut script) = (None, None, None, false, None);
        let mut words = words.peekable();
        while let Some(word) = words.next() {
            let text = word.to_string_lossy().into_owned();
            let place = match text.as_str() {
                "--help" | "-h" => return Err(Stop::Help),
                "--dir" => &mut dir,
                "--log" => &mut log,
                "--tracing" => &mut tracing,
                "--marks" => {
                    marks = true;
                    continue;
                }
                option if option.starts_with('-') => {
                    return Err(Stop::Wrong(format!("{option}: no such option")));
                }
                _ if script.is_none() => {
                    script = Some(PathBuf::from(word));
                    continue;
                }
                more => {
                    return Err(Stop::Wrong(format!("{more}: one script is played, and this is another")));
                }
            };
            let value =
                words.next().ok_or_else(|| Stop::Wrong(format!("{text}: expected a path behind it")))?;
            *place = Some(PathBuf::from(value));
        }
        let script = script.ok_or_else(|| Stop::Wrong("expected a script".into()))?;
        Ok(Self { dir: dir.unwrap_or_else(|| ".".into()), log, tracing, marks, script })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Args, Stop> {
        Args::parse(words.iter().map(OsString::from))
    }

    #[test]
    fn options_stand_before_or_behind_the_script() {
        let args = parse(&["--dir", "/mnt", "s.txt", "--log", "l"]).unwrap();
        assert_eq!((args.dir, args.script, args.log), ("/mnt".into(), "s.txt".into(), Some("l".into())));
        assert_eq!((args.tracing, args.marks), (None, false));
        assert!(parse(&["s.txt", "--marks"]).unwrap().marks);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (words, part) in [
            (&["--dri", "x"][..], "--dri: no such option"),
            (&["a", "b"], "b: one script"),
            (&["a", "--log"], "--log: expected a path"),
            (&[], "expected a script"),
        ] {
            let Err(Stop::Wrong(why)) = parse(words) else { panic!("{words:?} is taken") };
            assert!(why.starts_with(part), "{why}");
        }
        assert_eq!(parse(&["a", "--help"]), Err(Stop::Help));
    }
}
