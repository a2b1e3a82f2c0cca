// SPDX-License-Identifier: GPL-2.0-only
//! Source lines of the stub, from its debugging information.

use addr2line::Context;
use gimli::{Dwarf, EndianArcSlice, LittleEndian};

use super::elf::ElfFile;

type Reader = EndianArcSlice<LittleEndian>;

/// The lines of one file.
pub struct Lines(Context<Reader>);

impl Lines {
    /// Those of `elf`; none if it has no debugging information.
    ///
    /// # Errors
    /// It has some that cannot be read.
    pub fn read(elf: &ElfFile) -> Result<Option<Lines>, String> {
        if elf.section(".debug_line")?.is_none() {
            return Ok(None);
        }
        let load = |id: gimli::SectionId| -> Result<Reader, String> {
            let bytes = elf.section(id.name())?.unwrap_or_default();
            Ok(EndianArcSlice::new(bytes.into(), LittleEndian))
        };
        let dwarf = Dwarf::load(load)?;
        let context = Context::from_dwarf(dwarf)
            .map_err(|error| format!("its debugging information: {error}"))?;
        Ok(Some(Lines(context)))
    }

    /// File and line that the instruction at `address` was compiled from. The file is shortened to its path in the kernel's
    /// source.
    pub fn lookup(&self, address: u64) -> Option<String> {
        let location = self.0.find_location(address).ok()??;
        let file = shorten(location.file?);
        Some(match location.line {
            Some(line) => format!("{file}:{line}"),
            None => file.to_owned(),
        })
    }
}

/// The path of a file of the kernel's source without the folder in which it was built.
fn shorten(file: &str) -> &str {
    const FOLDERS: [&str; 4] = ["arch/", "include/", "lib/", "drivers/"];
    let starts = FOLDERS.iter().filter_map(|folder| {
        file.match_indices(folder)
            .map(|(at, _)| at)
            .find(|at| *at == 0 || file.as_bytes()[at - 1] == b'/')
    });
    starts.min().map_or(file, |start| &file[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_by_its_path_in_the_source() {
        for (path, short) in [
            ("/build/linux-6.1/arch/x86/boot/compressed/misc.c", "arch/x86/boot/compressed/misc.c"),
            ("lib/zlib_inflate/inflate.c", "lib/zlib_inflate/inflate.c"),
            ("/src/search/misc.c", "/src/search/misc.c"),
        ] {
            assert_eq!(shorten(path), short);
        }
    }
}
