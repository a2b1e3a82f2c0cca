// SPDX-License-Identifier: GPL-2.0-only
//! A kernel's build folder: what lies beside an image that was built in it.

use std::path::{Path, PathBuf};

/// Where a kernel build leaves its image, for i386 and x86_64 alike (arch/x86/boot/Makefile).
const IMAGE: &str = "arch/x86/boot/bzImage";
/// The kernel's ELF file with the relocations that `--emit-relocs` leaves in it: from 6.15 on the first, before
/// the second (Makefile.vmlinux, arch/x86/Makefile.postlink).
const KERNELS: [&str; 2] = ["vmlinux.unstripped", "vmlinux"];

/// A folder in which a kernel was built, or one that is laid out like it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildTree {
    root: PathBuf,
}

impl BuildTree {
    /// The folder that the image at `path` was built in: the one that has it at arch/x86/boot/bzImage.
    pub fn of_image(path: &Path) -> Option<BuildTree> {
        let path = std::path::absolute(path).ok()?;
        let root = path.ancestors().nth(Path::new(IMAGE).components().count())?;
        let tree = BuildTree { root: root.to_path_buf() };
        (tree.image() == path).then_some(tree)
    }

    /// The folder at `path`.
    pub fn at(path: &Path) -> BuildTree {
        BuildTree { root: path.to_path_buf() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The image.
    pub fn image(&self) -> PathBuf {
        self.root.join(IMAGE)
    }

    /// The kernel's ELF file with symbols and relocations, if it is there.
    pub fn vmlinux(&self) -> Option<PathBuf> {
        KERNELS.iter().find_map(|name| self.file(name))
    }

    /// The stub's ELF file, if it is there.
    pub fn stub(&self) -> Option<PathBuf> {
        self.file("arch/x86/boot/compressed/vmlinux")
    }

    /// The kernel's symbols in text (`nm`), if they are there.
    pub fn system_map(&self) -> Option<PathBuf> {
        self.file("System.map")
    }

    /// The configuration, if it is there.
    pub fn config(&self) -> Option<PathBuf> {
        self.file(".config")
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        Some(self.root.join(name)).filter(|path| path.is_file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_tells_its_folder_by_where_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join(IMAGE);
        std::fs::create_dir_all(image.parent().unwrap()).unwrap();
        std::fs::write(folder.path().join("vmlinux"), "").unwrap();
        let tree = BuildTree::of_image(&image).unwrap();
        assert_eq!((tree.root(), tree.image()), (folder.path(), image));
        assert_eq!(tree.vmlinux(), Some(folder.path().join("vmlinux")));
        assert_eq!(tree.stub(), None);
        std::fs::write(folder.path().join("vmlinux.unstripped"), "").unwrap();
        assert_eq!(tree.vmlinux(), Some(folder.path().join("vmlinux.unstripped")));
        assert_eq!(BuildTree::of_image(Path::new("/boot/vmlinuz")), None);
        assert_eq!(BuildTree::of_image(&folder.path().join("boot/bzImage")), None);
    }
}
