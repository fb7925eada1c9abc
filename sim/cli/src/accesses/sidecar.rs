//! The maps of a trace, from a file beside it: TOML, or a copy of `/proc/PID/maps`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use daxsim_sim::program::trace::{FileMap, Medium};
use daxsim_types::{FileSystem, PageSize};
use serde::Deserialize;

use super::map::number;
use super::{AccessArgs, proc_maps};

/// The longest file of maps that is read.
const MOST_BYTES: u64 = 16 << 20;

/// Where maps come from.
#[derive(Debug, Default)]
pub struct Maps {
    /// They.
    pub maps: Vec<FileMap>,
    /// What is to be said of them.
    pub notes: Vec<String>,
}

/// All maps that were typed, or are in files. `fs` was typed: it goes before that of a whole file.
pub fn all(args: &AccessArgs, input: &Path, fs: Option<FileSystem>) -> Result<Maps> {
    let Some(path) = file(args, input) else {
        return Ok(Maps { maps: args.maps.clone(), notes: Vec::new() });
    };
    let named = path.display().to_string();
    let mut found = read(&path, &args.dax, fs).with_context(|| named.clone())?;
    let count = found.maps.len();
    found
        .notes
        .insert(0, format!("{count} {} from {named}", if count == 1 { "mapping" } else { "mappings" }));
    found.maps.extend(args.maps.iter().cloned());
    Ok(found)
}

/// The file that was named or, if there is one, that lies beside the trace.
fn file(args: &AccessArgs, input: &Path) -> Option<PathBuf> {
    let beside = || {
        let mut name = OsString::from(input);
        name.push(".maps.toml");
        Some(PathBuf::from(name)).filter(|path| path.is_file())
    };
    args.maps_file.clone().or_else(beside)
}

fn read(path: &Path, patterns: &[String], fs: Option<FileSystem>) -> Result<Maps> {
    let bytes = std::fs::metadata(path).context("cannot be read")?.len();
    if bytes > MOST_BYTES {
        bail!("{bytes} bytes: expected maps, in TOML or as in /proc/PID/maps, of {MOST_BYTES} bytes at most");
    }
    let text = std::fs::read_to_string(path).context("cannot be read")?;
    if proc_maps::looks_like(&text) {
        return proc_maps::choose(&text, patterns);
    }
    if !patterns.is_empty() {
        bail!(
            "--dax is for a copy of /proc/PID/maps: expected lines such as `7f00-7f20 rw-s 00000000 fd:01 12 /mnt/pmem/db`"
        );
    }
    let file: File = toml::from_str(&text)?;
    let whole = file.fs.as_deref().filter(|_| fs.is_none());
    let maps = file.map.iter().map(|map| map.to_map(whole)).collect::<Result<Vec<_>>>()?;
    if maps.is_empty() {
        bail!("no [[map]]: expected at least one, with file, address and length");
    }
    Ok(Maps { maps, notes: Vec::new() })
}

/// The file as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// File system of all that do not say one.
    fs: Option<String>,
    #[serde(default)]
    map: Vec<Entry>,
}

/// A number, or text of one.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u64),
    Text(String),
}

impl Number {
    fn value(&self, key: &str) -> Result<u64> {
        match self {
            Self::Number(value) => Ok(*value),
            Self::Text(text) => number(text).with_context(|| {
                format!("{key} = \"{text}\": expected a number such as \"0x4a00000\", \"64M\" or 4096")
            }),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    file: String,
    address: Number,
    length: Number,
    offset: Option<Number>,
    fs: Option<String>,
    page: Option<String>,
    medium: Option<String>,
}

impl Entry {
    fn to_map(&self, fs: Option<&str>) -> Result<FileMap> {
        let fs = self.fs.as_deref().or(fs);
        let read = || -> Result<FileMap> {
            Ok(FileMap {
                file: self.file.clone(),
                offset: self.offset.as_ref().map_or(Ok(0), |offset| offset.value("offset"))?,
                start: self.address.value("address")?,
                len: self.length.value("length")?,
                fs: fs.map(str::parse).transpose().map_err(|error| anyhow::anyhow!("fs: {error}"))?,
                page: self.page.as_deref().map(page).transpose()?,
                medium: self.medium.as_deref().map_or(Ok(Medium::Pmem), medium)?,
            })
        };
        read().with_context(|| format!("map of {}", self.file))
    }
}

fn page(text: &str) -> Result<PageSize> {
    Ok(match text {
        "4K" => PageSize::Size4K,
        "2M" => PageSize::Size2M,
        "1G" => PageSize::Size1G,
        _ => bail!("page = \"{text}\": expected \"4K\", \"2M\" or \"1G\""),
    })
}

fn medium(text: &str) -> Result<Medium> {
    Ok(match text {
        "pmem" => Medium::Pmem,
        "dram" => Medium::Dram,
        _ => bail!("medium = \"{text}\": expected \"pmem\" (DAX) or \"dram\" (page cache)"),
    })
}

/// A map as reports name it.
pub fn show(map: &FileMap) -> String {
    let mut more = Vec::new();
    more.extend(map.fs.map(|fs| fs.name().to_owned()));
    more.extend(map.page.map(|page| format!("pages of {}", crate::size::show(page.bytes()))));
    more.extend((map.medium == Medium::Dram).then(|| "page cache".to_owned()));
    let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join(", ")) };
    format!("{}@{:#x}+{:#x}{more}", map.file, map.start, map.len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str, patterns: &[&str]) -> Result<Maps> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        read(file.path(), &patterns, None)
    }

    #[test]
    fn a_sidecar_says_of_each_map_what_it_is() {
        let text = "fs = \"xfs\"\n[[map]]\nfile = \"db\"\naddress = \"0x4e00000\"\nlength = \"196M\"\n\
            [[map]]\nfile = \"log\"\naddress = 0x20000000\nlength = 8192\noffset = \"1M\"\nfs = \"ext4\"\npage = \"4K\"\n\
            medium = \"dram\"\n";
        let maps = read_text(text, &[]).unwrap().maps;
        let db = FileMap {
            file: "db".into(),
            start: 0x4e0_0000,
            len: 196 << 20,
            fs: Some(FileSystem::Xfs),
            ..FileMap::default()
        };
        let log = FileMap {
            file: "log".into(),
            offset: 1 << 20,
            start: 0x2000_0000,
            len: 8192,
            fs: Some(FileSystem::Ext4),
            page: Some(PageSize::Size4K),
            medium: Medium::Dram,
        };
        assert_eq!(maps, [db, log]);
        assert_eq!(show(&maps[1]), "log@0x20000000+0x2000 (ext4, pages of 4 KiB, page cache)");
    }

    #[test]
    fn what_is_wrong_with_a_sidecar_is_told() {
        let wrong = |text: &str| format!("{:#}", read_text(text, &[]).unwrap_err());
        let entry = |more: &str| format!("[[map]]\nfile = \"f\"\naddress = 4096\nlength = 4096\n{more}\n");
        assert!(wrong("").contains("no [[map]]"));
        assert!(wrong("[[map]]\nfile = \"f\"\n").contains("missing field `address`"));
        assert!(wrong(&entry("colour = 1")).contains("unknown field `colour`"));
        assert!(wrong(&entry("page = \"8K\"")).contains("map of f: page = \"8K\": expected \"4K\""));
        assert!(wrong(&entry("medium = \"tape\"")).contains("expected \"pmem\" (DAX) or \"dram\""));
        assert!(wrong(&entry("fs = \"fat\"")).contains("map of f: fs: "));
        assert!(wrong(&entry("offset = \"x\"")).contains("offset = \"x\": expected a number"));
    }
}
