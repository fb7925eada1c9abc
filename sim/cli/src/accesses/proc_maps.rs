//! A copy of `/proc/PID/maps` of the traced program (proc_pid_maps(5)).

use anyhow::{Result, bail};
use daxsim_sim::program::trace::FileMap;

use super::sidecar::Maps;

/// Paths that are named when none was chosen.
const MOST_NAMED: usize = 8;

/// A line of it.
struct Mapping<'a> {
    start: u64,
    end: u64,
    shared: bool,
    offset: u64,
    path: &'a str,
}

/// Whether the first line with anything in it is one of such a file.
pub fn looks_like(text: &str) -> bool {
    text.lines().find(|line| !line.trim().is_empty()).is_some_and(|line| parse(line).is_some())
}

/// `START-END PERMS OFFSET DEV INODE PATH`.
fn parse(line: &str) -> Option<Mapping<'_>> {
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let mut rest = line.trim();
    let mut field = || {
        let (field, more) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        rest = more.trim_start();
        field
    };
    let (start, end) = field().split_once('-')?;
    let rights = field();
    let (offset, _dev, inode) = (field(), field(), field());
    let known = rights.len() == 4 && rights.bytes().all(|b| b"rwxsp-".contains(&b));
    let path = rest.strip_suffix(" (deleted)").unwrap_or(rest);
    (known && inode.parse::<u64>().is_ok()).then_some(Mapping {
        start: hex(start)?,
        end: hex(end)?,
        shared: rights.ends_with('s'),
        offset: hex(offset)?,
        path,
    })
}

/// The shared mappings of files whose path is like one of the patterns.
pub fn choose(text: &str, patterns: &[String]) -> Result<Maps> {
    let mut maps = Vec::new();
    let (mut private, mut others) = (0, Vec::new());
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let Some(mapping) = parse(line).filter(|mapping| mapping.start < mapping.end) else {
            bail!(
                "line {number}: found `{line}`: expected START-END PERMS OFFSET DEV INODE PATH, as in /proc/PID/maps"
            );
        };
        let chosen = patterns.iter().any(|pattern| is_like(pattern.as_bytes(), mapping.path.as_bytes()));
        match (chosen, mapping.shared) {
            (true, true) => maps.push(FileMap {
                file: mapping.path.to_owned(),
                offset: mapping.offset,
                start: mapping.start,
                len: mapping.end - mapping.start,
                ..FileMap::default()
            }),
            (true, false) => private += 1,
            (false, shared) => {
                let named = shared && mapping.path.starts_with('/');
                if named && !others.contains(&mapping.path) && others.len() < MOST_NAMED {
                    others.push(mapping.path);
                }
            }
        }
    }
    if maps.is_empty() {
        let there = if others.is_empty() { "none".into() } else { others.join(", ") };
        bail!(
            "no shared mapping was chosen: expected --dax PATTERN for one of those there, which are: {there}"
        );
    }
    let mut notes = Vec::new();
    if private > 0 {
        notes.push(format!("{private} private mappings of DAX files are taken for anonymous memory"));
    }
    Ok(Maps { maps, notes })
}

/// Whether text is like a pattern, in which `*` stands for any characters and `?` for one.
fn is_like(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on if the characters after the last star do not fit here.
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
55d0c8a00000-55d0c8a20000 r-xp 00002000 fd:01 131 /usr/bin/sqlite3
7f1200000000-7f1240000000 rw-s 00100000 103:02 12 /mnt/pmem/my db (deleted)
7f1250000000-7f1250001000 rw-p 00000000 103:02 13 /mnt/pmem/private
7f1260000000-7f1260002000 rw-s 00000000 00:01 9 /dev/shm/x
7ffc1a000000-7ffc1a021000 rw-p 00000000 00:00 0 [stack]
";

    fn chosen(patterns: &[&str]) -> Result<Maps> {
        choose(TEXT, &patterns.iter().map(|&pattern| pattern.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn mappings_are_chosen_by_path() {
        assert!(looks_like(TEXT) && !looks_like("fs = \"ext4\"\n") && !looks_like(""));
        let found = chosen(&["/mnt/pmem/*"]).unwrap();
        let db = FileMap {
            file: "/mnt/pmem/my db".into(),
            offset: 0x10_0000,
            start: 0x7f12_0000_0000,
            len: 1 << 30,
            ..FileMap::default()
        };
        assert_eq!(found.maps, [db]);
        assert_eq!(found.notes, ["1 private mappings of DAX files are taken for anonymous memory"]);
        assert_eq!(chosen(&["*db", "/dev/*"]).unwrap().maps.len(), 2);
    }

    #[test]
    fn what_there_is_to_choose_is_told() {
        let error = chosen(&["/mnt/none/*"]).unwrap_err().to_string();
        assert!(error.contains("which are: /mnt/pmem/my db, /dev/shm/x"), "{error}");
        let error = choose("1000-2000 rw-s 0 fd:01 1 /f\nrubbish\n", &["/f".into()]).unwrap_err().to_string();
        assert!(error.starts_with("line 2: found `rubbish`"), "{error}");
    }

    #[test]
    fn stars_and_question_marks_stand_for_characters() {
        for (pattern, text, like) in [
            ("/a/*", "/a/b/c", true),
            ("*b*d", "abcbd", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*", "", true),
            ("a*b", "a", false),
            ("", "a", false),
        ] {
            assert_eq!(is_like(pattern.as_bytes(), text.as_bytes()), like, "{pattern} {text}");
        }
    }
}
