//! Debian packages: an `ar` archive with a compressed `tar` of the files (deb(5)).

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path};

use crate::VmError;

/// What an archive begins with.
const MAGIC: &[u8; 8] = b"!<arch>\n";
/// Bytes of a member's head: name, time, owner, group, mode, size, end.
const HEAD: usize = 60;

/// Unpacks those files of a package into a folder whose path in it (`lib/modules/..`) is wanted.
///
/// # Errors
///
/// [`VmError`] if it is no package, is damaged, or the folder cannot be written.
pub fn unpack(package: &Path, into: &Path, wanted: impl Fn(&Path) -> bool) -> Result<(), VmError> {
    let mut file = File::open(package).map_err(VmError::file("opened", package))?;
    let (name, size) = data_member(&mut file, package)?;
    let data = file.take(size);
    let reader: Box<dyn Read> = match name.strip_prefix("data.tar").unwrap_or_default() {
        ".xz" => Box::new(liblzma::read::XzDecoder::new(data)),
        ".zst" => Box::new(zstd::Decoder::new(data).map_err(VmError::file("read", package))?),
        ".gz" => Box::new(flate2::read::GzDecoder::new(data)),
        "" => Box::new(data),
        _ => return Err(VmError::form(package, name, "data.tar, plain or with .xz, .zst or .gz")),
    };
    extract(reader, into, wanted).map_err(VmError::file("unpacked", package))
}

/// Goes to the member with the files; its name and size.
fn data_member(file: &mut File, package: &Path) -> Result<(String, u64), VmError> {
    let read = || VmError::file("read", package);
    let mut magic = [0; 8];
    file.read_exact(&mut magic).map_err(read())?;
    if magic != *MAGIC {
        return Err(VmError::form(package, "another beginning than `!<arch>`", "a Debian package"));
    }
    loop {
        let mut head = [0; HEAD];
        match file.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(VmError::form(package, "no member data.tar", "a Debian package"));
            }
            Err(error) => return Err(read()(error)),
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let name = text.get(..16).unwrap_or_default().trim_end().trim_end_matches('/').to_owned();
        let size = text.get(48..58).and_then(|size| size.trim_end().parse::<u64>().ok());
        let Some(size) = size else {
            return Err(VmError::form(
                package,
                format!("a member {name} without a size"),
                "a Debian package",
            ));
        };
        if name.starts_with("data.tar") {
            return Ok((name, size));
        }
        let skip = i64::try_from(size.next_multiple_of(2)).unwrap_or(i64::MAX);
        file.seek(SeekFrom::Current(skip)).map_err(read())?;
    }
}

fn extract(reader: impl Read, into: &Path, wanted: impl Fn(&Path) -> bool) -> io::Result<()> {
    for entry in tar::Archive::new(reader).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let inside: std::path::PathBuf =
            path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        if entry.header().entry_type().is_file() && wanted(&inside) {
            let to = into.join(&inside);
            fs::create_dir_all(to.parent().unwrap_or(into))?;
            io::copy(&mut entry, &mut File::create(&to)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn package(dir: &Path, name: &str, data: &[u8]) -> std::path::PathBuf {
        let path = dir.join("p.deb");
        let mut file = File::create(&path).unwrap();
        file.write_all(MAGIC).unwrap();
        for (name, data) in [("debian-binary", &b"2.0\n"[..]), ("odd", b"123"), (name, data)] {
            write!(file, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100644, data.len()).unwrap();
            file.write_all(data).unwrap();
            file.write_all(if data.len() % 2 == 1 { b"\n" } else { b"" }).unwrap();
        }
        path
    }

    fn tar() -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for path in ["./boot/vmlinuz-1", "./usr/share/doc/x"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(4);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append_data(&mut header, path, &b"text"[..]).unwrap();
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn wanted_files_are_unpacked_whatever_the_compression() {
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&tar()).unwrap();
        let zst = zstd::encode_all(&tar()[..], 1).unwrap();
        for (name, data) in
            [("data.tar", tar()), ("data.tar.xz", xz.finish().unwrap()), ("data.tar.zst", zst)]
        {
            let dir = tempfile::tempdir().unwrap();
            let package = package(dir.path(), name, &data);
            unpack(&package, dir.path(), |path| path.starts_with("boot")).unwrap();
            assert_eq!(fs::read(dir.path().join("boot/vmlinuz-1")).unwrap(), b"text", "{name}");
            assert!(!dir.path().join("usr").exists());
        }
    }

    #[test]
    fn other_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let no_data = package(dir.path(), "control.tar", &tar());
        let why = unpack(&no_data, dir.path(), |_| true).unwrap_err().to_string();
        assert!(why.contains("no member data.tar"), "{why}");
        fs::write(&no_data, "something else").unwrap();
        assert!(unpack(&no_data, dir.path(), |_| true).unwrap_err().to_string().contains("a Debian package"));
    }
}
