//! What an ELF file says of itself: which libraries a program needs, which modules a kernel module needs.

use object::Endianness;
use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader};

/// How a program is linked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Linkage {
    /// The loader, if it is linked dynamically.
    pub interpreter: Option<String>,
    /// Names of libraries.
    pub libraries: Vec<String>,
    /// Folders of libraries that the file names.
    pub folders: Vec<String>,
}

type Header = FileHeader64<Endianness>;

/// Whether a file begins as an ELF file does.
#[must_use]
pub fn is_elf(data: &[u8]) -> bool {
    data.starts_with(b"\x7fELF")
}

/// How a program or library is linked.
///
/// # Errors
///
/// What is wrong with the file, in words.
pub fn linkage(data: &[u8]) -> Result<Linkage, String> {
    let why = |e: object::read::Error| e.to_string();
    let header = Header::parse(data).map_err(why)?;
    let endian = header.endian().map_err(why)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut linkage = Linkage::default();
    for segment in header.program_headers(endian, data).map_err(why)? {
        if let Some(path) = segment.interpreter(endian, data).map_err(why)? {
            linkage.interpreter = Some(text(path));
        }
    }
    let sections = header.sections(endian, data).map_err(why)?;
    let Some((entries, strings)) = sections.dynamic(endian, data).map_err(why)? else { return Ok(linkage) };
    let strings = sections.strings(endian, data, strings).map_err(why)?;
    for entry in entries {
        let tag = entry.tag32(endian);
        let string = || entry.string(endian, strings).map(text).map_err(why);
        match tag {
            Some(DT_NEEDED) => linkage.libraries.push(string()?),
            Some(DT_RUNPATH | DT_RPATH) => linkage.folders.extend(string()?.split(':').map(str::to_owned)),
            _ => {}
        }
    }
    Ok(linkage)
}

/// The modules that a kernel module needs, as its section `.modinfo` says.
///
/// # Errors
///
/// What is wrong with the file, in words.
pub fn module_needs(data: &[u8]) -> Result<Vec<String>, String> {
    let why = |e: object::read::Error| e.to_string();
    let header = Header::parse(data).map_err(why)?;
    let endian = header.endian().map_err(why)?;
    let sections = header.sections(endian, data).map_err(why)?;
    let Some((_, section)) = sections.section_by_name(endian, b".modinfo") else {
        return Err("no section .modinfo: it is no kernel module".into());
    };
    let info = section.data(endian, data).map_err(why)?;
    let needs = info.split(|&byte| byte == 0).find_map(|field| field.strip_prefix(b"depends="));
    let names = String::from_utf8_lossy(needs.unwrap_or_default()).into_owned();
    Ok(names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_needs_the_c_library() {
        let data = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(is_elf(&data));
        let linkage = linkage(&data).unwrap();
        assert!(linkage.interpreter.as_deref().is_some_and(|path| path.contains("ld-")), "{linkage:?}");
        assert!(linkage.libraries.iter().any(|name| name.starts_with("libc.so")), "{linkage:?}");
        assert!(module_needs(&data).unwrap_err().contains(".modinfo"));
    }

    #[test]
    fn other_files_are_refused() {
        assert!(!is_elf(b"#!/bin/sh\n"));
        assert!(linkage(b"\x7fELF and no more").is_err());
    }
}
