//! The modules of a kernel that a guest takes, in the order in which it takes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::{VmError, elf};

/// A module, decompressed.
pub struct Module {
    /// Its name, as the kernel says it: with underscores.
    pub name: String,
    /// The file.
    pub content: Vec<u8>,
}

/// The modules below a folder, by name.
pub struct Modules {
    folder: PathBuf,
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
}

impl Modules {
    /// Looks through a folder such as `/lib/modules/6.12.117+deb12-amd64`.
    ///
    /// # Errors
    ///
    /// [`VmError`] if it cannot be read, or holds no module.
    pub fn find(folder: &Path) -> Result<Self, VmError> {
        let mut files = BTreeMap::new();
        collect(folder, &mut files).map_err(VmError::file("read", folder))?;
        if files.is_empty() {
            return Err(VmError::form(
                folder,
                "no file *.ko, *.ko.xz, *.ko.zst or *.ko.gz",
                "the modules of a kernel",
            ));
        }
        let builtin = fs::read_to_string(folder.join("modules.builtin")).unwrap_or_default();
        let builtin = builtin.lines().filter_map(|line| name_of(Path::new(line))).collect();
        Ok(Self { folder: folder.to_owned(), files, builtin })
    }

    /// These modules with all that they need, each after what it needs. The optional ones come first, for modules ask for some of them by
    /// what they do and do not name them; those that are not there are left out. What is built into the kernel needs nothing.
    ///
    /// # Errors
    ///
    /// [`VmError`] for a module that is not there, or cannot be read.
    pub fn take(&self, names: &[&str], optional: &[&str]) -> Result<Vec<Module>, VmError> {
        let mut taken = Vec::new();
        let mut seen = BTreeSet::new();
        for name in optional.iter().chain(names) {
            self.add(&name.replace('-', "_"), optional.contains(name), &mut seen, &mut taken)?;
        }
        Ok(taken)
    }

    fn add(
        &self,
        name: &str,
        optional: bool,
        seen: &mut BTreeSet<String>,
        taken: &mut Vec<Module>,
    ) -> Result<(), VmError> {
        if !seen.insert(name.to_owned()) || self.builtin.contains(name) {
            return Ok(());
        }
        let Some(path) = self.files.get(name) else {
            if optional {
                return Ok(());
            }
            return Err(VmError::form(
                &self.folder,
                format!("no module {name}, and it is not built in"),
                "it",
            ));
        };
        let mut content = Vec::new();
        daxsim_traces::open(path)?.read_to_end(&mut content).map_err(VmError::file("read", path))?;
        let needs = elf::module_needs(&content).map_err(|why| VmError::form(path, why, "a kernel module"))?;
        for need in needs {
            self.add(&need.replace('-', "_"), false, seen, taken)?;
        }
        taken.push(Module { name: name.to_owned(), content });
        Ok(())
    }
}

fn collect(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            collect(&path, files)?;
        } else if let Some(name) = name_of(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// The name of the module in a file.
fn name_of(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (name, rest) = file.split_once(".ko")?;
    matches!(rest, "" | ".xz" | ".zst" | ".gz").then(|| name.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_kernel_says() {
        let name = |path: &str| name_of(Path::new(path));
        assert_eq!(name("kernel/drivers/dax/dax-pmem.ko.xz").as_deref(), Some("dax_pmem"));
        assert_eq!(name("ext4.ko").as_deref(), Some("ext4"));
        assert_eq!(name("modules.order"), None);
        assert_eq!(name("x.kommando"), None);
    }

    #[test]
    fn what_is_not_there_is_named_unless_it_is_built_in() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Modules::find(dir.path()).is_err());
        fs::create_dir(dir.path().join("kernel")).unwrap();
        fs::write(dir.path().join("kernel/a.ko"), "not a module").unwrap();
        fs::write(dir.path().join("modules.builtin"), "kernel/fs/b-b.ko\n").unwrap();
        let modules = Modules::find(dir.path()).unwrap();
        assert_eq!(modules.take(&["b_b"], &["c"]).unwrap().len(), 0);
        assert!(modules.take(&["c"], &[]).err().unwrap().to_string().contains("no module c"));
        assert!(modules.take(&["a"], &[]).err().unwrap().to_string().contains("expected a kernel module"));
    }
}
