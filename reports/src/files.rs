//! Writing a file so that a reader sees the old bytes or the new ones, never a part.

use std::io::Write;
use std::path::Path;

use crate::ReportError;

/// Writes `bytes` to `path` through a temporary file in the same directory and a rename.
///
/// The directory is created if it is missing. A run that dies in between
/// leaves the earlier file as it was.
///
/// # Errors
///
/// [`ReportError::Io`] naming the path, if the directory cannot be made or the
/// file cannot be written or replaced.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    write_atomically_with(path, |file| file.write_all(bytes))
}

/// The same for a file that is too long to be held: `write` is given the file, buffered.
///
/// # Errors
///
/// As [`write_atomically`].
pub fn write_atomically_with(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), ReportError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(directory).map_err(failed("create", directory))?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".daxsim-").suffix(".tmp");
    readable_by_all(&mut builder);
    let mut file = builder.tempfile_in(directory).map_err(failed("create a file in", directory))?;
    let mut buffered = std::io::BufWriter::new(&mut file);
    write(&mut buffered).and_then(|()| buffered.flush()).map_err(failed("write", path))?;
    drop(buffered);
    file.as_file().sync_all().map_err(failed("write", path))?;
    file.persist(path).map_err(|e| failed("replace", path)(e.error))?;
    Ok(())
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ReportError {
    let path = path.to_path_buf();
    move |source| ReportError::Io { action, path, source }
}

/// A report is no secret: it gets the permissions the umask allows, not a temporary file's 0600.
#[cfg(unix)]
fn readable_by_all(builder: &mut tempfile::Builder<'_, '_>) {
    use std::os::unix::fs::PermissionsExt;
    builder.permissions(std::fs::Permissions::from_mode(0o666));
}

#[cfg(not(unix))]
fn readable_by_all(_: &mut tempfile::Builder<'_, '_>) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/report.json");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn an_error_names_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let blocker = dir.path().join("file");
        std::fs::write(&blocker, b"").unwrap();
        let error = write_atomically(&blocker.join("report.json"), b"x").unwrap_err();
        assert!(error.to_string().ends_with(&format!("`{}`", blocker.display())), "{error}");
        // A directory in the place of the file: the rename is refused, the rest is cleaned up.
        std::fs::create_dir(dir.path().join("taken")).unwrap();
        std::fs::write(dir.path().join("taken/x"), b"").unwrap();
        let error = write_atomically(&dir.path().join("taken"), b"x").unwrap_err();
        assert!(error.to_string().starts_with("cannot replace `"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
