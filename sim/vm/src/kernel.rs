//! A kernel to boot: by package name, from packages, or as its file with its modules.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{VmError, apt, deb};

/// Folders below `kernel/` of a package's modules that a guest takes anything from.
const MODULE_FOLDERS: [&str; 9] = [
    "arch",
    "crypto",
    "drivers/acpi",
    "drivers/dax",
    "drivers/nvdimm",
    "drivers/virtio",
    "fs",
    "lib",
    "net/9p",
];

/// A kernel that is there.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What `uname -r` says.
    pub release: String,
    /// The file that is booted.
    pub image: PathBuf,
    /// The folder of its modules.
    pub modules: PathBuf,
}

/// Where a kernel comes from.
#[derive(Clone, Debug)]
pub struct Source {
    /// A package's name, a .deb (several, if the package is split), or a vmlinuz.
    pub names: Vec<String>,
    /// The folder of modules, with a vmlinuz.
    pub modules: Option<PathBuf>,
    /// The suite that a package is looked for in, such as `trixie-backports`; if not said, what apt knows.
    pub suite: Option<String>,
    /// Where packages and what is unpacked of them are kept.
    pub cache: PathBuf,
}

impl Source {
    /// Gets the kernel: from the cache if it is there.
    ///
    /// # Errors
    ///
    /// [`VmError`] if there is no such package or file, or no kernel in it.
    pub fn get(&self) -> Result<Kernel, VmError> {
        if let (Some(modules), [image]) = (&self.modules, &self.names[..]) {
            return with_modules(Path::new(image), modules);
        }
        if self.names.iter().all(|name| name.ends_with(".deb")) {
            let packages: Vec<PathBuf> = self.names.iter().map(PathBuf::from).collect();
            return self.unpacked(&packages);
        }
        match &self.names[..] {
            [name] if !name.contains('/') => self.by_name(name),
            [name] => Err(VmError::form(Path::new(name), "no modules said", "--modules with a vmlinuz")),
            names => Err(VmError::Missing(vec![format!(
                "{}: expected one name of a package, or files *.deb",
                names.join(" ")
            )])),
        }
    }

    /// Of a package by name. The one of a split kernel is but a shell around others.
    fn by_name(&self, name: &str) -> Result<Kernel, VmError> {
        let folder = self.cache.join("packages");
        let image = apt::download(name, self.suite.as_deref(), &folder, &self.cache)?;
        match (self.unpacked(std::slice::from_ref(&image)), name.strip_prefix("linux-image-")) {
            (Ok(kernel), _) => Ok(kernel),
            (Err(VmError::Form { .. }), Some(version)) => {
                let mut packages = Vec::new();
                for part in ["linux-binary-", "linux-modules-"] {
                    let name = format!("{part}{version}");
                    packages.push(apt::download(&name, self.suite.as_deref(), &folder, &self.cache)?);
                }
                self.unpacked(&packages)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Unpacks packages into the cache, once.
    fn unpacked(&self, packages: &[PathBuf]) -> Result<Kernel, VmError> {
        let mut key = String::new();
        for package in packages {
            let size = fs::metadata(package).map_err(VmError::file("read", package))?.len();
            let stem = package.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            key.push_str(&format!("{stem}-{size}."));
        }
        let folder = self.cache.join("kernels").join(key.trim_end_matches('.'));
        if !folder.is_dir() {
            let parent = folder.parent().unwrap_or(&self.cache);
            fs::create_dir_all(parent).map_err(VmError::file("made", parent))?;
            let new = tempfile::Builder::new().prefix(".new-").tempdir_in(parent);
            let new = new.map_err(VmError::file("made", parent))?;
            for package in packages {
                deb::unpack(package, new.path(), is_wanted)?;
            }
            in_folder(new.path(), packages)?;
            // Whoever else unpacked it meanwhile has made the same.
            if fs::rename(new.path(), &folder).is_ok() {
                let _ = new.keep();
            }
        }
        in_folder(&folder, packages)
    }
}

/// Whether a file of a package is of use.
fn is_wanted(path: &Path) -> bool {
    let path = path.strip_prefix("usr").unwrap_or(path);
    if let Ok(in_boot) = path.strip_prefix("boot") {
        return in_boot.to_string_lossy().starts_with("vmlinuz");
    }
    let Ok(in_modules) = path.strip_prefix("lib/modules") else { return false };
    let in_release: PathBuf = in_modules.components().skip(1).collect();
    match in_release.strip_prefix("kernel") {
        Ok(module) => MODULE_FOLDERS.iter().any(|folder| module.starts_with(folder)),
        Err(_) => ["vmlinuz", "modules.builtin"].iter().any(|name| in_release == Path::new(name)),
    }
}

/// The kernel of unpacked packages.
fn in_folder(folder: &Path, packages: &[PathBuf]) -> Result<Kernel, VmError> {
    let lacks = |what: &str| {
        let place = packages.first().map_or(folder, PathBuf::as_path);
        VmError::form(place, what, "the packages of a kernel: its image and, if they are apart, its modules")
    };
    let modules = ["lib/modules", "usr/lib/modules"].iter().find_map(|place| only_entry(&folder.join(place)));
    let modules = modules.ok_or_else(|| lacks("no modules"))?;
    let release = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let images = [modules.join("vmlinuz"), folder.join("boot").join(format!("vmlinuz-{release}"))];
    let image = images.into_iter().find(|image| image.is_file()).ok_or_else(|| lacks("no vmlinuz"))?;
    if !modules.join("kernel").is_dir() {
        return Err(lacks("no modules"));
    }
    Ok(Kernel { release, image, modules })
}

/// The only thing in a folder.
fn only_entry(folder: &Path) -> Option<PathBuf> {
    let mut entries = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    entries.next().filter(|_| entries.next().is_none())
}

/// A file and the folder of its modules, whose name is the release.
fn with_modules(image: &Path, modules: &Path) -> Result<Kernel, VmError> {
    if !image.is_file() {
        return Err(VmError::form(image, "no such file", "a vmlinuz"));
    }
    let modules = modules.canonicalize().map_err(VmError::file("opened", modules))?;
    let release = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Kernel { release, image: image.to_owned(), modules })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_package_only_what_a_guest_takes_is_unpacked() {
        for (path, wanted) in [
            ("boot/vmlinuz-6.12", true),
            ("boot/System.map-6.12", false),
            ("lib/modules/6.12/modules.builtin", true),
            ("lib/modules/6.12/modules.order", false),
            ("usr/lib/modules/7.2/vmlinuz", true),
            ("usr/lib/modules/7.2/kernel/fs/ext4/ext4.ko.xz", true),
            ("lib/modules/6.12/kernel/drivers/gpu/drm/drm.ko.xz", false),
            ("usr/share/doc/x", false),
        ] {
            assert_eq!(is_wanted(Path::new(path)), wanted, "{path}");
        }
    }

    #[test]
    fn a_kernel_needs_image_and_modules() {
        let dir = tempfile::tempdir().unwrap();
        let why = |dir: &Path| in_folder(dir, &[]).unwrap_err().to_string();
        assert!(why(dir.path()).contains("no modules"));
        let modules = dir.path().join("lib/modules/6.12.1-amd64");
        fs::create_dir_all(modules.join("kernel")).unwrap();
        assert!(why(dir.path()).contains("no vmlinuz"));
        fs::create_dir(dir.path().join("boot")).unwrap();
        fs::write(dir.path().join("boot/vmlinuz-6.12.1-amd64"), "").unwrap();
        let kernel = in_folder(dir.path(), &[]).unwrap();
        assert_eq!((kernel.release.as_str(), kernel.modules), ("6.12.1-amd64", modules));
    }
}
